/** What a run did: the proof block and `--report` are renderings of this (schemas/summary.schema.json). */
import type { Fallback, SiteCounters } from './protocol.js';

export interface RankSummary {
  rank: number;
  worldSize: number;
  pid: number;
  versions: { [name: string]: string };
  /** Whether the ranks agreed to compress, as this one read the verdict; null: it never came to that. */
  agreed: boolean | null;
  patches: string[];
  rawBytes: number;
  wireBytes: number;
  baseMemoryBytes: number;
  generations: number;
  steps: number;
  /** False: the rank vanished without a bye. */
  finished: boolean;
  telemetryDropped: number;
}

export interface Totals {
  rawBytes: number;
  wireBytes: number;
  /**
   * Raw over wire; null when nothing was sent.
   * @fraction
   */
  ratio: number | null;
}

export interface Summary {
  planId: string;
  policy: string;
  epoch: number;
  /**
   * What attach exits with: the command's own code, 128 + n if signal n ended it, 96 or 97 where --strict
   * or --verify says so; null while it runs.
   */
  exitCode: number | null;
  /** Ranks the job has, as the ranks reported it; 0 if none did. */
  worldSize: number;
  ranks: RankSummary[];
  generations: number;
  steps: number;
  /** Summed over ranks. */
  sites: SiteCounters[];
  totals: Totals;
  fallbacks: Fallback[];
  notes: string[];
  /** The largest over the ranks. */
  baseMemoryBytes: number;
  verify: { enabled: boolean; generations: number; compared: number; mismatches: string[] };
  /** Frames that the orchestrator refused (too large, malformed, wrong type or state). */
  refusedFrames: number;
  /** Frames that ranks dropped because their queues were full. */
  droppedFrames: number;
}
