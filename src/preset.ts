/** The preset table: policies with a name. */
import type { CodecName, KeyframeCodec } from './codec.js';
import { unknownName } from './nearest.js';
import type { PolicyRange, Rule } from './policy.js';

export type PresetName =
  | 'off'
  | 'identity'
  | 'stale'
  | 'fp8'
  | 'int8'
  | 'paper-1bit'
  | 'paper-2bit'
  | 'paper-lowrank32'
  | 'paper-lowrank32-int4'
  | 'cfx-1bit'
  | 'cfx-2bit'
  | 'cfx-3bit'
  | 'cfx-1bit-fast'
  | 'cfx-2bit-fast'
  | 'cfx-lowrank';

export interface Preset {
  rules: readonly Rule[];
  source: string;
}

/** The codec of so many bits an element. Scalar quantisers take the same bytes as a trellis and half of its work, and err more. */
type Levels = Readonly<Record<1 | 2 | 3 | 4, CodecName>>;
const TRELLIS: Levels = { 1: 'tcq1', 2: 'tcq2', 3: 'tcq3', 4: 'lm4' };
const SCALAR: Levels = { 1: 'lm1', 2: 'lm2', 3: 'lm3', 4: 'lm4' };

/**
 * Ours: a fitted prediction, keyframes of few bits. Errors are largest right after a keyframe, where no trend is known yet, so
 * what short keyframes save over 16 bits pays for one more bit in some of the first steps.
 */
function ours(
  levels: Levels,
  bits: 1 | 2 | 3,
  moreIn: readonly PolicyRange[],
  keyframeCodec: KeyframeCodec,
  where: Pick<Rule, 'roles' | 'steps'> = {},
): Rule[] {
  const rule = { ...where, residualOrder: 2, keyframeCodec } as const;
  const more = levels[(bits + 1) as 2 | 3 | 4];
  return [...moreIn.map((steps) => ({ ...rule, steps, codec: more })), { ...rule, codec: levels[bits] }];
}

function oneBit(levels: Levels): Rule[] {
  const moreIn = ['0-1', 4, 6];
  return [...ours(levels, 2, moreIn, 'centred5', { roles: ['o'], steps: '0-27' }), ...ours(levels, 1, moreIn, 'centred5')];
}

const twoBits = (levels: Levels): Rule[] => ours(levels, 2, ['0-7'], 'int8');

export const PRESETS: { readonly [N in PresetName]: Preset } = {
  off: { rules: [{ codec: 'off' }], source: 'attached, nothing compressed' },
  identity: { rules: [{ codec: 'identity' }], source: 'the whole path, without loss' },
  stale: { rules: [{ codec: 'stale' }], source: 'DistriFusion: each step uses what the step before received' },
  fp8: { rules: [{ codec: 'fp8', residualOrder: 0, keyframeCodec: 'fp8' }], source: 'an 8-bit float an element, stateless' },
  int8: { rules: [{ codec: 'int8', residualOrder: 0, keyframeCodec: 'int8' }], source: 'one byte an element, stateless' },
  'paper-1bit': { rules: [{ codec: 'binary' }], source: 'CompactFusion 1-bit: residual with error feedback' },
  'paper-2bit': { rules: [{ codec: 'int2' }], source: 'CompactFusion 2-bit: residual with error feedback' },
  'paper-lowrank32': { rules: [{ codec: 'lowrank_r32' }], source: 'CompactFusion rank 32, factors in fp16' },
  'paper-lowrank32-int4': { rules: [{ codec: 'lowrank_int4_r32' }], source: 'CompactFusion rank 32, factors in 4 bits' },
  'cfx-1bit': {
    rules: oneBit(TRELLIS),
    source: 'no more bytes than paper-1bit; one bit more for the attention output under Ulysses',
  },
  'cfx-2bit': { rules: twoBits(TRELLIS), source: 'no more bytes than paper-2bit' },
  'cfx-3bit': { rules: ours(TRELLIS, 3, ['0-7'], 'int8'), source: 'three bits an element' },
  'cfx-1bit-fast': { rules: oneBit(SCALAR), source: 'the bytes of cfx-1bit, half of its coding time, more error' },
  'cfx-2bit-fast': { rules: twoBits(SCALAR), source: 'the bytes of cfx-2bit, half of its coding time, more error' },
  'cfx-lowrank': {
    rules: [
      // what a 4-bit keyframe saves over 16 bits pays for twice the ranks for as long as this
      { steps: '0-49', codec: 'lowrank_fit_b31', keyframeCodec: 'centred4' },
      { codec: 'lowrank_fit_b15', keyframeCodec: 'centred4' },
    ],
    source: 'no more bytes than paper-lowrank32-int4: 0.31 bits an element, 0.15 after 50 steps',
  },
};

/** A policy is named by its preset, or by a path: with a folder in it or one of these endings. */
export const isPolicyFile = (policy: string): boolean => policy.includes('/') || /\.(json|ya?ml)$/i.test(policy);

/** What would have been right instead of `name`; null if it is right. */
export function expectedPolicy(name: string): string | null {
  if (isPolicyFile(name) || Object.hasOwn(PRESETS, name)) return null;
  return `a policy file (.json, .yaml) or ${unknownName(name, Object.keys(PRESETS))}`;
}
