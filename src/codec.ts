/**
 * The codec table: every codec's facts that planning needs. The encode/decode code is
 * `python_shim/cfx_shim/codecs/<name>.py`, found by name; payload sizes are equal on both sides
 * (checked by test/contract.test.ts).
 */

/** A tensor as a codec sees it: N tokens by C channels, `itemBytes` bytes an element in its own dtype. */
export interface BlockShape {
  tokens: number;
  channels: number;
  itemBytes: number;
}

export interface CodecFacts {
  /** Payload size in bytes for one N × C block, scales included. */
  payloadBytes: (shape: BlockShape) => number;
  /** Lossy codecs may code a residual against a base; exact ones send the tensor itself. */
  exact: boolean;
  /** What is sent serves from the next step on, and the base until then. */
  delayed?: true;
  /** Its scales are a factor per token times one per channel, which need not come from all of this step: bytes of the latter. */
  channelScales?: 1 | 2;
  source: string;
}

const scalesBytes = ({ tokens, channels }: BlockShape) => 2 * tokens + 2 * channels;
const bitPlaneBytes = ({ tokens, channels }: BlockShape) => tokens * Math.ceil(channels / 8);

/** How many groups of 32 channels there are in either part of a token that has a scale of its own. */
function groupsOfParts(channels: number): [number, number] {
  const middle = Math.min(channels, 8 * Math.ceil(channels / 16));
  return [Math.ceil(middle / 32), Math.ceil((channels - middle) / 32)];
}

const lloydMax = (bits: number): CodecFacts => ({
  payloadBytes: (shape) => 2 * shape.tokens + shape.channels + bits * bitPlaneBytes(shape),
  exact: false,
  channelScales: 1,
  source: 'Lloyd-Max levels for a Gaussian times 8-bit token × channel scales',
});

const trellis = (bits: number): CodecFacts => ({
  ...lloydMax(bits),
  source: 'trellis-coded levels times 8-bit token × channel scales',
});

const centred = (bits: number): CodecFacts => ({
  payloadBytes: (shape) => lloydMax(bits).payloadBytes(shape) + 2 * shape.channels,
  exact: false,
  source: 'the means of channels, and Lloyd-Max levels for the rest; for keyframes',
});

/** Low rank comes in sizes: `r32` is rank 32, `b16` the largest rank within 16 bits per hundred elements. */
export type LowRankSize = 'r8' | 'r16' | 'r32' | 'b15' | 'b16' | 'b31';

/** A rank is never above either side of the block; within a budget it is 1 at least. */
function rankOf(size: string, { tokens, channels }: BlockShape, bytesARank: number, bytesBeside = 0): number {
  const number = Number(size.slice(1));
  const most = Math.min(tokens, channels);
  if (size.startsWith('r')) return Math.min(number, most);
  const budget = Math.floor((tokens * channels * number) / 800);
  return Math.max(1, Math.min(most, Math.floor((budget - bytesBeside) / bytesARank)));
}

const lowRank = (size: LowRankSize): CodecFacts => ({
  payloadBytes: (shape) => {
    const bytes = 2 * (shape.tokens + shape.channels);
    return bytes * rankOf(size, shape, bytes);
  },
  exact: false,
  source: 'CompactFusion low rank: subspace iteration, factors in fp16',
});

const lowRankInt4 = (size: LowRankSize): CodecFacts => ({
  payloadBytes: (shape) => {
    const bytes = 8 + Math.ceil(shape.tokens / 2) + Math.ceil(shape.channels / 2);
    return bytes * rankOf(size, shape, bytes);
  },
  exact: false,
  source: 'CompactFusion low rank: factors in 4 bits, min-max per component',
});

const lowRankFit = (size: LowRankSize): CodecFacts => ({
  payloadBytes: (shape) => {
    const rows = Math.ceil(shape.tokens / 4) + Math.ceil(shape.channels / 4);
    const rank = Math.min(128, rankOf(size, shape, 1 + rows, 2 + rows));
    return 2 + rows + rank * (1 + rows);
  },
  exact: false,
  source: 'low rank, factors of 2 bits that are fitted to each other',
});

/** With residual order 2: one fitted coefficient per channel rides behind the payload. */
export const predictorBytes = ({ channels }: BlockShape): number => channels;

export const CODECS = {
  identity: {
    payloadBytes: ({ tokens, channels, itemBytes }: BlockShape) => tokens * channels * itemBytes,
    exact: true,
    source: 'the tensor itself, in its own dtype',
  },
  stale: {
    payloadBytes: ({ tokens, channels, itemBytes }: BlockShape) => tokens * channels * itemBytes,
    exact: true,
    delayed: true,
    source: 'DistriFusion: the tensor itself, used one step late',
  },
  binary: {
    payloadBytes: (shape: BlockShape) => scalesBytes(shape) + bitPlaneBytes(shape),
    exact: false,
    channelScales: 2,
    source: 'CompactFusion 1-bit: sign times u(token)·v(channel)',
  },
  int2: {
    payloadBytes: (shape: BlockShape) => scalesBytes(shape) + 2 * bitPlaneBytes(shape),
    exact: false,
    channelScales: 2,
    source: 'CompactFusion 2-bit: levels 0.5 and 2.0 times u(token)·v(channel)',
  },
  lowrank_r8: lowRank('r8'),
  lowrank_r16: lowRank('r16'),
  lowrank_r32: lowRank('r32'),
  lowrank_int4_r8: lowRankInt4('r8'),
  lowrank_int4_r32: lowRankInt4('r32'),
  lowrank_int4_b16: lowRankInt4('b16'),
  lowrank_fit_r8: lowRankFit('r8'),
  lowrank_fit_b15: lowRankFit('b15'),
  lowrank_fit_b16: lowRankFit('b16'),
  lowrank_fit_b31: lowRankFit('b31'),
  topk: {
    payloadBytes: ({ tokens, channels }: BlockShape) => {
      const groups = Math.ceil(channels / 16);
      return tokens * (2 * groups + Math.ceil(groups / 2));
    },
    exact: false,
    source: 'CompactFusion top-k: the largest of every 16 channels',
  },
  lm1: lloydMax(1),
  lm2: lloydMax(2),
  lm3: lloydMax(3),
  lm4: lloydMax(4),
  tcq1: trellis(1),
  tcq2: trellis(2),
  tcq3: trellis(3),
  ternary: {
    payloadBytes: ({ tokens, channels }: BlockShape) => {
      const [first, second] = groupsOfParts(channels);
      const row = Math.ceil(channels / 8) + 2 * (first + second) + Math.ceil((3 * first) / 4);
      return 2 * tokens + channels + tokens * row;
    },
    exact: false,
    channelScales: 1,
    source: 'three levels, 1.6 bits an element, times 8-bit token × channel scales',
  },
  centred4: centred(4),
  centred5: centred(5),
  fp8: {
    payloadBytes: ({ tokens, channels }: BlockShape) => 2 * tokens + tokens * channels,
    exact: false,
    source: 'e4m3, one scale per token, stateless',
  },
  int4: {
    payloadBytes: ({ tokens, channels }: BlockShape) => {
      const [first, second] = groupsOfParts(channels);
      return 2 * channels + tokens * (2 + first + second + Math.ceil(channels / 2));
    },
    exact: false,
    source: 'the means of channels, and 4 bits with scales per token and 32 channels; for keyframes',
  },
  skip: {
    payloadBytes: () => 0,
    exact: false,
    source: 'nothing: the base stays, or moves as predicted',
  },
  int8: {
    payloadBytes: ({ tokens, channels }: BlockShape) => 2 * tokens + tokens * channels,
    exact: false,
    source: 'one scale per token, stateless',
  },
} satisfies Record<string, CodecFacts>;

export type CodecName = keyof typeof CODECS;

export const isCodec = (name: unknown): name is CodecName => typeof name === 'string' && Object.hasOwn(CODECS, name);

/** Whether what receivers use differs from what was sent; only then are there keyframes. */
export const isLossy = (name: CodecName): boolean => {
  const { exact, delayed }: CodecFacts = CODECS[name];
  return !exact || delayed === true;
};

/** How many tensors of state each end of a site keeps: the base, and for residual order 2 its last change. */
export const stateTensors = (name: CodecName, residualOrder: 0 | 1 | 2): number =>
  CODECS[name].exact ? Number(isLossy(name)) : residualOrder;

/** What bases are kept in: the tensors' own type, or 8 bits. */
export type BaseDtype = 'native' | 'int8';

/** What channel scales and the predictor's coefficients are taken from: all tokens, a sample of them, or that of the step before. */
export type Statistics = 'exact' | 'sampled' | 'previous';

/** Whether a codec under these choices can do with other than exact statistics: its sender keeps what receivers have. */
export const choosesStatistics = (name: CodecName, residualOrder: 0 | 1 | 2, feedback: boolean): boolean => {
  const { channelScales }: CodecFacts = CODECS[name];
  return channelScales !== undefined && residualOrder > 0 && feedback;
};

/** What a sender keeps beside a block's state for statistics of the step before: `python_shim/cfx_shim/statistics.py`. */
export const historyBytes = (name: CodecName, { channels }: BlockShape): number => {
  const { channelScales }: CodecFacts = CODECS[name];
  return alignSection((channelScales ?? 0) * channels + 1);
};

/** Of the state of one block at one end of a site; `python_shim/cfx_shim/state.py` has the layout. */
export const stateBytes = ({ tokens, channels, itemBytes }: BlockShape, order: number, baseDtype: BaseDtype): number => {
  if (baseDtype === 'int8') return order * tokens * (channels + Math.ceil(channels / 32));
  const base = tokens * channels * itemBytes;
  if (order < 2) return order * base;
  const [first, second] = groupsOfParts(channels);
  const trend = tokens * (channels + first + second);
  return alignSection(base) + alignSection(trend);
};

/** What a keyframe can be sent in. */
export type KeyframeCodec = 'identity' | 'int8' | 'fp8' | 'int4' | 'centred4' | 'centred5';

/** Each role's section in a message starts on this boundary; a message ends with one such block of flags. */
export const SECTION_ALIGN = 16;

export const alignSection = (bytes: number) => Math.ceil(bytes / SECTION_ALIGN) * SECTION_ALIGN;

/** Bytes of one message to one peer: its sections, each padded, and the flag block. */
export const messageBytes = (sectionBytes: number[]) =>
  sectionBytes.reduce((sum, bytes) => sum + alignSection(bytes), SECTION_ALIGN);
