/** The activations' path through the steps, in two principal components. Pure but for drawing. */
import type { Evaluation } from './evaluation.js';
import { type Figure, type Legend, legendOf } from './pagefigure.js';
import { percent, significant } from './pageformat.js';
import { drawPaths } from './plot.js';

function trajectoryFigure(evaluation: Evaluation, relative: boolean): Figure {
  const [reference, ...compressed] = evaluation.policies;
  const origin = reference?.trajectory ?? [];
  const names = legendOf(evaluation);
  const [first = 0, second = 0] = evaluation.explainedVariance ?? [];
  const minus = (path: [number, number][]): [number, number][] =>
    path.slice(0, origin.length).map(([x, y], step) => [x - (origin[step]?.[0] ?? 0), y - (origin[step]?.[1] ?? 0)]);
  const paths = (
    relative ? compressed.map(({ trajectory }) => minus(trajectory)) : evaluation.policies.map(({ trajectory }) => trajectory)
  ).map((points, index) => ({ points, legend: names[relative ? index + 1 : index] as Legend }));
  const kept = paths.filter(({ points }) => points.length > 0);
  const title = relative ? 'Away from the uncompressed path' : 'Path of the activations';
  const labels = relative
    ? ['difference along component 1', 'difference along component 2']
    : [`component 1 (${percent(first)} of the variance)`, `component 2 (${percent(second)})`];
  return {
    title,
    caption: relative
      ? 'The same axes, less the uncompressed run at the same step: where each policy is led astray, and how far.'
      : `Activations of the first measured sample over the steps, in the first two principal components of all runs together. A path begins at the open circle.`,
    legend: kept.map(({ legend }) => legend),
    table: {
      head: ['step', ...kept.flatMap(({ legend }) => [`${legend.name}, 1`, '2'])],
      rows: Array.from({ length: Math.max(0, ...kept.map(({ points }) => points.length)) }, (_, step) => [
        `${step}`,
        ...kept.flatMap(({ points }) => [significant(points[step]?.[0] ?? null), significant(points[step]?.[1] ?? null)]),
      ]),
    },
    draw: (width, height) =>
      drawPaths(
        {
          width,
          height,
          alt: `${title} in two principal components, one line for each of ${kept.map(({ legend }) => legend.name).join(', ')}`,
          x: { label: labels[0] as string },
          y: { label: labels[1] as string },
        },
        kept.map(({ points, legend }) => ({ points, style: legend.style })),
      ),
  };
}

export const trajectoryFigures = (evaluation: Evaluation): Figure[] => [
  trajectoryFigure(evaluation, false),
  trajectoryFigure(evaluation, true),
];
