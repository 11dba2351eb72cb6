/** Pure: the parts of an evaluation put together. */
import type { RankMeasures } from './evalfolder.js';
import type { Figures } from './evalmetrics.js';
import type { Sample } from './evalsamples.js';
import type { Evaluation, JudgeScore, MetricName, PolicyEvaluation, SampleEvaluation, Statistic } from './evaluation.js';

const METRICS: readonly MetricName[] = [
  'psnr',
  'ssim',
  'msSsim',
  'lpips',
  'latentsPsnr',
  'lowestFramePsnr',
  'lowestFrameSsim',
  'temporalPsnr',
];

export interface Ingredients {
  command: string[];
  versions: { [name: string]: string };
  device: 'cpu' | null;
  samples: Sample[] | null;
  figures: Figures;
  /** In the order of `figures.policies`; ranks' measures by sample. */
  policies: { name: string; planId: string; measures: RankMeasures[][]; judge: JudgeScore | null }[];
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
const mean = (values: number[]) => sum(values) / values.length;

export const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return mean(sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1));
};

export function statistic(values: (number | null)[]): Statistic | null {
  const finite = values.filter((value) => value !== null);
  if (finite.length === 0) return null;
  return { mean: mean(finite), lowest: Math.min(...finite), highest: Math.max(...finite), samples: finite.length };
}

/** Position by position, over the lists that have a value there. */
function meanOfCurves(curves: (number | null)[][]): (number | null)[] {
  const steps = Math.max(0, ...curves.map(({ length }) => length));
  return Array.from({ length: steps }, (_, step) => statistic(curves.map((curve) => curve[step] ?? null))?.mean ?? null);
}

const secondsOf = (samples: SampleEvaluation[]): PolicyEvaluation['seconds'] => {
  const unmeasured = samples.filter(({ measured }) => !measured);
  const taken = unmeasured.length > 0 ? unmeasured : samples;
  return { median: median(taken.map(({ seconds }) => seconds)), samples: taken.length, measured: unmeasured.length === 0 };
};

function policyOf(
  figures: Figures['policies'][number],
  { name, planId, measures, judge }: Ingredients['policies'][number],
): PolicyEvaluation {
  const samples = figures.samples.map((sample, index): SampleEvaluation => {
    const ranks = measures[index] as RankMeasures[];
    return {
      ...sample,
      rawBytes: sum(ranks.map(({ rawBytes }) => rawBytes)),
      wireBytes: sum(ranks.map(({ wireBytes }) => wireBytes)),
      seconds: Math.max(...ranks.map(({ seconds }) => seconds)),
      measured: ranks.some(({ measured }) => measured),
    };
  });
  const [raw, wire] = [mean(samples.map(({ rawBytes }) => rawBytes)), mean(samples.map(({ wireBytes }) => wireBytes))];
  const statistics = METRICS.map((metric) => [metric, statistic(samples.map(({ metrics }) => metrics[metric]))]);
  return {
    name,
    folder: figures.folder,
    planId,
    metrics: Object.fromEntries(statistics) as PolicyEvaluation['metrics'],
    identicalSamples: samples.filter(({ identical }) => identical).length,
    judge,
    rawBytesPerSample: Math.round(raw),
    wireBytesPerSample: Math.round(wire),
    ratio: wire > 0 ? raw / wire : null,
    seconds: secondsOf(samples),
    relativeError: figures.relativeError,
    sites: figures.sites,
    distance: meanOfCurves(samples.map(({ distance }) => distance)),
    trajectory: figures.trajectory,
    samples,
  };
}

export function assembleEvaluation(parts: Ingredients): Omit<Evaluation, 'created'> {
  const { command, versions, device, figures } = parts;
  const policies = parts.policies.map((policy, index) => policyOf(figures.policies[index]!, policy));
  const first = parts.policies[0]!.measures[0]![0]!;
  const nothing = { prompt: null, seed: null };
  return {
    format: 1,
    command,
    versions,
    worldSize: first.worldSize,
    device,
    steps: first.steps,
    prompts: policies[0]!.samples.map(({ index }) => parts.samples?.[index] ?? nothing),
    measuredSamples: policies[0]!.samples.filter(({ measured }) => measured).length,
    differenceGain: figures.differenceGain,
    unavailable: [
      ...figures.unavailable,
      ...(parts.policies.every(({ judge }) => judge === null)
        ? [{ metric: 'judge' as const, reason: 'none was given: --judge COMMAND' }]
        : []),
    ],
    changes: figures.changes,
    explainedVariance: figures.explainedVariance,
    policies,
  };
}
