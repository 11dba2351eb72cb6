/** A figure of the page: a plot in two widths, its legend, what is to be seen, and the same numbers as a table. */
import type { Evaluation } from './evaluation.js';
import { html, Markup } from './pagemarkup.js';
import { REFERENCE_STYLE, type SeriesStyle, seriesStyle } from './plotstyle.js';

export interface Legend {
  name: string;
  style: SeriesStyle;
}

export interface NumberTable {
  head: string[];
  /** The first cell of a row is its heading. */
  rows: string[][];
}

export interface Figure {
  title: string;
  /** What is to be seen, and how it was computed. */
  caption: string;
  /** Draws at a width and a height in pixels; null: there is nothing to draw, and no figure. */
  draw: (width: number, height: number) => string | null;
  legend: Legend[];
  table: NumberTable;
}

/** The same style for a policy all over the page; the uncompressed run is drawn in the colour of text. */
export const legendOf = ({ policies }: Evaluation): Legend[] =>
  policies.map(({ name }, index) => ({
    name: index === 0 ? 'uncompressed' : name,
    style: index === 0 ? REFERENCE_STYLE : seriesStyle(index - 1),
  }));

/** A plot shrunk to a phone's width could not be read: it is drawn again for it. */
const WIDE = [620, 380] as const;
const NARROW = [340, 300] as const;

const swatch = ({ name, style }: Legend): Markup =>
  html`<li><svg width="26" height="10" aria-hidden="true"><line x1="0" x2="26" y1="5" y2="5" stroke="${style.colour}" stroke-width="2.5" stroke-dasharray="${style.dash}"/></svg>${name}</li>`;

export const renderNumbers = ({ head, rows }: NumberTable): Markup =>
  html`<div class="scroll" tabindex="0"><table class="numbers"><thead><tr>${head.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead><tbody>${rows.map(
    ([first = '', ...cells]) => html`<tr><th scope="row">${first}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`,
  )}</tbody></table></div>`;

function renderFigure({ title, caption, draw, legend, table }: Figure): Markup | null {
  const [wide, narrow] = [draw(...WIDE), draw(...NARROW)];
  if (wide === null || narrow === null) return null;
  return html`<figure>
<h3>${title}</h3>
${legend.length > 1 ? html`<ul class="legend">${legend.map(swatch)}</ul>` : null}
<div class="wide">${new Markup(wide)}</div><div class="narrow">${new Markup(narrow)}</div>
<figcaption>${caption}</figcaption>
<details><summary>The numbers</summary>${renderNumbers(table)}</details>
</figure>
`;
}

export const renderFigures = (figures: Figure[]): Markup => html`<div class="figures">${figures.map(renderFigure)}</div>`;
