import { compilePlan } from '../src/plan.js';
import type { Shapes } from '../src/predict.js';
import { predict } from '../src/predict.js';
import type { PresetName } from '../src/preset.js';

const FLUX = { tokens: 4608, channels: 3072, heads: 24, layers: 1, batch: 1, branches: 1, dtype: 'bf16' } as const;
const MODELS = {
  'FLUX 1024²': FLUX,
  'scenes-flux': { ...FLUX, tokens: 1056, channels: 256, heads: 4 },
  'shapes-pixart': { ...FLUX, tokens: 256, channels: 128, heads: 4, batch: 2 },
} satisfies Record<string, Omit<Shapes, 'steps' | 'ulysses' | 'ring'>>;
const DEGREES = [
  { ulysses: 1, ring: 2 },
  { ulysses: 1, ring: 4 },
  { ulysses: 2, ring: 1 },
  { ulysses: 4, ring: 1 },
  { ulysses: 2, ring: 2 },
];

const sent = (preset: PresetName, shapes: Shapes) => predict(compilePlan({ preset }), shapes).perRank;

describe.each([
  ['cfx-1bit', 'paper-1bit'],
  ['cfx-2bit', 'paper-2bit'],
  ['cfx-1bit-fast', 'paper-1bit'],
  ['cfx-2bit-fast', 'paper-2bit'],
  ['cfx-lowrank', 'paper-lowrank32-int4'],
] as const)('%s sends no more bytes than %s, keyframes included', (own, papers) => {
  test.each(Object.entries(MODELS))('%s', (_, model) => {
    for (const degrees of DEGREES) {
      for (const steps of [2, 4, 10, 28, 50, 100]) {
        for (const dtype of ['bf16', 'fp32'] as const) {
          const shapes = { ...model, ...degrees, steps, dtype };
          expect(sent(own, shapes).wireBytes).toBeLessThanOrEqual(sent(papers, shapes).wireBytes);
        }
      }
    }
  });
});

test('At 28 steps of FLUX 1024² in a ring of 4, cfx-1bit sends 12.6 times less than uncompressed', () => {
  expect(sent('cfx-1bit', { ...FLUX, steps: 28, ulysses: 1, ring: 4 }).ratio).toBeGreaterThanOrEqual(12.6);
});

test('There, cfx-lowrank sends 36 times less, and paper-lowrank32-int4 does not reach 23', () => {
  const shapes = { ...FLUX, steps: 28, ulysses: 1, ring: 4 };
  expect(sent('cfx-lowrank', shapes).ratio).toBeGreaterThanOrEqual(36);
  expect(sent('paper-lowrank32-int4', shapes).ratio).toBeLessThan(23);
});

test.each([
  ['cfx-1bit-fast', 'cfx-1bit'],
  ['cfx-2bit-fast', 'cfx-2bit'],
] as const)('%s sends the bytes of %s and keeps as much memory, with no level on a trellis', (fast, full) => {
  for (const degrees of DEGREES) {
    for (const steps of [4, 28, 50]) {
      const shapes = { ...FLUX, ...degrees, steps };
      expect(sent(fast, shapes)).toEqual(sent(full, shapes));
    }
  }
  for (const { codec } of compilePlan({ preset: fast }).cells) expect(codec).toMatch(/^lm[123]$/);
});
