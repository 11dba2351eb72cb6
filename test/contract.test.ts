/** What both languages must agree on, asked of the Python side itself. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ADAPTERS } from '../src/adapter.js';
import type { BlockShape, CodecFacts, CodecName } from '../src/codec.js';
import { alignSection, CODECS, SECTION_ALIGN } from '../src/codec.js';
import { SHIM_PATH } from '../src/package.js';
import { cellFor, compilePlan } from '../src/plan.js';

const SHAPES: BlockShape[] = [1, 3, 528].flatMap((tokens) =>
  [2, 10, 128, 3070].flatMap((channels) => [2, 4].map((itemBytes) => ({ tokens, channels, itemBytes }))),
);
const SIZES = [0, 1, 15, 16, 17, 9760];
const PLAN = compilePlan({
  preset: 'paper-2bit',
  rules: [
    { steps: [0, 2], layers: '1-', codec: 'off' },
    { steps: '3', roles: ['o', 'k'], collectives: ['all_to_all'], codec: 'identity' },
    { layers: 2, codec: 'binary', residualOrder: 0, feedback: false },
    { steps: '5-6', codec: 'binary', feedback: false },
    { steps: 7, codec: 'lm1', residualOrder: 2, statistics: 'previous' },
  ],
});
const CALLS = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((step) =>
  [0, 1, 2, 3].flatMap((layer) =>
    (['q', 'k', 'v', 'o'] as const).flatMap((role) =>
      (['all_to_all', 'all_gather'] as const).map((collective) => [step, layer, role, collective] as const),
    ),
  ),
);

const ANSWERS = join(__dirname, 'python', 'contract.py');

let python: { payloads: unknown; exact: unknown; delayed: unknown; aligned: number[]; cells: unknown[] };

// The first import of torch on a machine can take most of a minute.
beforeAll(() => {
  const interpreter = process.env.CFX_TEST_PYTHON;
  if (!interpreter) throw new Error('CFX_TEST_PYTHON is not set: the global set-up did not run');
  const input = JSON.stringify({ shapes: SHAPES, sizes: SIZES, plan: PLAN, calls: CALLS });
  python = JSON.parse(execFileSync(interpreter, ['-B', ANSWERS, SHIM_PATH], { input, encoding: 'utf8' }));
}, 300_000);

test('Both languages compute the same payload sizes for every codec', () => {
  const names = Object.keys(CODECS) as CodecName[];
  expect(python.payloads).toEqual(Object.fromEntries(names.map((name) => [name, SHAPES.map(CODECS[name].payloadBytes)])));
});

test('Both languages call the same codecs exact', () => {
  expect(python.exact).toEqual(Object.fromEntries(Object.entries(CODECS).map(([name, { exact }]) => [name, exact])));
});

test('Both languages call the same codecs delayed', () => {
  const delayed = Object.entries<CodecFacts>(CODECS).filter(([, facts]) => facts.delayed);
  expect(python.delayed).toEqual(delayed.map(([name]) => name));
});

test('Both languages pad sections alike', () => {
  expect(python.aligned).toEqual(SIZES.map(alignSection));
  expect(python.aligned.every((size) => size % SECTION_ALIGN === 0)).toBe(true);
});

test('Both languages find the same cell for every call', () => {
  const expected = CALLS.map((call) => {
    const cell = cellFor(PLAN, ...call);
    return cell === null || cell.codec === 'off'
      ? null
      : [cell.codec, cell.residualOrder, cell.feedback, cell.keyframeCodec, cell.baseDtype, cell.statistics];
  });
  expect(new Set(expected.map((each) => JSON.stringify(each))).size).toBe(6);
  expect(python.cells).toEqual(expected);
});

test('Every adapter and every codec of the tables has its Python file', () => {
  const files = [
    ...Object.keys(ADAPTERS).map((name) => `adapters/${name}`),
    // a family's sizes share its file
    ...Object.keys(CODECS).map((name) => `codecs/${name.replace(/_[rb]\d+$/, '')}`),
  ];
  expect(files.filter((file) => !existsSync(join(SHIM_PATH, 'cfx_shim', `${file}.py`)))).toEqual([]);
});
