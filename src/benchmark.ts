/** What `cfx bench codecs` found: the table is a rendering of this (schemas/benchmark.schema.json). */
import type { CodecName, Statistics } from './codec.js';

/** A codec's error in the closed loop on one signal. */
export interface SignalError {
  signal: string;
  /**
   * Payload bits an element on the signal's own blocks: a codec of fixed rank takes more on small ones.
   * @fraction
   */
  bitsPerElement: number;
  /**
   * ‖x − y‖ / ‖x‖, y what receivers use; mean over sites and all steps but the first.
   * @fraction
   */
  relativeError: number;
  /**
   * Over the paper's codec of the same class, from its formulas; null: the paper has none.
   * @fraction
   */
  overPaper: number | null;
}

/** A GPU's time from memory traffic and launches alone, in microseconds; decoding is of one peer's block. */
export interface ModelledTime {
  encodeLaunches: number;
  /** Among all programs of a launch; in time each counts as a launch. */
  encodeBarriers: number;
  /** Of all peers' blocks together. */
  decodeLaunches: number;
  encodeBytes: number;
  decodeBytes: number;
  /** @fraction */
  encodeMicroseconds: number;
  /** @fraction */
  decodeMicroseconds: number;
}

export interface CodecRow {
  codec: CodecName;
  /** As the presets that use the codec have it. */
  residualOrder: 0 | 1 | 2;
  /** What channel scales and the predictor's coefficients are of; always "exact" for codecs that have neither to choose. */
  statistics: Statistics;
  /** Of one block; with residual order 2 the predictor's included. */
  payloadBytes: number;
  /** @fraction */
  bitsPerElement: number;
  /**
   * The block's own bytes over the payload's.
   * @fraction
   */
  ratio: number;
  /** The paper's codec of this class, that errors are compared with. */
  paper: CodecName | null;
  errors: SignalError[];
  /** What did the work where it was measured: Triton, the CPU's compiled kernels, or plain torch. */
  path: 'triton' | 'compiled' | 'torch';
  /** Measured as replays of a CUDA graph. */
  graph: boolean;
  /**
   * Of the same block, beside this codec.
   * @fraction
   */
  copyMicroseconds: number;
  /**
   * Residual, payload and the sender's base.
   * @fraction
   */
  encodeMicroseconds: number;
  /**
   * What a GPU does behind the send for the next step's statistics; null: nothing, or within what encoding takes.
   * @fraction
   */
  keepMicroseconds: number | null;
  /**
   * Of one peer's block.
   * @fraction
   */
  decodeMicroseconds: number;
  /**
   * Of one step of the demo, all that a rank codes in it; null: not measured.
   * @fraction
   */
  shareOfDemoStep: number | null;
  /**
   * Encode and decode of the large tensor over copying it once; null: not measured.
   * @fraction
   */
  largeOverCopy: number | null;
  /** Null: a GPU would run plain torch, of which no such figure is known. */
  modelled: ModelledTime | null;
}

export interface CodecBenchmark {
  /** Version of this format. */
  format: 1;
  /** When it was written, ISO 8601. */
  created: string;
  /** cfx, Python, torch, … */
  versions: { [name: string]: string };
  machine: {
    cpu: string;
    cores: number;
    /** Null: the system does not say. */
    lastLevelCacheBytes: number | null;
    /** Where it was measured; null: on the CPU. */
    gpu: string | null;
    driver: string | null;
  };
  /** What the measured times are of. */
  device: 'cpu' | 'cuda';
  /** The block of one peer, and from how many peers there is one. */
  shape: { tokens: number; channels: number; dtype: 'fp32' | 'fp16' | 'bf16'; peers: number };
  repeats: number;
  /** For checks, errors and the large tensor; times of the block are of one thread. */
  threads: number;
  compiledKernels: boolean;
  /** How many sets of inputs took turns. */
  inputSets: number;
  /**
   * What a step of the demo takes uncompressed, the median of those measured or as given; null: another shape.
   * @fraction
   */
  demoStepMilliseconds: number | null;
  /** How many steps of the demo were measured for that, in this run; 0: it was given. */
  demoStepsMeasured: number;
  largeMebibytes: number | null;
  /** The folder of the recorded trace that the errors are of; null: built-in signals. */
  trace: string | null;
  /** The GPU that is modelled. */
  model: {
    /** @fraction */
    gigabytesPerSecond: number;
    /** @fraction */
    launchMicroseconds: number;
    /** @fraction */
    copyMicroseconds: number;
  };
  codecs: CodecRow[];
}
