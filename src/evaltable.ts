/** Pure: an evaluation as a table for a terminal. */
import type { Evaluation, MetricName, PolicyEvaluation } from './evaluation.js';
import { humanBytes, plainLine, table } from './report.js';

interface Column {
  head: string;
  cell: (policy: PolicyEvaluation, index: number) => string | null;
}

const NONE = '–';

const metric = (name: MetricName, head: string, digits: number, worst?: 'lowest' | 'highest'): Column => ({
  head: worst ? `${head} (${worst})` : head,
  cell: ({ metrics, identicalSamples, samples }, index) => {
    const found = metrics[name];
    if (found === null) return index > 0 && identicalSamples === samples.length ? 'equal' : null;
    const bound = worst ? ` (${found[worst].toFixed(digits)})` : '';
    return `${found.mean.toFixed(digits)}${bound}`;
  },
});

const COLUMNS: Column[] = [
  metric('psnr', 'PSNR dB', 1, 'lowest'),
  metric('ssim', 'SSIM', 4),
  metric('msSsim', 'MS-SSIM', 4),
  metric('lpips', 'LPIPS', 4),
  metric('lowestFramePsnr', 'worst frame dB', 1),
  metric('temporalPsnr', 'temporal dB', 1),
  metric('latentsPsnr', 'latents dB', 1, 'lowest'),
  { head: 'error', cell: ({ relativeError }) => meanError(relativeError)?.toFixed(3) ?? null },
  { head: 'judge', cell: ({ judge }) => judge?.mean.toFixed(3) ?? null },
  { head: 'raw', cell: ({ rawBytesPerSample }) => humanBytes(rawBytesPerSample) },
  { head: 'wire', cell: ({ wireBytesPerSample }) => humanBytes(wireBytesPerSample) },
  { head: 'ratio', cell: ({ ratio }) => (ratio === null ? null : `${ratio.toFixed(2)}×`) },
  { head: 'seconds', cell: ({ seconds }) => seconds.median.toFixed(2) },
];

const meanError = (curve: (number | null)[]): number | null => {
  const sent = curve.filter((value) => value !== null);
  return sent.length === 0 ? null : sent.reduce((total, value) => total + value, 0) / sent.length;
};

const counted = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;

export function renderTable(evaluation: Evaluation): string {
  const { policies, worldSize, steps, measuredSamples, command } = evaluation;
  // equal pictures alone do not make a column of a metric that has no value in any policy
  const columns = COLUMNS.filter(({ cell }) => policies.some((policy, index) => ![null, 'equal'].includes(cell(policy, index))));
  const rows = policies.map((policy, index) => [policy.name, ...columns.map(({ cell }) => cell(policy, index) ?? NONE)]);
  const samples = policies[0]!.samples.length;
  const { seconds } = policies[0]!;
  return `${[
    plainLine(command.join(' ')),
    `${counted(samples, 'sample')} per policy, ${counted(worldSize, 'rank')}, ${counted(steps, 'step')}; everything against the first row`,
    '',
    ...table([['policy', ...columns.map(({ head }) => head)], ...rows], 1),
    '',
    'Bytes are of all ranks and one sample, keyframes and scales included. Error is the closed loop’s,',
    `√(Σ‖x − y‖² / Σ‖x‖²), mean over the steps, of ${counted(measuredSamples, 'measured sample')}. Seconds are the median of`,
    `${counted(seconds.samples, 'sample')}${seconds.measured ? ', all of which were measured, which takes time: not a speed' : ` that ${seconds.samples === 1 ? 'was' : 'were'} not measured`}.`,
    ...missing(evaluation),
  ].join('\n')}\n`;
}

/** Metrics that have no column, with the reasons; what only clips have is not missed in pictures. */
function missing({ unavailable, policies }: Evaluation): string[] {
  const pictures = policies[0]!.samples.every(({ outputs }) => outputs.every(({ frames }) => frames === 1));
  const ofClips = ['lowestFramePsnr', 'lowestFrameSsim', 'temporalPsnr'];
  const reasons = new Map<string, string[]>();
  for (const { metric, reason } of unavailable) {
    if (pictures && ofClips.includes(metric)) continue;
    reasons.set(reason, [...(reasons.get(reason) ?? []), metric]);
  }
  return [...reasons].map(([reason, metrics]) => `Without ${metrics.join(', ')}: ${reason}.`);
}
