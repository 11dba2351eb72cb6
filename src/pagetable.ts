/** The table of an evaluation: a row per policy, a column per measure that any of them has. Pure. */
import type { Evaluation, MetricName, PolicyEvaluation, Statistic } from './evaluation.js';
import { counted, decibels, listed, megabytes, percent, seconds, similarity, times } from './pageformat.js';
import { html, type Markup } from './pagemarkup.js';
import { bestPolicies } from './pagerate.js';

interface Column {
  title: string;
  unit: string;
  /** Null: the policy has no such value. */
  value: (policy: PolicyEvaluation) => number | null;
  format: (value: number | null) => string;
  /** Under the value. */
  remark?: (policy: PolicyEvaluation) => string | null;
  /** Which policy's value is in bold; none: neither end is better for being so. */
  best?: 'highest' | 'lowest';
}

const metricColumn = (
  title: string,
  unit: string,
  metric: MetricName,
  format: Column['format'],
  best: Column['best'],
): Column => ({
  title,
  unit,
  format,
  best,
  value: ({ metrics }) => metrics[metric]?.mean ?? null,
  remark: ({ metrics }) => range(metrics[metric], format),
});

const range = (statistic: Statistic | null, format: Column['format']): string | null =>
  statistic && statistic.samples > 1 ? `${format(statistic.lowest)} to ${format(statistic.highest)}` : null;

const COLUMNS: Column[] = [
  metricColumn('PSNR', 'dB', 'psnr', decibels, 'highest'),
  metricColumn('SSIM', '', 'ssim', similarity, 'highest'),
  metricColumn('MS-SSIM', '', 'msSsim', similarity, 'highest'),
  metricColumn('LPIPS', '', 'lpips', similarity, 'lowest'),
  metricColumn('worst frame', 'dB', 'lowestFramePsnr', decibels, 'highest'),
  metricColumn('temporal', 'dB', 'temporalPsnr', decibels, 'highest'),
  metricColumn('latents', 'dB', 'latentsPsnr', decibels, 'highest'),
  {
    title: 'judge',
    unit: 'right',
    value: ({ judge }) => judge?.mean ?? null,
    format: percent,
    remark: ({ judge }) => (judge?.all == null ? null : `all: ${percent(judge.all)}`),
    best: 'highest',
  },
  { title: 'raw', unit: 'MB', value: ({ rawBytesPerSample }) => rawBytesPerSample, format: megabytes },
  { title: 'wire', unit: 'MB', value: ({ wireBytesPerSample }) => wireBytesPerSample, format: megabytes, best: 'lowest' },
  { title: 'ratio', unit: 'raw : wire', value: ({ ratio }) => ratio, format: times, best: 'highest' },
  { title: 'time', unit: 's', value: (policy) => policy.seconds.median, format: seconds },
];

const bestOf = ({ best, value, format }: Column, policies: PolicyEvaluation[]): string | null => {
  const values = policies.map(value).filter((each) => each !== null);
  if (!best || values.length < 2) return null;
  return format(best === 'highest' ? Math.max(...values) : Math.min(...values));
};

function notes(evaluation: Evaluation, front: PolicyEvaluation[]): Markup {
  const { policies, device, prompts, measuredSamples } = evaluation;
  const compressed = policies.slice(1);
  const identical = compressed.filter(({ identicalSamples }) => identicalSamples > 0);
  const measured = policies.some((policy) => policy.seconds.measured);
  return html`<p class="quiet">${
    prompts.length === 1 ? 'One sample' : `Means over ${prompts.length} samples, lowest and highest beneath`
  }, against the uncompressed run of the same prompts, seeds and ranks. The best of a column is in bold${
    front.length > 0 ? ', as are the names of the policies that no other one beats in PSNR and bytes both' : null
  }. Bytes are those of all ranks for one sample, warm-up included. Time is the median${
    measured ? ', and includes the measuring of activations' : measuredSamples > 0 ? ' over the samples without measuring' : null
  }${device === 'cpu' ? '; these ranks share one machine, so it says nothing about a network' : null}.</p>
${identical.map(
  ({ name, identicalSamples }) =>
    html`<p class="quiet">${name}: ${counted(identicalSamples, 'sample')} of ${String(prompts.length)} equal the uncompressed run in every pixel; their PSNR is infinite and in no mean.</p>`,
)}
${missing(evaluation).map(([reason, names]) => html`<p class="quiet">Without ${listed(names)}: ${reason}.</p>`)}`;
}

const METRIC_NAMES: { [M in MetricName]: string } = {
  psnr: 'PSNR',
  ssim: 'SSIM',
  msSsim: 'MS-SSIM',
  lpips: 'LPIPS',
  latentsPsnr: 'PSNR of the latents',
  lowestFramePsnr: 'PSNR of the worst frame',
  lowestFrameSsim: 'SSIM of the worst frame',
  temporalPsnr: 'temporal PSNR',
};

const OF_CLIPS: (MetricName | 'judge')[] = ['lowestFramePsnr', 'lowestFrameSsim', 'temporalPsnr'];

/** Reason → what it keeps from the table; pictures are not told that they are no clips. */
function missing({ unavailable, policies }: Evaluation): [string, string[]][] {
  const clips = policies.some(({ samples }) => samples.some(({ outputs }) => outputs.some(({ frames }) => frames > 1)));
  const reasons = new Map<string, string[]>();
  for (const { metric, reason } of unavailable) {
    if (!clips && OF_CLIPS.includes(metric)) continue;
    const name = metric === 'judge' ? 'a judge' : METRIC_NAMES[metric];
    reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
  }
  return [...reasons];
}

/** One sentence to decide by: which policies are worth a look at all. */
const verdict = (front: PolicyEvaluation[]): Markup | null =>
  front.length === 0
    ? null
    : html`<p>No other policy beats these in PSNR and bytes both, fewest bytes first: ${listed(
        front.map(({ name, metrics, ratio }) => `${name} (${decibels(metrics.psnr?.mean ?? null)} dB at ${times(ratio)})`),
      )}.</p>`;

export function renderTable(evaluation: Evaluation): Markup {
  const { policies } = evaluation;
  const compressed = policies.slice(1);
  const front = bestPolicies(compressed, 'psnr');
  const columns = COLUMNS.filter(({ value }) => policies.some((policy) => value(policy) !== null));
  const best = columns.map((column) => bestOf(column, compressed));
  const cell = (column: Column, index: number, policy: PolicyEvaluation): Markup => {
    const text = column.format(column.value(policy));
    const remark = column.remark?.(policy) ?? null;
    const isBest = policy !== policies[0] && text === best[index];
    return html`<td>${isBest ? html`<b>${text}</b>` : text}${remark === null ? null : html`<small>${remark}</small>`}</td>`;
  };
  return html`${verdict(front)}
<div class="scroll" tabindex="0" role="region" aria-label="Table of the policies"><table>
<thead><tr><th scope="col">policy</th>${columns.map(
    ({ title, unit }) => html`<th scope="col">${title}${unit ? html`<small>${unit}</small>` : null}</th>`,
  )}</tr></thead>
<tbody>${policies.map(
    (policy, row) =>
      html`<tr${front.includes(policy) ? html` class="front"` : null}><th scope="row">${row === 0 ? 'uncompressed' : policy.name}</th>${columns.map(
        (column, index) => cell(column, index, policy),
      )}</tr>
`,
  )}</tbody></table></div>
${notes(evaluation, front)}`;
}
