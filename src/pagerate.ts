/** Quality against bytes: the rate-distortion curve, one point per policy. Pure but for drawing. */
import type { Evaluation, MetricName, PolicyEvaluation } from './evaluation.js';
import { type Figure, legendOf } from './pagefigure.js';
import { decibels, listed, megabytes, similarity } from './pageformat.js';
import { frontOf } from './pagefront.js';
import { drawScatter, standAlone } from './plot.js';

interface Quality {
  metric: MetricName;
  name: string;
  unit: string;
  format: (value: number | null) => string;
  /** LPIPS is a distance: less is better. */
  lowerIsBetter: boolean;
}

const QUALITIES: Quality[] = [
  { metric: 'psnr', name: 'PSNR of the picture', unit: 'dB', format: decibels, lowerIsBetter: false },
  { metric: 'lpips', name: 'LPIPS', unit: '', format: similarity, lowerIsBetter: true },
  { metric: 'latentsPsnr', name: 'PSNR of the final latents', unit: 'dB', format: decibels, lowerIsBetter: false },
  { metric: 'msSsim', name: 'MS-SSIM', unit: '', format: similarity, lowerIsBetter: false },
];

/** Policies that no other one beats in bytes and in this metric, fewest bytes first. */
export function bestPolicies(policies: PolicyEvaluation[], metric: MetricName, lowerIsBetter = false): PolicyEvaluation[] {
  const sign = lowerIsBetter ? -1 : 1;
  return frontOf(
    policies.filter(({ metrics }) => metrics[metric] !== null),
    ({ wireBytesPerSample }) => wireBytesPerSample,
    ({ metrics }) => sign * (metrics[metric]?.mean as number),
  );
}

function drawRate(
  evaluation: Evaluation,
  { metric, name, unit, lowerIsBetter }: Quality,
  width: number,
  height: number,
): string | null {
  const points = legendOf(evaluation).flatMap(({ name: label, style }, index) => {
    const { metrics, wireBytesPerSample } = evaluation.policies[index] as PolicyEvaluation;
    const statistic = metrics[metric];
    if (!statistic || wireBytesPerSample === 0) return [];
    return [{ x: wireBytesPerSample / 1e6, y: statistic.mean, low: statistic.lowest, high: statistic.highest, label, style }];
  });
  const front = bestPolicies(evaluation.policies, metric, lowerIsBetter).map(({ wireBytesPerSample, metrics }) => ({
    x: wireBytesPerSample / 1e6,
    y: metrics[metric]?.mean as number,
  }));
  const frame = {
    width,
    height,
    alt: `${name} against megabytes on the wire per sample, a point for each of ${points.map(({ label }) => label).join(', ')}`,
    x: { label: 'MB on the wire per sample', log: true },
    y: { label: [name, unit || null, lowerIsBetter ? 'less is better' : null].filter(Boolean).join(', ') },
  };
  return drawScatter(frame, points, front);
}

function rateFigure(evaluation: Evaluation, quality: Quality): Figure {
  const { metric, name, format, lowerIsBetter } = quality;
  const compressed = evaluation.policies.slice(1);
  const identical = compressed.filter(({ metrics, identicalSamples }) => metrics[metric] === null && identicalSamples > 0);
  const better = lowerIsBetter ? 'lower' : 'higher';
  return {
    title: `${name} against bytes`,
    caption:
      `Mean over the samples; the bar goes from the worst to the best one. Left and ${better} is better; the dashed line joins the policies that no other one beats in both.` +
      (identical.length > 0
        ? ` Not drawn: ${listed(identical.map((policy) => policy.name))}, equal to the uncompressed run.`
        : ''),
    draw: (width, height) => drawRate(evaluation, quality, width, height),
    legend: [],
    table: {
      head: ['policy', 'MB on the wire', 'mean', 'lowest', 'highest'],
      rows: compressed.map((policy) => {
        const statistic = policy.metrics[metric];
        const values = [statistic?.mean, statistic?.lowest, statistic?.highest].map((value) => format(value ?? null));
        return [policy.name, megabytes(policy.wireBytesPerSample), ...values];
      }),
    },
  };
}

/** Quality against bytes as an SVG file of its own, one point per policy; null: no policy has a finite PSNR. */
export function renderRateDistortion(evaluation: Evaluation, width = 760, height = 420): string | null {
  const svg = drawRate(evaluation, QUALITIES[0] as Quality, width, height);
  return svg === null ? null : standAlone(svg);
}

/** At most two: the usual measure, and the best one there is for how a picture looks. */
export const rateFigures = (evaluation: Evaluation): Figure[] =>
  QUALITIES.filter(({ metric }) => evaluation.policies.some(({ metrics }) => metrics[metric] !== null))
    .slice(0, 2)
    .map((quality) => rateFigure(evaluation, quality));
