/** The preset table: policies with a name. */
import type { KeyframeCodec } from './codec.js';
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
  | 'cfx-lowrank';

export interface Preset {
  rules: readonly Rule[];
  source: string;
}

/**
 * Ours: levels on a trellis, a fitted prediction, keyframes of few bits. Errors are largest right after a keyframe, where no
 * trend is known yet, so what short keyframes save over 16 bits pays for one more bit in some of the first steps.
 */
function ours(
  bits: 1 | 2 | 3,
  moreIn: readonly PolicyRange[],
  keyframeCodec: KeyframeCodec,
  where: Pick<Rule, 'roles' | 'steps'> = {},
): Rule[] {
  const rule = { ...where, residualOrder: 2, keyframeCodec } as const;
  const more = ({ 1: 'tcq2', 2: 'tcq3', 3: 'lm4' } as const)[bits];
  return [...moreIn.map((steps) => ({ ...rule, steps, codec: more })), { ...rule, codec: `tcq${bits}` }];
}

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
    rules: [...ours(2, ['0-1', 4, 6], 'centred5', { roles: ['o'], steps: '0-27' }), ...ours(1, ['0-1', 4, 6], 'centred5')],
    source: 'no more bytes than paper-1bit; one bit more for the attention output under Ulysses',
  },
  'cfx-2bit': { rules: ours(2, ['0-7'], 'int8'), source: 'no more bytes than paper-2bit' },
  'cfx-3bit': { rules: ours(3, ['0-7'], 'int8'), source: 'three bits an element' },
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
