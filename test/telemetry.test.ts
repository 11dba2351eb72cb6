import { compilePlan } from '../src/plan.js';
import type { FromRank, Hello, SiteCounters, Telemetry } from '../src/protocol.js';
import type { Sender, Tally } from '../src/telemetry.js';
import { foldMessage, newTally, summarize } from '../src/telemetry.js';

const PLAN = compilePlan({ preset: 'identity' });
const hello = (rank: number, overrides: Partial<Hello> = {}): Hello => ({
  type: 'hello',
  protocol: 1,
  token: 't',
  rank,
  worldSize: 2,
  localRank: rank,
  pid: 100 + rank,
  nonce: `n${rank}`,
  versions: { torch: '2.15.0' },
  patches: ['a.b'],
  planId: PLAN.planId,
  ...overrides,
});
const site = (overrides: Partial<SiteCounters> = {}): SiteCounters => ({
  site: 'M.0',
  role: 'k',
  collective: 'all_gather',
  codec: 'int2',
  calls: 28,
  compressed: 27,
  keyframes: 1,
  rawBytes: 1000,
  wireBytes: 100,
  ...overrides,
});
const telemetry = (overrides: Partial<Telemetry> = {}): Telemetry => ({
  type: 'telemetry',
  sequence: 1,
  generation: 0,
  step: 28,
  steps: 28,
  sites: [site()],
  fallbacks: [],
  notes: [],
  baseMemoryBytes: 500,
  dropped: 0,
  refused: 0,
  ...overrides,
});
const generationEnd = (generation: number, epoch = 0): FromRank => ({
  type: 'generation',
  phase: 'end',
  generation,
  steps: 28,
  epoch,
  planId: PLAN.planId,
});

const [zero, one, reborn]: [Sender, Sender, Sender] = [
  { rank: 0, nonce: 'n0' },
  { rank: 1, nonce: 'n1' },
  { rank: 0, nonce: 'again' },
];
let tally: Tally;
const fold = (sender: Sender, ...messages: FromRank[]) => {
  for (const message of messages) foldMessage(tally, sender, message);
};
const summary = () => summarize(tally, { exitCode: 0, refusedFrames: 0, fallbacks: [] });

beforeEach(() => {
  tally = newTally(PLAN, true);
  fold(zero, hello(0));
  fold(one, hello(1));
});

test('a launch that no rank joined has an empty summary', () => {
  tally = newTally(PLAN, false);
  expect(
    summarize(tally, { exitCode: 3, refusedFrames: 2, fallbacks: [{ code: 'CFX_NO_HELLO', reason: 'r', count: 1 }] }),
  ).toEqual({
    planId: PLAN.planId,
    policy: PLAN.policy,
    epoch: 0,
    exitCode: 3,
    worldSize: 0,
    ranks: [],
    generations: 0,
    steps: 0,
    sites: [],
    totals: { rawBytes: 0, wireBytes: 0, ratio: null },
    fallbacks: [{ code: 'CFX_NO_HELLO', reason: 'r', count: 1 }],
    notes: [],
    baseMemoryBytes: 0,
    verify: { enabled: false, generations: 0, compared: 0, mismatches: [] },
    refusedFrames: 2,
    droppedFrames: 0,
  });
});

test('the newest telemetry of a process stands for all before it', () => {
  fold(zero, telemetry({ sequence: 1, sites: [site({ calls: 1 })] }), telemetry({ sequence: 3, sites: [site({ calls: 3 })] }));
  fold(zero, telemetry({ sequence: 2, sites: [site({ calls: 2 })] }));
  expect(summary().sites.map(({ calls }) => calls)).toEqual([3]);
});

test('ranks add up per site, role, collective and codec', () => {
  fold(zero, telemetry());
  fold(one, telemetry({ sites: [site({ rawBytes: 3000, wireBytes: 300 }), site({ codec: 'off', rawBytes: 7, wireBytes: 7 })] }));
  const { sites, totals, ranks, steps } = summary();
  expect(sites).toEqual([
    site({ calls: 56, compressed: 54, keyframes: 2, rawBytes: 4000, wireBytes: 400 }),
    site({ codec: 'off', rawBytes: 7, wireBytes: 7 }),
  ]);
  expect(totals).toEqual({ rawBytes: 4007, wireBytes: 407, ratio: 4007 / 407 });
  expect(ranks.map(({ rawBytes }) => rawBytes)).toEqual([1000, 3007]);
  expect(steps).toBe(28);
});

test('sites are ordered by layer number, then role', () => {
  fold(
    zero,
    telemetry({
      sites: ['M.10', 'M.9', 'A.11'].flatMap((name) => [site({ site: name, role: 'o' }), site({ site: name, role: 'q' })]),
    }),
  );
  expect(summary().sites.map((each) => `${each.site}${each.role}`)).toEqual(['A.11q', 'A.11o', 'M.9q', 'M.9o', 'M.10q', 'M.10o']);
});

test('a rank that restarted adds up over its processes and is described by the last', () => {
  fold(zero, telemetry({ steps: 5, dropped: 1, baseMemoryBytes: 900 }), generationEnd(0));
  fold(reborn, hello(0, { nonce: 'again', pid: 999 }));
  fold(reborn, telemetry({ steps: 28, dropped: 2 }), generationEnd(0), {
    type: 'bye',
    telemetry: telemetry({ sequence: 9, steps: 30, dropped: 2 }),
  });
  const [rank] = summary().ranks;
  expect(rank).toMatchObject({
    rank: 0,
    pid: 999,
    rawBytes: 2000,
    steps: 35,
    generations: 2,
    finished: true,
    telemetryDropped: 3,
    baseMemoryBytes: 900,
  });
});

test('generations and steps are those of the busiest rank, base memory the largest', () => {
  fold(
    zero,
    generationEnd(0),
    generationEnd(1),
    telemetry({ steps: 56, baseMemoryBytes: 400 }),
    telemetry({ sequence: 2, steps: 56, baseMemoryBytes: 0 }),
  );
  fold(one, generationEnd(0), telemetry({ baseMemoryBytes: 300 }));
  expect(summary()).toMatchObject({ generations: 2, steps: 56, baseMemoryBytes: 400 });
});

test('the plan in force is that of the newest epoch in which a generation ran', () => {
  const next = compilePlan({ preset: 'off' });
  tally.plans.set(1, next);
  expect(summary()).toMatchObject({ epoch: 0, planId: PLAN.planId });
  fold(zero, generationEnd(0, 1));
  expect(summary()).toMatchObject({ epoch: 1, planId: next.planId, policy: next.policy });
});

test('an epoch that was never sent is not believed', () => {
  fold(zero, generationEnd(0, 7));
  expect(summary()).toMatchObject({ epoch: 0, planId: PLAN.planId });
});

test('fallbacks add up over ranks; one that was warned of and counted is not counted twice', () => {
  const nan = { code: 'CFX_NON_FINITE', reason: 'NaN in step 3' } as const;
  fold(zero, { type: 'warn', ...nan }, telemetry({ fallbacks: [{ ...nan, count: 4 }] }));
  fold(one, { type: 'warn', ...nan }, { type: 'warn', ...nan }, { type: 'warn', code: 'CFX_PATCH_FAILED', reason: 'x' });
  expect(summary().fallbacks).toEqual([
    { ...nan, count: 5 },
    { code: 'CFX_PATCH_FAILED', reason: 'x', count: 1 },
  ]);
});

test('a negative verdict is a fallback of each rank', () => {
  for (const sender of [zero, one]) {
    fold(sender, {
      type: 'ready',
      verdict: false,
      code: 'CFX_NOT_ATTACHED',
      reason: 'rank 1 is without cfx',
      planId: PLAN.planId,
    });
  }
  expect(summary().fallbacks).toEqual([{ code: 'CFX_NOT_ATTACHED', reason: 'rank 1 is without cfx', count: 2 }]);
  expect(summary().ranks.map(({ agreed }) => agreed)).toEqual([false, false]);
});

test('a peer cannot fill the memory with warnings', () => {
  for (let i = 0; i < 1000; i++) fold(zero, { type: 'warn', code: 'CFX_PATCH_FAILED', reason: `${i}` });
  expect(summary().fallbacks).toHaveLength(64);
});

test('refused and dropped frames of both sides are reported', () => {
  fold(zero, telemetry({ dropped: 3, refused: 2 }));
  expect(summarize(tally, { exitCode: null, refusedFrames: 5, fallbacks: [] })).toMatchObject({
    exitCode: null,
    refusedFrames: 7,
    droppedFrames: 3,
  });
});

describe('verify', () => {
  const digests = (sender: Sender, generation: number, values: { [base: string]: string }) =>
    fold(sender, { type: 'verify', generation, digests: values });

  test('compares what two ranks share, and counts only that', () => {
    digests(zero, 0, { a: '1', b: '2', mine: '3' });
    digests(one, 0, { a: '1', b: '2', other: '4' });
    expect(summary().verify).toEqual({ enabled: true, generations: 1, compared: 2, mismatches: [] });
  });

  test('names a mismatch with the ranks, the generation and the base', () => {
    digests(zero, 3, { a: '1' });
    digests(one, 3, { a: '2' });
    expect(summary().verify).toMatchObject({ compared: 1, mismatches: ['generation 3, a: rank 0 has 1, rank 1 has 2'] });
  });

  test('does not compare different generations, nor a rank with itself', () => {
    digests(zero, 0, { a: '1' });
    digests(zero, 0, { a: '2' });
    digests(one, 1, { a: '3' });
    expect(summary().verify).toMatchObject({ generations: 0, compared: 0, mismatches: [] });
  });

  test('does not compare a restarted process with the generation of the same number before it', () => {
    digests(one, 0, { a: '1' });
    fold(reborn, hello(0, { nonce: 'again' }));
    digests(reborn, 0, { a: '2' });
    expect(summary().verify).toMatchObject({ compared: 0 });
  });

  test('keeps the digests of a few generations only, and the counts of all', () => {
    for (let generation = 0; generation < 20; generation++) {
      digests(zero, generation, { a: `${generation}` });
      digests(one, generation, { a: `${generation}` });
    }
    expect(tally.verify?.open.size).toBe(4);
    expect(summary().verify).toMatchObject({ generations: 20, compared: 20 });
  });
});
