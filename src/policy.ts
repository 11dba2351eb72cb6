/**
 * A policy: which codec for which steps, layers, roles and collectives. Presets are policies with a
 * name; a policy file puts rules in front of a preset. `compilePlan` turns a policy into a plan.
 */
import type { Collective, Role } from './adapter.js';
import type { CodecName } from './codec.js';

/**
 * A range of steps or layers, counted from 0: the number 3 is 3 alone; [0, 10] is 0 up to, not
 * including, 10; the text "0-9" is 0 to 9 with both ends, "10-" is from 10 on.
 */
export type PolicyRange = number | [number, number] | string;

export interface Rule {
  /** Denoising steps, counted from 0: 3, [from, to) or "0-9", "10-" (both ends included). Default: all. */
  steps?: PolicyRange;
  /** Attention calls inside one transformer forward, counted from 0; written like steps. Default: all. */
  layers?: PolicyRange;
  /**
   * Tensors: queries q, keys k, values v, attention output o. Default: all.
   * @minItems 1
   */
  roles?: Role[];
  /**
   * Ulysses exchanges by all_to_all, ring attention by all_gather. Default: both.
   * @minItems 1
   */
  collectives?: Collective[];
  /** The codec for what matches; "off" leaves it to the framework. */
  codec: CodecName | 'off';
  /** 0 codes the tensor itself, 1 its difference to the base. Default: 1 for a lossy codec, 0 for an exact one. */
  residualOrder?: 0 | 1;
  /** With residualOrder 1: the sender's base follows what receivers decode (error feedback). Default true. */
  feedback?: boolean;
}

export interface Policy {
  /** Lets an editor check this file. */
  $schema?: string;
  /** Shown in plans and reports. Default: the preset's or the file's name. */
  name?: string;
  /** Decides what no rule matches. Default "off". */
  preset?: PresetName;
  /**
   * The first this many steps of a generation are sent whole. Default 1.
   * @minimum 1
   */
  warmupSteps?: number;
  /** Read in order; the first rule that matches decides. */
  rules?: Rule[];
}

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
