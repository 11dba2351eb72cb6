/** The page of an offline evaluation, read back as a document. */
import { parseHTML } from 'linkedom';
import { renderTracePage } from '../src/pagetrace.js';
import type { TraceEvaluation, TracePolicy } from '../src/tracing.js';

const STEPS = 5;

const policy = (name: string, wireBytes: number, error: number): TracePolicy => ({
  policy: name,
  planId: '23f4789cba61dd4a',
  relativeError: error,
  roles: [
    { role: 'k', relativeError: error * 0.8 },
    { role: 'v', relativeError: error * 1.2 },
  ],
  relativeErrorPerStep: Array.from({ length: STEPS }, (_, step) => (step === 0 ? 0 : error)),
  rawBytes: 920_000,
  wireBytes,
  ratio: 920_000 / wireBytes,
  encodeSeconds: 0.5,
  decodeSeconds: 0,
});

const evaluation: TraceEvaluation = {
  format: 1,
  created: '2026-01-02T03:04:05.678Z',
  trace: 'traces/<b>one</b>',
  version: '0.1.0',
  steps: STEPS,
  sites: 2,
  signal: (['k', 'v'] as const).map((role) => ({
    role,
    sites: 1,
    relativeChange: 0.077,
    cosine: 0.9968,
    continuation: null,
    kurtosis: 7,
    rotatedKurtosis: 3.2,
    relativeChangePerStep: [null, 0.1, 0.08, 0.06, 0.05],
  })),
  policies: [
    policy('off', 920_000, 0),
    policy('stale', 920_000, 0.08),
    policy('paper-1bit', 109_000, 0.075),
    policy('cfx-2bit', 162_000, 0.0179),
  ],
};

const html = renderTracePage(evaluation);
const { document } = parseHTML(html);
const textOf = (element: Element | null) => (element?.textContent ?? '').replace(/\s+/g, ' ').trim();
const all = (root: ParentNode, selector: string): Element[] => [...root.querySelectorAll(selector)];

test('The table has the figures of each policy, and of each role', () => {
  const rows = all(document.querySelector('main table') as Element, 'tr').map((row) => all(row, 'th, td').map(textOf));
  expect(rows[0]).toEqual(['policy', 'error', 'k', 'v', 'raw MB', 'wire MB', 'ratio', 'encode s', 'decode s']);
  expect(rows[1]).toEqual(['off', '0 %', '0 %', '0 %', '0.920', '0.920', '1.00×', '0.500', '0']);
  expect(rows[4]).toEqual(['cfx-2bit', '1.8 %', '1.4 %', '2.1 %', '0.920', '0.162', '5.68×', '0.500', '0']);
});

test('A policy without error is in the tables, not on the logarithmic axes', () => {
  const [rate, steps] = all(document, '.figures figure') as [Element, Element];
  const names = all(rate.querySelector('.wide') as Element, 'text').map(textOf);
  expect(['off', 'stale', 'paper-1bit', 'cfx-2bit'].filter((name) => names.includes(name))).toEqual([
    'stale',
    'paper-1bit',
    'cfx-2bit',
  ]);
  expect(all(rate, 'tbody th').map(textOf)).toEqual(['off', 'stale', 'paper-1bit', 'cfx-2bit']);
  expect(all(steps, '.legend li').map(textOf)).toEqual(['stale', 'paper-1bit', 'cfx-2bit']);
  // the front goes from paper-1bit to cfx-2bit; stale is beaten by both
  const [front] = all(rate.querySelector('.wide') as Element, 'g[aria-label=line] path');
  expect(front?.getAttribute('d')?.match(/[ML]/g)).toEqual(['M', 'L']);
});

test('The page needs nothing but itself, and shows text as text', () => {
  expect(all(document, 'script, link, [src], [href]')).toEqual([]);
  expect(html).not.toMatch(/NaN|undefined|Infinity|<b>/);
  expect(textOf(document.querySelector('pre'))).toBe('traces/<b>one</b>');
});
