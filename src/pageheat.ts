/** Error per layer and role as a table coloured by value. Pure. */
import type { Evaluation, SiteError } from './evaluation.js';
import { html, type Markup } from './pagemarkup.js';

/** Of the strongest colour, in percent: text stays readable on it, in light and in dark. */
const STRONGEST = 55;

/** More rows than this stay folded. */
const OPEN_ROWS = 24;

const rootMeanSquare = (values: number[]): number =>
  Math.sqrt(values.reduce((sum, each) => sum + each * each, 0) / values.length);

type Cells = Map<string, number>;

const groupBy = (sites: SiteError[], key: (site: SiteError) => string): Cells => {
  const groups = new Map<string, number[]>();
  for (const site of sites) {
    const sent = site.relativeError.filter((each) => each !== null);
    groups.set(key(site), [...(groups.get(key(site)) ?? []), ...sent]);
  }
  return new Map([...groups].flatMap(([name, values]) => (values.length > 0 ? [[name, rootMeanSquare(values)] as const] : [])));
};

const unique = (names: string[]): string[] => [...new Set(names)];

/** Of the policies with any error; null: none was measured. */
export function renderHeat({ policies }: Evaluation): Markup | null {
  const measured = policies.slice(1).filter(({ sites }) => sites.some(({ relativeError }) => relativeError.some(Boolean)));
  const sites = measured.flatMap((policy) => policy.sites);
  if (sites.length === 0) return null;
  const severalTransformers = unique(sites.map(({ transformer }) => transformer)).length > 1;
  const severalCollectives =
    unique(sites.map(({ role, collective }) => `${role} ${collective}`)).length > unique(sites.map(({ role }) => role)).length;
  const column = ({ role, collective }: SiteError) => (severalCollectives ? `${role} ${collective}` : role);
  const row = ({ transformer, layer }: SiteError) => (severalTransformers ? `${transformer} ${layer}` : `${layer}`);
  const order = (a: SiteError, b: SiteError) => a.transformer.localeCompare(b.transformer) || a.layer - b.layer;
  const rows = unique([...sites].sort(order).map(row));
  const roles = unique([...sites].sort((a, b) => 'qkvox'.indexOf(a.role) - 'qkvox'.indexOf(b.role)).map(column));
  const cells = measured.map((policy) => groupBy(policy.sites, (site) => `${row(site)}\n${column(site)}`));
  const values = cells.flatMap((each) => [...each.values()]).filter((value) => value > 0);
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  const share = (value: number) => (value > 0 ? STRONGEST * (high > low ? (Math.log(value) - low) / (high - low) : 1) : 0);
  const cell = (value: number | undefined, first: boolean): Markup =>
    value === undefined
      ? html`<td${first ? html` class="first"` : null}>–</td>`
      : html`<td${first ? html` class="first"` : null} style="--share:${share(value).toFixed(0)}">${value < 0.995 ? (100 * value).toPrecision(2) : (100 * value).toFixed(0)}</td>`;
  return html`<h3>Error per layer and role</h3>
<p class="quiet">Relative error of what receivers use, in percent; root mean square over the steps and forwards. The colour is logarithmic, the same for all policies.</p>
<details${rows.length <= OPEN_ROWS ? html` open` : null}><summary>${String(rows.length)} layers</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Error per layer and role"><table class="heat numbers">
<thead><tr><th scope="col" rowspan="2">layer</th>${measured.map(
    ({ name }) => html`<th scope="colgroup" colspan="${String(roles.length)}">${name}</th>`,
  )}</tr><tr>${measured.map(() => roles.map((role, index) => html`<th scope="col"${index === 0 ? html` class="first"` : null}>${role}</th>`))}</tr></thead>
<tbody>${rows.map(
    (name) =>
      html`<tr><th scope="row">${name}</th>${cells.map((each) => roles.map((role, index) => cell(each.get(`${name}\n${role}`), index === 0)))}</tr>
`,
  )}</tbody></table></div></details>
`;
}
