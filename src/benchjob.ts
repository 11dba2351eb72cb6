/** Pure: what is measured of which codec, as the Python side gets it (python_shim/cfx_bench/codecs_main.py). */
import { CODECS, type CodecFacts, type CodecName, choosesStatistics, predictorBytes, type Statistics } from './codec.js';
import { CfxError } from './errors.js';
import { list } from './nearest.js';
import { compilePlan, type Plan } from './plan.js';
import { ITEM_BYTES } from './predict.js';
import { PRESETS } from './preset.js';

export type Dtype = keyof typeof ITEM_BYTES;

export interface BenchShape {
  tokens: number;
  channels: number;
  dtype: Dtype;
  peers: number;
}

/** What K or V of FLUX.1 at 1024×1024 is in a ring of 4: (4,096 image tokens + 256 of text) / 4, bf16. */
export const FLUX: BenchShape = { tokens: 1088, channels: 3072, dtype: 'bf16', peers: 3 };

/** What a rank of `cfx demo` sends its peer. */
export const DEMO: BenchShape = { tokens: 528, channels: 128, dtype: 'fp32', peers: 1 };

export type Order = 0 | 1 | 2;

export interface JobCodec {
  codec: CodecName;
  order: Order;
  statistics: Statistics;
  plan: Plan;
  /** Blocks that the gate looks at, with the bytes that a section of such a block has to take. */
  checked: { tokens: number; channels: number; bytes: number }[];
  paper: CodecName | null;
}

export interface BenchJob {
  tokens: number;
  channels: number;
  dtype: Dtype;
  peers: number;
  device: 'auto' | 'cpu' | 'cuda';
  /** Null: as many as torch takes by itself. */
  threads: number | null;
  repeats: number;
  /** Null: by the size of the last-level cache; 0: none. */
  largeMib: number | null;
  /** The folder of compiled CPU kernels. */
  kernels: string;
  trace: string | null;
  stepOfDemo: boolean;
  codecs: JobCodec[];
}

/** Rows and bytes that are not whole, and as many tokens of the measured shape as show every kind of tile. */
const RAGGED = { tokens: 33, channels: 130 };
const CHECKED_TOKENS = 131;

const RULES = Object.values(PRESETS).flatMap(({ rules }) => rules);

/** What has a payload that is not the tensor itself. */
const LOSSY = (Object.keys(CODECS) as CodecName[]).filter((name) => !CODECS[name].exact && name !== 'skip');

/** The residual order at which presets use a codec, or else 2 for ours with scales a channel; keyframes have none. */
export function orderOf(codec: CodecName): Order {
  const rule = RULES.find((each) => each.codec === codec);
  if (rule) return rule.residualOrder ?? 1;
  // int4 is for keyframes too, in policies
  const keyframe = codec === 'int4' || RULES.some(({ keyframeCodec }) => keyframeCodec === codec);
  if (keyframe) return 0;
  const { channelScales }: CodecFacts = CODECS[codec];
  return channelScales === 1 ? 2 : 1;
}

/** Ours beside the paper's at no more bytes; the paper's own beside its formulas. */
const PAPER_CLASS: { [C in CodecName]?: CodecName } = {
  binary: 'binary',
  int2: 'int2',
  topk: 'topk',
  lm1: 'binary',
  lm2: 'int2',
  tcq1: 'binary',
  tcq2: 'int2',
  lowrank_r8: 'lowrank_r8',
  lowrank_r16: 'lowrank_r16',
  lowrank_r32: 'lowrank_r32',
  lowrank_int4_r8: 'lowrank_int4_r8',
  lowrank_int4_r32: 'lowrank_int4_r32',
  lowrank_int4_b16: 'lowrank_int4_b16',
  lowrank_fit_r8: 'lowrank_int4_r8',
  lowrank_fit_b15: 'lowrank_int4_b16',
  lowrank_fit_b16: 'lowrank_int4_b16',
};

/** What presets use, and the paper's top-k. */
export const DEFAULT_CODECS: CodecName[] = LOSSY.filter(
  (name) => name === 'topk' || RULES.some(({ codec, keyframeCodec }) => codec === name || keyframeCodec === name),
);

/** Codec names, or "all"; every mistake at once. */
export function chosenCodecs(text: string | undefined): CodecName[] {
  if (text === undefined) return DEFAULT_CODECS;
  if (text.trim() === 'all') return LOSSY;
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !(LOSSY as string[]).includes(name));
  if (unknown.length > 0)
    throw new CfxError('CFX_USAGE', `--codecs: found ${list(unknown)}; expected "all" or some of ${list(LOSSY)}`);
  return [...new Set(names)] as CodecName[];
}

/** Bytes of a section of one block, the predictor's included. */
export const sectionBytes = (codec: CodecName, order: Order, tokens: number, channels: number, dtype: Dtype): number => {
  const shape = { tokens, channels, itemBytes: ITEM_BYTES[dtype] };
  return CODECS[codec].payloadBytes(shape) + (order === 2 ? predictorBytes(shape) : 0);
};

/** `wanted` statistics are for codecs that can do with other than exact ones. */
export function jobCodecs(
  codecs: CodecName[],
  { tokens, channels, dtype }: BenchShape,
  wanted: Statistics = 'exact',
): JobCodec[] {
  const blocks = [RAGGED, { tokens: Math.min(tokens, CHECKED_TOKENS), channels }];
  return codecs.map((codec) => {
    const order = orderOf(codec);
    const statistics = choosesStatistics(codec, order, true) ? wanted : 'exact';
    return {
      codec,
      order,
      statistics,
      plan: compilePlan({ name: codec, rules: [{ codec, residualOrder: order, statistics }] }),
      checked: blocks.map((block) => ({ ...block, bytes: sectionBytes(codec, order, block.tokens, block.channels, dtype) })),
      paper: PAPER_CLASS[codec] ?? null,
    };
  });
}
