import { assertPlan, cellFor, compilePlan, planIdOf } from '../src/plan.js';
import { parseRange } from '../src/range.js';

const ALL = { steps: [0, null], layers: [0, null], roles: ['q', 'k', 'v', 'o'], collectives: ['all_to_all', 'all_gather'] };

test('A preset compiles to one cell for everything', () => {
  expect(compilePlan({ preset: 'paper-1bit' })).toEqual({
    planId: expect.stringMatching(/^[0-9a-f]{16}$/),
    policy: 'paper-1bit',
    warmupSteps: 1,
    cells: [
      {
        ...ALL,
        codec: 'binary',
        residualOrder: 1,
        feedback: true,
        keyframeCodec: 'identity',
        baseDtype: 'native',
        statistics: 'exact',
      },
    ],
  });
});

test('Exact codecs and "off" default to residual order 0', () => {
  expect(compilePlan({ preset: 'identity' }).cells[0]).toMatchObject({ codec: 'identity', residualOrder: 0 });
  expect(compilePlan({ preset: 'off' }).cells).toEqual([
    {
      ...ALL,
      codec: 'off',
      residualOrder: 0,
      feedback: true,
      keyframeCodec: 'identity',
      baseDtype: 'native',
      statistics: 'exact',
    },
  ]);
});

test("A rule's type of base comes before the policy's, which holds for the preset too", () => {
  const plan = compilePlan({
    preset: 'paper-2bit',
    baseDtype: 'int8',
    rules: [{ roles: ['o'], codec: 'binary', baseDtype: 'native' }],
  });
  expect(plan.cells.map(({ baseDtype }) => baseDtype)).toEqual(['native', 'int8']);
  expect(compilePlan({ preset: 'paper-2bit' }).planId).not.toBe(compilePlan({ preset: 'paper-2bit', baseDtype: 'int8' }).planId);
});

test("A policy's statistics hold for what can choose them, and a rule's come first", () => {
  const plan = compilePlan({
    preset: 'cfx-2bit',
    statistics: 'previous',
    rules: [
      { roles: ['o'], codec: 'lm2', statistics: 'sampled' },
      { roles: ['q'], codec: 'int8', residualOrder: 1 },
      { roles: ['k'], codec: 'binary', residualOrder: 0 },
      { roles: ['v'], codec: 'binary', feedback: false },
      { steps: 9, codec: 'off' },
    ],
  });
  const [o, ...rest] = plan.cells.map(({ statistics }) => statistics);
  expect(o).toBe('sampled');
  expect(rest.slice(0, 4)).toEqual(['exact', 'exact', 'exact', 'exact']);
  expect(new Set(rest.slice(4))).toEqual(new Set(['previous']));
  expect(compilePlan({ preset: 'cfx-2bit' }).cells.every(({ statistics }) => statistics === 'exact')).toBe(true);
});

test('What is exact stays exact: its base is never rounded', () => {
  for (const preset of ['stale', 'identity', 'off'] as const)
    expect(compilePlan({ preset, baseDtype: 'int8' }).cells[0]?.baseDtype).toBe('native');
});

test('Rules come before the preset and the first match decides', () => {
  const plan = compilePlan({
    preset: 'paper-2bit',
    rules: [
      { layers: '0-1', codec: 'off' },
      { steps: [0, 10], roles: ['o'], collectives: ['all_to_all'], codec: 'identity' },
    ],
  });
  expect(plan.cells.map(({ codec }) => codec)).toEqual(['off', 'identity', 'int2']);
  expect(cellFor(plan, 5, 1, 'o', 'all_to_all')?.codec).toBe('off');
  expect(cellFor(plan, 5, 2, 'o', 'all_to_all')?.codec).toBe('identity');
  expect(cellFor(plan, 10, 2, 'o', 'all_to_all')?.codec).toBe('int2');
  expect(cellFor(plan, 5, 2, 'k', 'all_gather')?.codec).toBe('int2');
});

test('A call that no cell matches has no cell', () => {
  const plan = compilePlan({ rules: [{ steps: '5-', codec: 'binary' }] });
  expect(cellFor({ ...plan, cells: plan.cells.slice(0, 1) }, 4, 0, 'q', 'all_to_all')).toBeNull();
});

test.each([
  [3, [3, 4]],
  ['3', [3, 4]],
  [
    [0, 10],
    [0, 10],
  ],
  ['0-9', [0, 10]],
  ['10-', [10, null]],
  [' 2 - 4 ', [2, 5]],
  [[4, 4], null],
  ['5-4', null],
  ['-3', null],
  ['all', null],
  ['', null],
] as const)('The range %j reads as %j', (written, expected) => {
  expect(parseRange(written as Parameters<typeof parseRange>[0])).toEqual(expected);
});

test('The plan id does not depend on the order in which roles or keys were written', () => {
  const one = compilePlan({ name: 'p', rules: [{ roles: ['v', 'k'], codec: 'int2', steps: [1, 2] }] });
  const other = compilePlan({ rules: [{ steps: '1', codec: 'int2', roles: ['k', 'v'] }], name: 'p' });
  expect(other.planId).toBe(one.planId);
});

test('The plan id changes with any part of the plan', () => {
  const plan = compilePlan({ preset: 'paper-1bit' });
  const variants = [
    { ...plan, policy: 'other' },
    { ...plan, warmupSteps: 2 },
    { ...plan, cells: [] },
    { ...plan, cells: plan.cells.map((cell) => ({ ...cell, feedback: false })) },
  ];
  expect(new Set([plan, ...variants].map(planIdOf)).size).toBe(5);
});

test('The plan id is the SHA-256 of the canonical JSON', () => {
  // printf '%s' '{"cells":[],"policy":"p","warmupSteps":1}' | sha256sum
  expect(planIdOf({ policy: 'p', warmupSteps: 1, cells: [] })).toBe('0556561339647d07');
});

test('A plan with an empty range or a foreign id is refused', () => {
  const plan = compilePlan({ preset: 'paper-1bit' });
  expect(assertPlan(plan)).toBe(plan);
  expect(() => assertPlan({ ...plan, warmupSteps: 3 })).toThrow(/is named .* but its content hashes to/);
  const cells = plan.cells.map((cell) => ({ ...cell, steps: [5, 5] as [number, number] }));
  expect(() => assertPlan({ ...plan, cells })).toThrow('cell 0 of plan');
});
