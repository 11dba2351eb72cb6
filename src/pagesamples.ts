/** The samples of an evaluation side by side, with their difference maps, as inline pictures. */
import type { Evaluation, Output, PolicyEvaluation, SampleEvaluation } from './evaluation.js';
import { decibels, listed, similarity } from './pageformat.js';
import { html, type Markup } from './pagemarkup.js';

/** A file of the evaluation by its path relative to the evaluation's folder; null: it is not there. */
export type ReadFile = (path: string) => Uint8Array | null;

/** Pictures beyond this many bytes would make a page that browsers open slowly. */
const MOST_BYTES = 16e6;

const PNG_SIGNATURE = '89504e470d0a1a0a';

interface Picture {
  url: string;
  width: number;
  height: number;
}

/** Width and height stand at fixed places of a PNG's first chunk. Null: it is no PNG. */
function openPicture(bytes: Uint8Array | null): Picture | null {
  if (bytes === null || bytes.length < 24) return null;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.subarray(0, 8).toString('hex') !== PNG_SIGNATURE) return null;
  return {
    url: `data:image/png;base64,${buffer.toString('base64')}`,
    width: buffer.readUInt32BE(16),
    height: buffer.readUInt32BE(20),
  };
}

const describe = ({ prompts }: Evaluation, index: number): string => {
  const { prompt = null, seed = null } = prompts[index] ?? {};
  return [prompt === null ? `sample ${index}` : `“${prompt}”`, seed === null ? '' : `seed ${seed}`].filter(Boolean).join(', ');
};

interface View {
  picture: Picture | null;
  path: string;
  frames: number;
  alt: string;
  /** Shows the uncompressed picture in its place while pointed at. */
  flips: boolean;
}

function renderView({ picture, path, frames, alt, flips }: View): Markup {
  if (!picture) return html`<p class="quiet">${path} is not there, or no PNG.</p>`;
  const { url, width, height } = picture;
  const clip = frames > 1;
  const classes = ['view', ...(clip ? ['clip'] : []), ...(flips ? ['flip'] : [])].join(' ');
  const style = clip ? html` style="--aspect:${width / frames}/${height}"` : null;
  const focus = flips || clip ? html` tabindex="0"` : null;
  return html`<div class="${classes}"${style}${focus}><img src="${url}" width="${width}" height="${height}" alt="${alt}"></div>`;
}

const measures = ({ metrics, identical }: SampleEvaluation): string =>
  identical
    ? 'equal in every pixel'
    : [
        ...(metrics.psnr === null ? [] : [`${decibels(metrics.psnr)} dB`]),
        ...(metrics.lpips === null ? [] : [`LPIPS ${similarity(metrics.lpips)}`]),
        ...(metrics.lpips === null && metrics.ssim !== null ? [`SSIM ${similarity(metrics.ssim)}`] : []),
      ].join(', ');

function renderOutput(
  evaluation: Evaluation,
  policy: PolicyEvaluation,
  sample: SampleEvaluation,
  output: Output,
  read: ReadFile,
): Markup {
  const { differenceGain, policies } = evaluation;
  const isReference = policy === policies[0];
  const name = isReference ? 'uncompressed' : policy.name;
  const what = describe(evaluation, sample.index);
  const noun = output.frames > 1 ? `clip, ${output.shownFrames} of ${output.frames} frames` : 'picture';
  const gain = `${differenceGain}`;
  return html`<figure><figcaption><b>${name}</b><span>${isReference ? '' : measures(sample)}</span></figcaption>
${renderView({ picture: openPicture(read(output.preview)), path: output.preview, frames: output.shownFrames, flips: !isReference, alt: `${noun}, ${name}: ${what}` })}${
  output.difference === null
    ? null
    : html`<div class="difference">${renderView({
        picture: openPicture(read(output.difference)),
        path: output.difference,
        frames: output.shownFrames,
        flips: false,
        alt: `Difference of the ${noun} from the uncompressed one, times ${gain}, ${name}: ${what}; ${measures(sample)}`,
      })}</div>`
}</figure>
`;
}

/** Wide enough for a picture's own pixels, within bounds in which several stand side by side. */
const columnWidth = (picture: Picture | null, frames: number): number =>
  Math.round(Math.min(320, Math.max(150, picture ? picture.width / frames : 0)));

function renderSample(evaluation: Evaluation, index: number, open: boolean, read: ReadFile): Markup {
  const runs = evaluation.policies.flatMap((policy) => {
    const sample = policy.samples.find((each) => each.index === index);
    return sample ? [{ policy, sample }] : [];
  });
  const outputs = runs[0]?.sample.outputs ?? [];
  const grids = outputs.map((reference, number) => {
    const picture = openPicture(read(reference.preview));
    const url = picture ? `;--reference:url(${picture.url})` : '';
    const frames = reference.shownFrames;
    return html`<div class="pictures${frames > 1 ? ' clips' : ''}" style="--picture:${columnWidth(picture, frames)}px;--frames:${frames}${url}">${runs.map(
      ({ policy, sample }) => {
        const output = sample.outputs[number];
        return output ? renderOutput(evaluation, policy, sample, output, read) : null;
      },
    )}</div>`;
  });
  return html`<details class="sample"${open ? html` open` : null}><summary>${describe(evaluation, index)}</summary>
${grids}</details>
`;
}

/** In bytes of files; the uncompressed picture stands in the page twice. */
function sizeOf({ policies }: Evaluation, index: number, read: ReadFile): number {
  const sizes = policies.flatMap(({ samples }, row) => {
    const outputs = samples.find((sample) => sample.index === index)?.outputs ?? [];
    return outputs.map(
      ({ preview, difference }) =>
        (row === 0 ? 2 : 1) * (read(preview)?.length ?? 0) + (difference ? (read(difference)?.length ?? 0) : 0),
    );
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Each policy's worst sample first, then all in their order, as far as the bytes reach; at least one. */
export function chooseSamples(evaluation: Evaluation, read: ReadFile, most: number): number[] {
  const [reference, ...compressed] = evaluation.policies;
  const worst = compressed.flatMap(({ samples }) => {
    const [first] = samples
      .filter(({ metrics }) => metrics.psnr !== null)
      .sort((a, b) => (a.metrics.psnr as number) - (b.metrics.psnr as number));
    return first ? [first.index] : [];
  });
  const chosen: number[] = [];
  let bytes = 0;
  for (const index of new Set([...worst, ...(reference?.samples.map((sample) => sample.index) ?? [])])) {
    bytes += sizeOf(evaluation, index, read);
    if (bytes > most && chosen.length > 0) break;
    chosen.push(index);
  }
  return chosen.sort((a, b) => a - b);
}

export function renderSamples(evaluation: Evaluation, read: ReadFile, most = MOST_BYTES): Markup {
  const all = evaluation.policies[0]?.samples ?? [];
  const chosen = chooseSamples(evaluation, read, most);
  const clips = all.some(({ outputs }) => outputs.some(({ frames }) => frames > 1));
  const folders = evaluation.policies.map(({ folder }) => `${folder}/`);
  return html`<p class="quiet">Under each policy's picture its distance from the uncompressed one, ${evaluation.differenceGain} times amplified: black is equal. Point at a picture, or tab to it, to see the uncompressed one in its place.${
    chosen.length < all.length
      ? ` Shown are ${chosen.length} of ${all.length} samples, the worst one of every policy among them; all of them lie in ${listed(folders)}.`
      : null
  }</p>
<p class="controls"><label><input type="checkbox" id="plain"> without difference maps</label>${
    clips ? html`<label><input type="checkbox" id="still"> clips as a row of frames</label>` : null
  }</p>
${chosen.map((index, place) => renderSample(evaluation, index, place === 0, read))}`;
}
