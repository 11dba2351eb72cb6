/** The preset table: policies with a name. */
import { unknownName } from './nearest.js';
import type { Rule } from './policy.js';

export type PresetName =
  | 'off'
  | 'identity'
  | 'stale'
  | 'int8'
  | 'paper-1bit'
  | 'paper-2bit'
  | 'paper-lowrank32'
  | 'paper-lowrank32-int4'
  | 'cfx-1bit'
  | 'cfx-2bit'
  | 'cfx-3bit';

export interface Preset {
  rules: readonly Rule[];
  source: string;
}

/** Ours: Lloyd-Max levels, a fitted prediction, 8-bit keyframes; what those save pays for more bits where they count. */
const predicted = { residualOrder: 2, keyframeCodec: 'int8' } as const;

export const PRESETS: { readonly [N in PresetName]: Preset } = {
  off: { rules: [{ codec: 'off' }], source: 'attached, nothing compressed' },
  identity: { rules: [{ codec: 'identity' }], source: 'the whole path, without loss' },
  stale: { rules: [{ codec: 'stale' }], source: 'DistriFusion: each step uses what the step before received' },
  int8: { rules: [{ codec: 'int8', residualOrder: 0, keyframeCodec: 'int8' }], source: 'one byte an element, stateless' },
  'paper-1bit': { rules: [{ codec: 'binary' }], source: 'CompactFusion 1-bit: residual with error feedback' },
  'paper-2bit': { rules: [{ codec: 'int2' }], source: 'CompactFusion 2-bit: residual with error feedback' },
  'paper-lowrank32': { rules: [{ codec: 'lowrank_r32' }], source: 'CompactFusion rank 32, factors in fp16' },
  'paper-lowrank32-int4': { rules: [{ codec: 'lowrank_int4_r32' }], source: 'CompactFusion rank 32, factors in 4 bits' },
  'cfx-1bit': {
    rules: [
      // what an 8-bit keyframe saves over 16 bits pays for a second bit of o in 32 steps
      { roles: ['o'], steps: '0-31', codec: 'lm2', ...predicted },
      { codec: 'lm1', ...predicted },
    ],
    source: 'no more bytes than paper-1bit; two bits for the attention output under Ulysses',
  },
  'cfx-2bit': { rules: [{ codec: 'lm2', ...predicted }], source: 'no more bytes than paper-2bit' },
  'cfx-3bit': { rules: [{ codec: 'lm3', ...predicted }], source: 'three bits an element' },
};

/** A policy is named by its preset, or by a path: with a folder in it or one of these endings. */
export const isPolicyFile = (policy: string): boolean => policy.includes('/') || /\.(json|ya?ml)$/i.test(policy);

/** What would have been right instead of `name`; null if it is right. */
export function expectedPolicy(name: string): string | null {
  if (isPolicyFile(name) || Object.hasOwn(PRESETS, name)) return null;
  return `a policy file (.json, .yaml) or ${unknownName(name, Object.keys(PRESETS))}`;
}
