/**
 * Everything that crosses between the orchestrator and a rank: one msgpack map per ZeroMQ frame,
 * tagged by `type`. `schemas/PROTOCOL.md` is the authoritative description. Rank to orchestrator:
 * hello, ready, ack, refuse, telemetry, generation, verify, warn, bye. Orchestrator to rank: welcome, plan.
 * Only plain data: no ext types, no integers beyond 2^53, no code, module or file names.
 */
import type { Collective, SentRole } from './adapter.js';
import type { CodecName } from './codec.js';
import type { ErrorCode } from './errors.js';
import type { Observe } from './observe.js';
import type { Plan } from './plan.js';

export const PROTOCOL_VERSION = 1;
export const MAX_FRAME_BYTES = 1 << 20;
export const MAX_DEPTH = 8;
/** A peer that sends faster than this is cut off (frames in any one second). */
export const MAX_FRAMES_PER_SECOND = 2000;

export interface Hello {
  type: 'hello';
  protocol: number;
  /** The run's secret, from the connection file; compared in constant time. */
  token: string;
  rank: number;
  worldSize: number;
  localRank: number;
  pid: number;
  /** Fresh per process: tells an elastic restart from a reconnection. */
  nonce: string;
  versions: { [name: string]: string };
  /** Dotted names of the symbols that were replaced. */
  patches: string[];
  planId: string;
}

export interface Welcome {
  type: 'welcome';
  /** False: the reason says why, and the rank stops talking. It never changes what the rank computes. */
  accepted: boolean;
  reason: string;
}

/** The verdict of the agreement among the ranks, as this rank read it. */
export interface Ready {
  type: 'ready';
  verdict: boolean;
  code: ErrorCode | '';
  reason: string;
  planId: string;
}

export interface PlanMessage {
  type: 'plan';
  epoch: number;
  plan: Plan;
}
export interface Ack {
  type: 'ack';
  epoch: number;
  planId: string;
}
export interface Refuse {
  type: 'refuse';
  epoch: number;
  code: ErrorCode;
  reason: string;
}

export interface SiteCounters {
  /** Transformer and attention-call index, e.g. "FluxTransformer2DModel.3". */
  site: string;
  role: SentRole;
  collective: Collective;
  codec: CodecName | 'off';
  calls: number;
  compressed: number;
  keyframes: number;
  rawBytes: number;
  wireBytes: number;
}

/** Cumulative since the process started: a dropped frame loses freshness, never totals. */
export interface Telemetry {
  type: 'telemetry';
  sequence: number;
  generation: number;
  step: number;
  steps: number;
  sites: SiteCounters[];
  fallbacks: Fallback[];
  notes: string[];
  baseMemoryBytes: number;
  /** Frames this rank dropped because its queue was full. */
  dropped: number;
  /** Frames from the orchestrator that this rank refused. */
  refused: number;
}

export interface Fallback {
  code: ErrorCode;
  reason: string;
  count: number;
}

export interface GenerationEvent {
  type: 'generation';
  phase: 'begin' | 'end';
  generation: number;
  /** Steps done in it: 0 at its begin. */
  steps: number;
  epoch: number;
  planId: string;
}

/** Digests of all bases at a generation's end. Equal keys must have equal values on all ranks. */
export interface Verify {
  type: 'verify';
  generation: number;
  digests: { [base: string]: string };
}

/** A problem on a rank, named once. */
export interface Warn {
  type: 'warn';
  code: ErrorCode;
  reason: string;
}

export interface Bye {
  type: 'bye';
  /** The last telemetry of the process. */
  telemetry: Telemetry;
}

export type FromRank = Hello | Ready | Ack | Refuse | Telemetry | GenerationEvent | Verify | Warn | Bye;
export type ToRank = Welcome | PlanMessage;
export type Message = FromRank | ToRank;

/** The connection file of a launch: `run.json` in its run folder, owner-only. */
export interface Run {
  protocol: number;
  version: string;
  /** `ipc://…` of the control socket; empty for `cfx shim`, whose ranks have no orchestrator. */
  endpoint: string;
  token: string;
  /** Where `cfx_shim` is, and the side folder with pyzmq and msgpack (empty: the environment's own). */
  shimPath: string;
  sidePath: string;
  /** Where `cfx setup` keeps the kernels that it has compiled for this machine's CPU; left out: there are none. */
  kernelsPath?: string;
  adapters: string[];
  device: 'cpu' | '';
  strict: boolean;
  verify: boolean;
  /**
   * How long a rank waits for the others' part in the agreement.
   * @fraction
   */
  agreeTimeoutSeconds: number;
  /** Found before the launch (unsupported version, fp8 comms, …): no rank compresses, for this reason. */
  refusal: { code: ErrorCode; reason: string } | null;
  /** What ranks keep of the run; null: nothing. */
  observe: Observe | null;
  plan: Plan;
}
