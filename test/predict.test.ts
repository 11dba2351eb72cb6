import { compilePlan } from '../src/plan.js';
import type { Policy } from '../src/policy.js';
import type { Shapes } from '../src/predict.js';
import { predict } from '../src/predict.js';

/** The small FLUX model at 256 × 256: 1,024 image and 32 text tokens. */
const FLUX: Shapes = {
  tokens: 1056,
  channels: 256,
  heads: 8,
  layers: 5,
  steps: 28,
  batch: 1,
  branches: 1,
  ulysses: 1,
  ring: 1,
  dtype: 'fp32',
};
const CALLS = 5 * 28;
const FLAG_BLOCK = 16;

const of = (policy: Policy, shapes: Partial<Shapes>) => predict(compilePlan(policy), { ...FLUX, ...shapes });

// Wire bytes without flag blocks were counted in real runs on CPU ranks.
test.each([
  ['Ulysses 2', { ulysses: 2 }, 151_388_160, 10_677_120, 15_239_040, 2],
  ['ring 2', { ring: 2 }, 151_388_160, 10_392_000, 14_953_920, 1],
  ['ring 4', { ring: 4 }, 227_082_240, 15_795_360, 22_638_240, 3],
  ['Ulysses 2 × ring 2', { ulysses: 2, ring: 2 }, 151_388_160, 10_746_240, 15_308_160, 3],
])('%s: raw and wire bytes of the paper presets, to the byte', (_, degrees, raw, oneBit, twoBits, messages) => {
  const flags = CALLS * messages * FLAG_BLOCK;
  expect(of({ preset: 'paper-1bit' }, degrees).perRank).toMatchObject({ rawBytes: raw, wireBytes: oneBit + flags });
  expect(of({ preset: 'paper-2bit' }, degrees).perRank).toMatchObject({ rawBytes: raw, wireBytes: twoBits + flags });
  expect(of({ preset: 'identity' }, degrees).perRank).toMatchObject({ rawBytes: raw, wireBytes: raw + flags });
  expect(of({ preset: 'off' }, degrees).perRank).toMatchObject({ rawBytes: raw, wireBytes: raw, ratio: 1, baseMemoryBytes: 0 });
});

test('Ten steps cost ten steps', () => {
  const { perRank } = of({ preset: 'paper-1bit' }, { ulysses: 2, steps: 10 });
  expect(perRank).toMatchObject({ rawBytes: 54_067_200, wireBytes: 7_163_520 + 5 * 10 * 2 * FLAG_BLOCK });
});

test('Keyframes are the warm-up steps, whole', () => {
  const block = 528 * 128 * 4;
  const { perRank, sites } = of({ preset: 'paper-1bit', warmupSteps: 3 }, { ulysses: 2 });
  expect(perRank.keyframeBytes).toBe(3 * 5 * (4 * block + 2 * FLAG_BLOCK));
  expect(sites.map(({ role, calls, compressed, keyframes }) => [role, calls, compressed, keyframes])).toEqual([
    ['q', 140, 125, 15],
    ['k', 140, 125, 15],
    ['v', 140, 125, 15],
    ['o', 140, 125, 15],
  ]);
});

test('A base is kept per role, layer, branch and peer, in both directions or for the whole ring', () => {
  const ulysses = 528 * 128 * 4;
  expect(of({ preset: 'paper-1bit' }, { ulysses: 2 }).perRank.baseMemoryBytes).toBe(5 * 4 * 2 * ulysses);
  expect(of({ preset: 'paper-1bit' }, { ulysses: 2, branches: 2 }).perRank.baseMemoryBytes).toBe(2 * 5 * 4 * 2 * ulysses);
  const ring = 264 * 256 * 4;
  expect(of({ preset: 'paper-2bit' }, { ring: 4 }).perRank.baseMemoryBytes).toBe(5 * 2 * 4 * ring);
  const stateless: Policy = { rules: [{ codec: 'int2', residualOrder: 0 }] };
  expect(of(stateless, { ring: 4 }).perRank.baseMemoryBytes).toBe(0);
});

test('Bases in 8 bits take a byte an element and a byte for 32 channels of a token; what is sent stays', () => {
  const own = of({ preset: 'cfx-2bit' }, { ring: 4, dtype: 'bf16' }).perRank;
  const { perRank } = of({ preset: 'cfx-2bit', baseDtype: 'int8' }, { ring: 4, dtype: 'bf16' });
  expect(perRank.baseMemoryBytes).toBe(5 * 2 * 4 * (2 * 264 * (256 + 8)));
  expect(perRank.baseMemoryBytes).toBeLessThan(0.53 * (5 * 2 * 4 * (2 * 2 * 264 * 256)));
  expect(perRank).toMatchObject({ wireBytes: own.wireBytes, nativeBaseMemoryBytes: own.baseMemoryBytes });
  expect(own.nativeBaseMemoryBytes).toBe(own.baseMemoryBytes);
});

test('Beside a native base a trend takes a byte an element, its groups begin anew in the middle, and both are whole 16 bytes', () => {
  const memory = (channels: number, dtype: 'bf16' | 'fp32', tokens = 1056) =>
    of({ preset: 'cfx-2bit' }, { ring: 4, dtype, channels, heads: 4, tokens }).perRank.baseMemoryBytes / (5 * 2 * 4);
  expect(memory(256, 'bf16')).toBe(264 * (2 * 256 + 256 + 8));
  expect(memory(256, 'fp32')).toBe(264 * (4 * 256 + 256 + 8));
  // two parts of 144: 5 groups each, where 288 channels in one would have 9
  expect(memory(288, 'bf16')).toBe(264 * (2 * 288 + 288 + 10));
  // one token of 12 channels in parts of 8 and 4
  expect(memory(12, 'bf16', 4)).toBe(32 + 16);
});

test("Statistics of the step before cost a sender a channel's scales and nothing on the wire", () => {
  for (const [preset, bytes] of [
    ['paper-1bit', 2],
    ['cfx-2bit', 1],
  ] as const) {
    for (const [degrees, sent, channels] of [
      [{ ring: 4 }, 2, 256],
      [{ ulysses: 2 }, 4, 128],
    ] as const) {
      const exact = of({ preset }, degrees).perRank;
      const { perRank } = of({ preset, statistics: 'previous' }, degrees);
      expect(perRank.wireBytes).toBe(exact.wireBytes);
      expect(perRank.baseMemoryBytes - exact.baseMemoryBytes).toBe(5 * sent * (bytes * channels + 16));
      expect(of({ preset, statistics: 'sampled' }, degrees).perRank).toEqual(exact);
    }
  }
});

test('Another type of base starts from a keyframe, and the larger one is counted', () => {
  const rules: Policy['rules'] = [{ steps: '10-', codec: 'binary', baseDtype: 'int8' }, { codec: 'binary' }];
  const { perRank, sites } = of({ rules }, { ring: 2 });
  expect(sites.map(({ keyframes }) => keyframes)).toEqual([10, 10]);
  expect(perRank.baseMemoryBytes).toBe(5 * 2 * 2 * 528 * 256 * 4);
});

test('What is used one step late travels whole and keeps one base', () => {
  for (const degrees of [{ ulysses: 2 }, { ring: 4 }]) {
    const { perRank, sites } = of({ preset: 'stale' }, degrees);
    const like = of({ preset: 'paper-1bit' }, degrees).perRank;
    expect(perRank.baseMemoryBytes).toBe(like.baseMemoryBytes);
    expect(perRank.wireBytes).toBe(of({ preset: 'identity' }, degrees).perRank.wireBytes);
    expect(sites.every(({ calls, keyframes }) => keyframes === calls / 28)).toBe(true);
  }
});

test('FLUX.1 at 1024 × 1024 in 16 bits keeps the published 2.9 GB on two ranks', () => {
  const shapes: Partial<Shapes> = { tokens: 4096, channels: 3072, heads: 24, layers: 57, dtype: 'bf16' };
  for (const degrees of [{ ulysses: 2 }, { ring: 2 }]) {
    expect(of({ preset: 'paper-1bit' }, { ...shapes, ...degrees }).perRank.baseMemoryBytes / 1e9).toBeCloseTo(2.87, 2);
  }
});

test('Batch, branches and item size scale the raw bytes', () => {
  const raw = (shapes: Partial<Shapes>) => of({ preset: 'off' }, { ulysses: 2, ...shapes }).perRank.rawBytes;
  expect(raw({ batch: 2 })).toBe(2 * raw({}));
  expect(raw({ branches: 2 })).toBe(2 * raw({}));
  expect(raw({ dtype: 'bf16' })).toBe(raw({}) / 2);
});

test('A residual that starts after the warm-up starts from a keyframe', () => {
  const { sites } = of({ rules: [{ steps: '10-', codec: 'binary' }] }, { ring: 2 });
  expect(sites.filter(({ role }) => role === 'k')).toMatchObject([
    { codec: 'off', calls: 50, keyframes: 0 },
    { codec: 'binary', calls: 90, keyframes: 5, compressed: 85 },
  ]);
});

test('A tensor left out of a message that is compressed travels in it whole', () => {
  const { sites } = of({ rules: [{ roles: ['k', 'v'], codec: 'binary' }] }, { ulysses: 2, layers: 1, steps: 2 });
  const block = 528 * 128 * 4;
  const wire = (role: string) => sites.find((site) => site.role === role)?.wireBytes;
  expect(wire('q')).toBe(2 * (block + FLAG_BLOCK));
  expect(wire('k')).toBe(block + 9760);
  expect(wire('o')).toBe(2 * block);
});

test('One rank sends nothing', () => {
  expect(of({ preset: 'paper-1bit' }, {})).toEqual({
    perRank: { rawBytes: 0, wireBytes: 0, ratio: null, keyframeBytes: 0, baseMemoryBytes: 0, nativeBaseMemoryBytes: 0 },
    sites: [],
  });
});

test.each([
  [{ tokens: 1057, ulysses: 2 }, 'found tokens 1057; expected a multiple of 2, the Ulysses degree × ring degree'],
  [{ heads: 8, ulysses: 3, tokens: 1056 }, 'found heads 8; expected a multiple of 3, the Ulysses degree'],
  [{ channels: 250, heads: 8 }, 'found channels 250; expected a multiple of 8, the heads'],
  [{ steps: 0 }, 'found steps 0; expected a whole number from 1'],
  [{ batch: 1.5 }, 'found batch 1.5; expected a whole number from 1'],
  [{ dtype: 'fp8' as 'fp16' }, 'found dtype fp8; expected one of fp32, fp16, bf16'],
])('The shapes %j are refused with the reason', (shapes, message) => {
  expect(() => of({ preset: 'off' }, shapes)).toThrow(message);
});
