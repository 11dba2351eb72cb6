/** Curves over the denoising steps: error and distance per policy, and how the activations change. Pure but for drawing. */
import type { ChangeCurve, Evaluation, PolicyEvaluation } from './evaluation.js';
import { type Figure, type Legend, legendOf } from './pagefigure.js';
import { percent } from './pageformat.js';
import { drawLines } from './plot.js';
import { REFERENCE_STYLE, seriesStyle } from './plotstyle.js';

type Curve = (number | null)[];

interface Curves {
  names: Legend[];
  curves: Curve[];
}

const curveTable = ({ names, curves }: Curves, format: (value: number | null) => string): Figure['table'] => ({
  head: ['step', ...names.map(({ name }) => name)],
  rows: Array.from({ length: Math.max(0, ...curves.map(({ length }) => length)) }, (_, step) => [
    `${step}`,
    ...curves.map((curve) => format(curve[step] ?? null)),
  ]),
});

const hasValue = (curve: Curve): boolean => curve.some((value) => value !== null && value > 0);

export interface CurveFigure extends Curves {
  title: string;
  caption: string;
  label: string;
  log: boolean;
  percent: boolean;
}

export const curveFigure = ({ title, caption, label, log, percent: inPercent, names, curves }: CurveFigure): Figure => {
  const kept = curves.map((curve, index) => ({ curve, name: names[index] as Legend })).filter(({ curve }) => hasValue(curve));
  const format = inPercent ? percent : (value: number | null) => (value === null ? '–' : value.toFixed(4));
  const of = kept.map(({ name }) => name);
  return {
    title,
    caption,
    legend: of,
    table: curveTable({ names: of, curves: kept.map(({ curve }) => curve) }, format),
    draw: (width, height) =>
      drawLines(
        {
          width,
          height,
          alt: `${title}, one line for each of ${of.map(({ name }) => name).join(', ')}`,
          x: { label: 'denoising step' },
          y: { label, log, percent: inPercent },
        },
        kept.map(({ curve, name }) => ({ points: curve.map((y, x) => ({ x, y })), style: name.style })),
      ),
  };
};

/** Of the compressed runs. */
const byPolicy = (evaluation: Evaluation, curve: (policy: PolicyEvaluation) => Curve): Curves => ({
  names: legendOf(evaluation).slice(1),
  curves: evaluation.policies.slice(1).map(curve),
});

function changeFigure(changes: ChangeCurve[], key: 'cosine' | 'relativeNorm'): Figure {
  const roles = changes.filter(({ layer }) => layer === null);
  const names = roles.map(({ role }, index) => ({
    name: role ?? 'all roles',
    style: role === null ? REFERENCE_STYLE : seriesStyle(index),
  }));
  const curves = roles.map((change) => change[key]);
  return key === 'cosine'
    ? curveFigure({
        title: 'Similarity of adjacent steps',
        caption:
          'Cosine between the activations of a step and those of the step before, uncompressed run, over all layers. Near 1, little is left to send.',
        label: 'cosine',
        log: false,
        percent: false,
        names,
        curves,
      })
    : curveFigure({
        title: 'Size of the changes',
        caption:
          'Norm of what changed since the step before, as a share of the norm of the activations, uncompressed run, over all layers.',
        label: 'change, share of the norm',
        log: false,
        percent: true,
        names,
        curves,
      });
}

export const curveFigures = (evaluation: Evaluation): Figure[] => [
  curveFigure({
    title: 'Error of what receivers use',
    caption:
      'Relative error √(Σ‖x − y‖² / Σ‖x‖²) of the received activations y in the closed loop, over all ranks, layers and measured samples. Steps sent exactly have no point.',
    label: 'relative error',
    log: true,
    percent: true,
    ...byPolicy(evaluation, ({ relativeError }) => relativeError),
  }),
  curveFigure({
    title: 'Distance from the uncompressed run',
    caption: 'Of the latents after each step, ‖z − z′‖ / ‖z′‖, mean over the samples.',
    label: 'distance',
    log: true,
    percent: true,
    ...byPolicy(evaluation, ({ distance }) => distance),
  }),
  changeFigure(evaluation.changes, 'cosine'),
  changeFigure(evaluation.changes, 'relativeNorm'),
];
