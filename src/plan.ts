/**
 * The plan: what every rank does, as plain data. Cells are read in order and the first that matches
 * wins; a call that no cell matches is left to the framework, uncompressed.
 */
import { createHash } from 'node:crypto';
import type { Collective, Role } from './adapter.js';
import type { CodecName } from './codec.js';

/** Half-open range; `null` as the end means "to the last". */
export type Range = [number, number | null];

export interface Cell {
  steps: Range;
  layers: Range;
  roles: Role[];
  collectives: Collective[];
  /** `off` leaves the matching tensors to the framework. */
  codec: CodecName | 'off';
  /** 0: code the tensor itself. 1: code its difference to the base. */
  residualOrder: 0 | 1;
  /** With residualOrder 1: the sender's base follows the decoded value (true) or the exact one (false). */
  feedback: boolean;
}

export interface Plan {
  /** First 16 hex digits of the SHA-256 of the canonical JSON of all other fields. */
  planId: string;
  /** The preset or file it came from. */
  policy: string;
  /** The first this many steps of a generation are sent whole (keyframes). */
  warmupSteps: number;
  cells: Cell[];
}
