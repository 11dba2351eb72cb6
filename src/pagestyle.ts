/** The page's style sheet: light and dark, from a phone's width to a wide screen, and for print. */
import { PLOT_VARIABLES } from './plotstyle.js';

const LIGHT = `--page:#fff;--raised:#f6f8fa;--text:#1f2328;--quiet:#59636e;--line:#d1d9e0;--accent:#0969da;--heat:#e8590c;${PLOT_VARIABLES.light}`;
const DARK = `--page:#0d1117;--raised:#151b23;--text:#e6edf3;--quiet:#9198a1;--line:#3d444d;--accent:#58a6ff;--heat:#f2701d;${PLOT_VARIABLES.dark}`;

/** Clips as rows of frames, one below the other, where nothing is to move. */
const within = (place: string): string =>
  [
    `${place} .clips{animation:none;grid-template-columns:1fr}`,
    `${place} .clip{aspect-ratio:auto;overflow-x:auto}`,
    `${place} .clip img{width:100%;min-width:calc(4rem*var(--frames));transform:none}`,
    `${place} .clip.flip{background-size:100% 100%;background-position:0 0}`,
  ].join('\n');

/**
 * The frame that clips show, from 0 to 1, is one animated property of all clips of a sample, which stay in step so however
 * late a browser has read them.
 */
export const STYLE = `
@property --frame{syntax:"<number>";inherits:true;initial-value:0}
@keyframes play{from{--frame:0}to{--frame:1}}
:root{color-scheme:light dark;${LIGHT}}
@media (prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:84rem;background:var(--page);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.6rem;margin:0 0 .25rem}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .25rem}
.figures+h3{margin-top:2rem}
p{margin:.5rem 0;max-width:70ch}
a{color:var(--accent)}
.quiet,figcaption,caption{color:var(--quiet);font-size:.875rem}
pre{margin:.5rem 0;padding:.6rem .8rem;background:var(--raised);border:1px solid var(--line);border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere;font:.85rem/1.45 ui-monospace,"SFMono-Regular",Menlo,monospace}
.facts{display:flex;flex-wrap:wrap;gap:.15rem 1.25rem;margin:.5rem 0;padding:0;list-style:none;color:var(--quiet);font-size:.875rem}
.scroll{overflow-x:auto;max-width:100%}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
caption{text-align:left;padding:.25rem 0}
th,td{padding:.35rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line);font-weight:400}
thead th{font-weight:600;vertical-align:bottom}
th[scope=row],thead th:first-child{text-align:left;position:sticky;left:0;background:var(--page)}
td b{font-weight:700}
td small,th small{display:block;color:var(--quiet);font-size:.75rem}
.front th[scope=row]{font-weight:700}
.numbers{font-size:.8rem}
.numbers th,.numbers td{padding:.1rem .6rem}
details>summary{cursor:pointer;color:var(--accent);font-size:.875rem;padding:.2rem 0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,34rem),1fr));gap:2rem}
figure{margin:0;min-width:0}
.plot{display:block;margin-bottom:.4rem;max-width:100%;height:auto}
.plot text{white-space:pre}
.narrow{display:none}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:.25rem 0;padding:0;list-style:none;font-size:.85rem}
.legend svg{margin-right:.4rem;vertical-align:middle}
.heat td{text-align:center;background:color-mix(in srgb,var(--heat) calc(var(--share)*1%),var(--page))}
.heat th[scope=colgroup]{text-align:center;border-left:1px solid var(--line)}
.heat td.first,.heat th.first{border-left:1px solid var(--line)}
.sample{border:1px solid var(--line);border-radius:6px;margin:.75rem 0;padding:.5rem .8rem}
.sample>summary{color:var(--text);font-size:1rem;overflow-wrap:anywhere}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--picture)),1fr));gap:1rem;margin:.75rem 0}
.pictures figcaption{font-size:.8rem;line-height:1.35}
.pictures figcaption b{display:block;color:var(--text);font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.pictures figcaption span{display:block;min-height:1.35em}
.view{overflow:hidden;background:var(--raised);image-rendering:pixelated}
.view img{display:block;width:100%;height:auto}
.view.flip{background:var(--reference) 0 0/100% 100%;cursor:crosshair}
.view.flip:hover img,.view.flip:focus img{opacity:0}
.clips{animation:play calc(var(--frames)*.2s) steps(var(--frames),jump-none) infinite}
.clip{aspect-ratio:var(--aspect)}
.clip img{width:calc(100%*var(--frames));max-width:none;transform:translateX(calc(var(--frame)*(100%/var(--frames) - 100%)))}
.clip.flip{background-size:calc(100%*var(--frames)) 100%;background-position:calc(100%*var(--frame)) 0}
${within('body:has(#still:checked)')}
body:has(#plain:checked) .difference{display:none}
.controls{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;font-size:.9rem}
@media (prefers-reduced-motion:reduce){${within('body')}}
@media (max-width:40rem){.wide{display:none}.narrow{display:block}.pictures{grid-template-columns:repeat(2,minmax(0,1fr));gap:.6rem}}
@media print{body{max-width:none}.scroll{overflow:visible}${within('body')}figure,.sample{break-inside:avoid}}
`;
