/** Plots as static SVG: the one file that knows the plotting library and the document it draws into. */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { Placement } from './plotlabel.js';
import { leaderOf, placeLabels } from './plotlabel.js';
import { PLOT_VARIABLES, type SeriesStyle } from './plotstyle.js';

export interface Axis {
  label: string;
  /** Logarithmic where the values span more than a factor of three; they must be above 0 then. */
  log?: boolean;
  /** As a share, shown in percent. */
  percent?: boolean;
}

export interface Frame {
  /** In CSS pixels. */
  width: number;
  height: number;
  /** What the plot shows, for who does not see it. */
  alt: string;
  x: Axis;
  y: Axis;
}

export interface Line {
  /** Null: no value here, the line is interrupted. */
  points: { x: number; y: number | null }[];
  style: SeriesStyle;
}

export interface LabelledPoint {
  x: number;
  y: number;
  /** Ends of a vertical bar through the point. */
  low: number;
  high: number;
  label: string;
  style: SeriesStyle;
}

const MARGINS = { marginLeft: 50, marginRight: 16, marginTop: 30, marginBottom: 42 };
const FONT = 12;

/** The smallest span, as highest over lowest, for which a logarithmic axis says more than a linear one. */
const LOG_SPAN = 3;

/** 1, 2 and 5 times the powers of ten within the span; the powers alone where that would be too many. */
export function logTicks(low: number, high: number, most: number): number[] {
  const ticks = (factors: number[]) => {
    const from = Math.floor(Math.log10(low));
    const powers = Array.from({ length: Math.ceil(Math.log10(high)) - from + 1 }, (_, index) => 10 ** (from + index));
    return powers.flatMap((power) => factors.map((factor) => factor * power)).filter((tick) => tick >= low && tick <= high);
  };
  return [[1, 2, 5], [1, 3], [1]].map(ticks).find((each) => each.length <= most) ?? ticks([1]);
}

const tickText = (axis: Axis) => (value: number) => {
  const text = axis.percent ? Number((100 * value).toPrecision(4)) : Number(value.toPrecision(4));
  return axis.percent ? `${text} %` : Math.abs(text) >= 1e5 ? text.toExponential(0) : `${text}`;
};

const isLog = (axis: Axis, values: number[]): boolean =>
  axis.log === true && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) >= LOG_SPAN;

interface Scale {
  options: Plot.ScaleOptions;
  ticks: number[] | number;
}

/** @param most ticks that fit */
function scale(axis: Axis, values: number[], most: number, pad: number): Scale {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const log = isLog(axis, values);
  // a domain of no width would put everything at its edge
  const room = log ? (high / low) ** pad : pad * (high - low) || Math.abs(high) * 0.05 || 1;
  const domain: [number, number] = log ? [low / room, high * room] : [low - room, high + room];
  return { options: { type: log ? 'log' : 'linear', domain, axis: null }, ticks: log ? logTicks(...domain, most) : most };
}

/** Left to itself, the library leaves out labels of logarithmic ticks as it sees fit. */
function axisMarks(frame: Frame, x: Scale, y: Scale): Plot.Markish[] {
  const labelled = (axis: Axis, { ticks }: Scale) =>
    Array.isArray(ticks) ? { label: axis.label, text: tickText(axis) } : { label: axis.label, ticks, tickFormat: tickText(axis) };
  const data = ({ ticks }: Scale) => (Array.isArray(ticks) ? ticks : undefined);
  const count = ({ ticks }: Scale) => (Array.isArray(ticks) ? {} : { ticks });
  return [
    Plot.gridX(data(x) as Plot.Data, count(x)),
    Plot.gridY(data(y) as Plot.Data, count(y)),
    Plot.axisX(data(x) as Plot.Data, labelled(frame.x, x)),
    Plot.axisY(data(y) as Plot.Data, { ...labelled(frame.y, y), labelArrow: 'none' }),
  ];
}

interface Values {
  x: number[];
  y: number[];
}

/** Room around the values, as a share of their span. */
interface Padding {
  x: number;
  y: number;
}

function draw(frame: Frame, values: Values, padding: Padding, marks: Plot.Markish[]): SVGSVGElement {
  const { document } = parseHTML('<html></html>');
  const { width, height, alt } = frame;
  const x = scale(frame.x, values.x, Math.round((width - 70) / (frame.x.percent ? 62 : 54)), padding.x);
  const y = scale(frame.y, values.y, Math.round((height - 70) / 40), padding.y);
  const plot = Plot.plot({
    document: document as unknown as Document,
    width,
    height,
    ...MARGINS,
    style: { fontSize: `${FONT}px`, background: 'none', overflow: 'visible' } as unknown as Partial<CSSStyleDeclaration>,
    ariaLabel: alt,
    x: x.options,
    y: y.options,
    marks: [...axisMarks(frame, x, y), ...marks],
  }) as SVGSVGElement & Plot.Plot;
  plot.setAttribute('role', 'img');
  plot.setAttribute('class', 'plot');
  // the library's own style sheet is for pages with a white background
  plot.querySelector('style')?.remove();
  return plot;
}

const finite = (values: (number | null)[]): number[] =>
  values.filter((value): value is number => value !== null && Number.isFinite(value));

/** A value that the axis cannot show, such as 0 on a logarithmic one, interrupts its line. */
const shown = (axis: Axis, value: number | null): value is number =>
  value !== null && Number.isFinite(value) && (!axis.log || value > 0);

/** Lines over a common x. Null when no line has a value. */
export function drawLines(frame: Frame, lines: Line[]): string | null {
  const kept = lines.map(({ points, style }) => ({
    style,
    points: points.map(({ x, y }) => ({ x, y: shown(frame.y, y) ? y : Number.NaN })),
  }));
  const values = {
    x: finite(kept.flatMap(({ points }) => points.map(({ x }) => x))),
    y: finite(kept.flatMap(({ points }) => points.map(({ y }) => y))),
  };
  if (values.y.length === 0) return null;
  const marks = kept.flatMap(({ points, style }) => [
    Plot.line(points, {
      x: 'x',
      y: 'y',
      stroke: style.colour,
      strokeDasharray: style.dash || undefined,
      strokeWidth: 1.8,
    }),
    // a point without neighbours makes no line
    Plot.dot(
      points.filter(
        ({ y }, i) => !Number.isNaN(y) && !shown(frame.y, points[i - 1]?.y ?? null) && !shown(frame.y, points[i + 1]?.y ?? null),
      ),
      { x: 'x', y: 'y', r: 2.5, fill: style.colour },
    ),
  ]);
  return draw(frame, values, { x: 0, y: 0.04 }, marks).outerHTML;
}

export interface Path {
  points: [number, number][];
  style: SeriesStyle;
}

/** Paths through the plane: an open circle where each begins, its own symbol where it ends. Null without a point. */
export function drawPaths(frame: Frame, paths: Path[]): string | null {
  const all = paths.flatMap(({ points }) => points);
  if (all.length === 0) return null;
  const marks = paths.flatMap(({ points, style: { colour, dash, symbol } }) => [
    Plot.line(points, { stroke: colour, strokeDasharray: dash || undefined, strokeWidth: 1.6 }),
    Plot.dot(points.slice(0, 1), { stroke: colour, fill: 'none', r: 5, strokeWidth: 1.6 }),
    Plot.dot(points.slice(-1), { fill: colour, symbol, r: 5 }),
  ]);
  const values = { x: all.map(([x]) => x), y: all.map(([, y]) => y) };
  return draw(frame, values, { x: 0.04, y: 0.06 }, marks).outerHTML;
}

/** Points with their names beside them; `front`, a line behind them, from left to right. Null without a point. */
export function drawScatter(frame: Frame, points: LabelledPoint[], front: { x: number; y: number }[]): string | null {
  if (points.length === 0) return null;
  const values = { x: points.map(({ x }) => x), y: points.flatMap(({ low, high }) => [low, high]) };
  const marks = [
    Plot.line(front, { x: 'x', y: 'y', stroke: 'currentColor', strokeOpacity: 0.35, strokeWidth: 1.2, strokeDasharray: '4 3' }),
    ...points.flatMap((point) => [
      Plot.ruleX([point], { x: 'x', y1: 'low', y2: 'high', stroke: point.style.colour, strokeOpacity: 0.35, strokeWidth: 2 }),
      Plot.dot([point], { x: 'x', y: 'y', fill: point.style.colour, symbol: point.style.symbol, r: 5 }),
    ]),
  ];
  const padding = { x: 0.12, y: 0.06 };
  // Drawn twice: where the names find room depends on where the scales put the points.
  const scales = draw(frame, values, padding, []) as SVGSVGElement & Plot.Plot;
  const pixel = (axis: 'x' | 'y', value: number): number => scales.scale(axis)?.apply(value) as number;
  const area = {
    left: MARGINS.marginLeft - 4,
    right: frame.width,
    top: MARGINS.marginTop - 4,
    bottom: frame.height - MARGINS.marginBottom,
  };
  const bars = points.map(({ x, low, high }) => {
    const at = pixel('x', x);
    return { left: at - 2, right: at + 2, top: pixel('y', high), bottom: pixel('y', low) };
  });
  const placements = placeLabels(
    points.map(({ x, y, label }) => ({ x: pixel('x', x), y: pixel('y', y), text: label })),
    area,
    bars,
  );
  const names = points.flatMap((point, index) => {
    const placement = placements[index] as Placement;
    const name = { x: 'x', y: 'y', text: 'label', fill: 'currentColor', fontSize: FONT, ...placement };
    return [...leader(point, placement), Plot.text([point], name)];
  });
  return draw(frame, values, padding, [...marks, ...names]).outerHTML;
}

/** A thin line from a point to its name where that is not beside it. */
function leader(point: LabelledPoint, placement: Placement): Plot.Markish[] {
  const end = leaderOf(placement);
  if (!end) return [];
  const shape: Plot.VectorOptions['shape'] = {
    draw(context, length) {
      context.moveTo(0, 0);
      context.lineTo(0, -length);
    },
  };
  const rotate = (Math.atan2(end.dx, -end.dy) * 180) / Math.PI;
  const line = { length: Math.hypot(end.dx, end.dy), rotate, shape, anchor: 'start', stroke: point.style.colour } as const;
  return [Plot.vector([point], { x: 'x', y: 'y', strokeWidth: 1, ...line })];
}

/** The plot as an SVG file of its own: with the colours that its variables name, for light and for dark. */
export function standAlone(svg: string): string {
  const style = [
    `svg{color:#1f2328;${PLOT_VARIABLES.light}}`,
    `@media (prefers-color-scheme:dark){svg{color:#e6edf3;${PLOT_VARIABLES.dark}}}`,
  ].join('');
  return `${svg.replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" ').replace(/>/, `><style>${style}</style>`)}\n`;
}
