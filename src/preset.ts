/** The preset table: policies with a name. */
import { unknownName } from './nearest.js';
import type { Rule } from './policy.js';

export type PresetName = 'off' | 'identity' | 'paper-1bit' | 'paper-2bit';

export interface Preset {
  rules: readonly Rule[];
  source: string;
}

export const PRESETS: { readonly [N in PresetName]: Preset } = {
  off: { rules: [{ codec: 'off' }], source: 'attached, nothing compressed' },
  identity: { rules: [{ codec: 'identity' }], source: 'the whole path, without loss' },
  'paper-1bit': { rules: [{ codec: 'binary' }], source: 'CompactFusion 1-bit: residual with error feedback' },
  'paper-2bit': { rules: [{ codec: 'int2' }], source: 'CompactFusion 2-bit: residual with error feedback' },
};

/** A policy is named by its preset, or by a path: with a folder in it or one of these endings. */
export const isPolicyFile = (policy: string): boolean => policy.includes('/') || /\.(json|ya?ml)$/i.test(policy);

/** What would have been right instead of `name`; null if it is right. */
export function expectedPolicy(name: string): string | null {
  if (isPolicyFile(name) || Object.hasOwn(PRESETS, name)) return null;
  return `a policy file (.json, .yaml) or ${unknownName(name, Object.keys(PRESETS))}`;
}
