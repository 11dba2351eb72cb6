/** What plots are made of: ticks, places of names, styles. */
import { parseHTML } from 'linkedom';
import { escapeHtml, html, Markup } from '../src/pagemarkup.js';
import { drawLines, drawPaths, drawScatter, logTicks } from '../src/plot.js';
import { type Anchor, leaderOf, type Placement, placeLabels } from '../src/plotlabel.js';
import { PLOT_VARIABLES, REFERENCE_STYLE, seriesStyle } from '../src/plotstyle.js';

test.each([
  [20, 300, 8, [20, 50, 100, 200]],
  [0.002, 0.9, 12, [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]],
  [0.002, 0.9, 6, [0.003, 0.01, 0.03, 0.1, 0.3]],
  [0.002, 0.9, 4, [0.01, 0.1]],
])('Ticks from %d to %d, at most %d, are round numbers', (low, high, most, expected) => {
  const ticks = logTicks(low, high, most);
  expect(ticks.length).toBe(expected.length);
  for (const [index, tick] of ticks.entries()) expect(tick).toBeCloseTo(expected[index] as number, 10);
});

const box = ({ x, y, text }: Anchor, { dx, dy, textAnchor }: Placement) => {
  const width = 6.7 * text.length;
  const left = x + dx - { start: 0, middle: width / 2, end: width }[textAnchor];
  return { left, right: left + width, top: y + dy - 7, bottom: y + dy + 7 };
};

test('Names cover neither each other nor the frame, where points crowd at an edge', () => {
  const frame = { left: 0, right: 340, top: 0, bottom: 260 };
  const anchors = ['naive-1bit', 'paper-1bit', 'cfx-1bit', 'paper-2bit', 'cfx-2bit', 'residual-1bit-open'].map((text, index) => ({
    x: 300 + 3 * index,
    y: 100 + 6 * index,
    text,
  }));
  const boxes = placeLabels(anchors, frame).map((placement, index) => box(anchors[index] as Anchor, placement));
  for (const [index, one] of boxes.entries()) {
    expect(one.left).toBeGreaterThanOrEqual(frame.left);
    expect(one.right).toBeLessThanOrEqual(frame.right);
    for (const other of boxes.slice(index + 1)) {
      const apart = one.right <= other.left || other.right <= one.left || one.bottom <= other.top || other.bottom <= one.top;
      expect(apart).toBe(true);
    }
  }
});

test('A name with room around it stands right of its point', () => {
  expect(placeLabels([{ x: 100, y: 100, text: 'int8' }], { left: 0, right: 300, top: 0, bottom: 200 })).toEqual([
    { dx: 9, dy: 0, textAnchor: 'start' },
  ]);
});

test('A name rather crosses a thin line than is far from its point', () => {
  const frame = { left: 0, right: 300, top: 0, bottom: 200 };
  const bars = [60, 80, 120, 140].map((x) => ({ left: x - 2, right: x + 2, top: 0, bottom: 200 }));
  expect(placeLabels([{ x: 100, y: 100, text: 'paper-2bit' }], frame, bars)).toEqual([{ dx: 9, dy: 0, textAnchor: 'start' }]);
});

test('A line leads to a name that is not beside its point', () => {
  expect(leaderOf({ dx: 9, dy: 0, textAnchor: 'start' })).toBeNull();
  expect(leaderOf({ dx: 0, dy: -14, textAnchor: 'middle' })).toBeNull();
  expect(leaderOf({ dx: -16, dy: 28, textAnchor: 'end' })).toEqual({ dx: -14, dy: 28 });
  expect(leaderOf({ dx: 0, dy: -42, textAnchor: 'middle' })).toEqual({ dx: 0, dy: -35 });
  const at = { low: 9, high: 11, x: 10, y: 10, style: seriesStyle(0) };
  const frame = { alt: 'a', width: 340, height: 260, x: { label: 'x', log: true }, y: { label: 'y' } };
  const lines = (count: number) =>
    drawScatter(
      frame,
      Array.from({ length: count }, (_, index) => ({ ...at, label: `policy-${index}` })),
      [],
    )?.split('aria-label="vector"').length;
  expect(lines(1)).toBe(1);
  expect(lines(9)).toBeGreaterThan(1);
});

test('Two dozen series differ in colour, dash or symbol', () => {
  const styles = Array.from({ length: 24 }, (_, index) => seriesStyle(index));
  expect(new Set(styles.map(({ colour, dash }) => `${colour} ${dash}`)).size).toBe(24);
  expect(new Set(styles.map(({ colour, symbol }) => `${colour} ${symbol}`)).size).toBe(24);
});

/** Relative luminance as WCAG 2 defines it. */
const luminance = (colour: string): number => {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};

test.each([
  ['light', '#ffffff'],
  ['dark', '#0d1117'],
] as const)('Colours stand out from the %s page by 3 to 1', (scheme, page) => {
  const colours = [...PLOT_VARIABLES[scheme].matchAll(/#[0-9a-f]{6}/g)].map(([colour]) => colour);
  expect(colours.length).toBe(6);
  for (const colour of colours) {
    const [low = 0, high = 0] = [luminance(colour), luminance(page)].sort((a, b) => a - b);
    expect((high + 0.05) / (low + 0.05)).toBeGreaterThanOrEqual(3);
  }
});

const frame = { width: 400, height: 300, alt: 'a "plot" <of> & points', x: { label: 'x' }, y: { label: 'y', log: true } };

test('A value that a logarithmic axis cannot show interrupts the line, and a lonely one is a dot', () => {
  const y = [0.1, 0.2, null, 0.4, 0, 1, 2];
  const svg = drawLines(frame, [{ points: y.map((value, x) => ({ x, y: value })), style: REFERENCE_STYLE }]) as string;
  const plot = parseHTML(svg).document.querySelector('svg') as Element;
  expect(plot.querySelector('g[aria-label=line] path')?.getAttribute('d')?.match(/[ML]/g)).toEqual([...'MLMML']);
  expect([...plot.querySelectorAll('g[aria-label=dot] circle')].length).toBe(1);
  expect(plot.getAttribute('aria-label')).toBe(frame.alt);
});

test('Where nothing can be drawn there is no plot', () => {
  expect(
    drawLines(frame, [
      {
        points: [
          { x: 0, y: null },
          { x: 1, y: 0 },
        ],
        style: REFERENCE_STYLE,
      },
    ]),
  ).toBeNull();
  expect(drawPaths(frame, [{ points: [], style: REFERENCE_STYLE }])).toBeNull();
  expect(drawScatter(frame, [], [])).toBeNull();
});

test('A single point, and equal ones, have axes around them', () => {
  const point = { x: 20, y: 30, low: 30, high: 30, label: 'alone', style: REFERENCE_STYLE };
  for (const points of [[point], [point, { ...point, label: 'equal' }]]) {
    expect(drawScatter({ ...frame, y: { label: 'dB' } }, points, [])).not.toMatch(/NaN|Infinity|undefined/);
  }
});

test('Markup is kept, text is escaped, null is nothing', () => {
  expect(html`<p title="${'"<&>\''}">${new Markup('<b>')}${null}${['a<', html`<i>${0}</i>`]}</p>`.text).toBe(
    '<p title="&quot;&lt;&amp;&gt;&#39;"><b>a&lt;<i>0</i></p>',
  );
  expect(escapeHtml('plain')).toBe('plain');
});
