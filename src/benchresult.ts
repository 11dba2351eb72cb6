/** Pure: the figures of `cfx bench codecs`, of what Python measured and what the job was. */
import type { BenchJob, JobCodec } from './benchjob.js';
import { sectionBytes } from './benchjob.js';
import type { CodecBenchmark, CodecRow, ModelledTime, SignalError } from './benchmark.js';
import { median } from './evalresult.js';
import { ITEM_BYTES } from './predict.js';

/** One site of a signal; lists have an entry for each step. */
interface LoopRow {
  energy: number[];
  error: number[];
  tokens: number;
  channels: number;
}

interface Traffic {
  bytesAnElement: number;
  launches: number;
  /** Among all programs of a launch; none if not given. */
  barriers?: number;
}

/** What python_shim/cfx_bench/codecs_main.py prints. */
export interface Measured
  extends Pick<CodecBenchmark, 'versions' | 'machine' | 'device' | 'threads' | 'compiledKernels' | 'inputSets'> {
  signals: { [name: string]: { codecs: { [codec: string]: LoopRow[] }; papers: { [codec: string]: LoopRow[] } } };
  times: {
    [codec: string]: Pick<CodecRow, 'path' | 'graph'> & {
      copySeconds: number;
      encodeSeconds: number;
      keepSeconds: number | null;
      decodeSeconds: number;
      traffic: { encode: Traffic; decode: Traffic } | null;
    };
  };
  /** Seconds of one step of the demo. */
  steps?: { [codec: string]: number };
  large: { mib: number; codecs: { [codec: string]: { copySeconds: number; codeSeconds: number } } } | null;
}

export interface ModelOptions {
  gigabytesPerSecond: number;
  launchMicroseconds: number;
}

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean over sites and all steps but the first, as `cfx eval --trace` has it. */
const relativeError = (rows: LoopRow[]): number =>
  mean(
    rows.flatMap(({ energy, error }) =>
      energy.slice(1).map((value, step) => (value > 0 ? Math.sqrt(error[step + 1]! / value) : 0)),
    ),
  );

/** Bytes over bandwidth, and launches; a barrier among all programs takes as long as one. */
const timeOf = (bytes: number, launches: number, { gigabytesPerSecond, launchMicroseconds }: ModelOptions): number =>
  bytes / (gigabytesPerSecond * 1e3) + launches * launchMicroseconds;

/** `demoStep`: its milliseconds, as given, or the seconds of each step that was measured; none on another shape. */
export function assembleBenchmark(
  job: BenchJob,
  measured: Measured,
  options: { model: ModelOptions; version: string; demoStep: number | number[] },
): Omit<CodecBenchmark, 'created'> {
  const { tokens, channels, dtype, peers } = job;
  const { versions, machine, device, threads, compiledKernels, inputSets } = measured;
  const { model, version, demoStep } = options;
  const stepsMeasured = typeof demoStep === 'number' ? [] : demoStep;
  const given = typeof demoStep === 'number' ? demoStep : null;
  const demoStepMilliseconds = stepsMeasured.length > 0 ? 1e3 * median(stepsMeasured) : given;
  const blockBytes = tokens * channels * ITEM_BYTES[dtype];
  return {
    format: 1,
    versions: { cfx: version, ...versions },
    ...{ machine, device, threads, compiledKernels, inputSets },
    shape: { tokens, channels, dtype, peers },
    repeats: job.repeats,
    demoStepMilliseconds,
    demoStepsMeasured: stepsMeasured.length,
    largeMebibytes: measured.large?.mib ?? null,
    trace: job.trace,
    model: { ...model, copyMicroseconds: timeOf(2 * blockBytes, 1, model) },
    codecs: job.codecs.map((entry): CodecRow => {
      const { codec, order, statistics, paper } = entry;
      const { traffic, copySeconds, encodeSeconds, keepSeconds, decodeSeconds, ...how } = measured.times[codec]!;
      const payloadBytes = sectionBytes(codec, order, tokens, channels, dtype);
      const large = measured.large?.codecs[codec];
      const step = measured.steps?.[codec];
      return {
        codec,
        residualOrder: order,
        statistics,
        payloadBytes,
        bitsPerElement: (8 * payloadBytes) / (tokens * channels),
        ratio: blockBytes / payloadBytes,
        paper,
        errors: Object.entries(measured.signals).map(([signal, rows]) => errorOn(signal, entry, rows, dtype)),
        ...how,
        copyMicroseconds: 1e6 * copySeconds,
        encodeMicroseconds: 1e6 * encodeSeconds,
        keepMicroseconds: keepSeconds === null ? null : 1e6 * keepSeconds,
        decodeMicroseconds: 1e6 * decodeSeconds,
        shareOfDemoStep: step === undefined || demoStepMilliseconds === null ? null : (1e3 * step) / demoStepMilliseconds,
        largeOverCopy: large ? large.codeSeconds / large.copySeconds : null,
        modelled: traffic && modelledTime(traffic, { elements: tokens * channels, payloadBytes, peers }, model),
      };
    }),
  };
}

function errorOn(
  signal: string,
  { codec, order, paper }: JobCodec,
  { codecs, papers }: Measured['signals'][string],
  dtype: BenchJob['dtype'],
): SignalError {
  const rows = codecs[codec]!;
  const error = relativeError(rows);
  const ofPaper = paper && relativeError(papers[paper]!);
  return {
    signal,
    bitsPerElement: mean(
      rows.map(({ tokens, channels }) => (8 * sectionBytes(codec, order, tokens, channels, dtype)) / (tokens * channels)),
    ),
    relativeError: error,
    overPaper: ofPaper ? error / ofPaper : null,
  };
}

function modelledTime(
  { encode, decode }: { encode: Traffic; decode: Traffic },
  { elements, payloadBytes, peers }: { elements: number; payloadBytes: number; peers: number },
  model: ModelOptions,
): ModelledTime {
  const encodeBytes = elements * encode.bytesAnElement + payloadBytes;
  const decodeBytes = elements * decode.bytesAnElement + payloadBytes;
  const encodeBarriers = encode.barriers ?? 0;
  return {
    encodeLaunches: encode.launches,
    encodeBarriers,
    decodeLaunches: decode.launches,
    encodeBytes,
    decodeBytes,
    encodeMicroseconds: timeOf(encodeBytes, encode.launches + encodeBarriers, model),
    decodeMicroseconds: timeOf(peers * decodeBytes, decode.launches, model) / peers,
  };
}
