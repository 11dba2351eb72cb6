/**
 * What a plan will send, from shapes alone: one generation, one rank, to the byte. It walks the calls as
 * a rank makes them: per step, branch and attention call, q k v to every peer in one message (Ulysses),
 * k v in one message (ring), o in one message (Ulysses).
 */
import type { Collective, Role } from './adapter.js';
import type { BlockShape, CodecName } from './codec.js';
import { alignSection, CODECS, historyBytes, isLossy, predictorBytes, SECTION_ALIGN, stateBytes, stateTensors } from './codec.js';
import { CfxError } from './errors.js';
import type { Plan } from './plan.js';
import { cellFor } from './plan.js';

export const ITEM_BYTES = { fp32: 4, fp16: 2, bf16: 2 } as const;

export interface Shapes {
  /** The whole sequence of one sample, text tokens included. */
  tokens: number;
  /** Heads × width of a head. */
  channels: number;
  heads: number;
  /** Attention calls in one transformer forward. */
  layers: number;
  steps: number;
  batch: number;
  /** Transformer forwards in one step: 2 where guidance runs as two forwards. */
  branches: number;
  ulysses: number;
  ring: number;
  dtype: keyof typeof ITEM_BYTES;
}

export interface PredictedSite {
  role: Role;
  collective: Collective;
  codec: CodecName | 'off';
  calls: number;
  compressed: number;
  keyframes: number;
  rawBytes: number;
  wireBytes: number;
}

export interface Prediction {
  /** Of one rank, for one generation. */
  perRank: {
    rawBytes: number;
    wireBytes: number;
    /** Raw over wire; null when the rank has no peer. */
    ratio: number | null;
    /** The part of the wire bytes that keyframes are. */
    keyframeBytes: number;
    baseMemoryBytes: number;
    /** What the same bases would take in the tensors' own type. */
    nativeBaseMemoryBytes: number;
  };
  sites: PredictedSite[];
}

/** What a site keeps from step to step: another kind of state starts from a keyframe. */
interface Kept {
  kind: string;
  bytes: number;
  nativeBytes: number;
  /** Beside the senders' state, for statistics of the step before. */
  historyBytes: number;
}

interface Exchange {
  collective: Collective;
  roles: readonly Role[];
  peers: number;
  /** Blocks kept per role where a base is kept: sent and received, or our own and the peers'. */
  bases: number;
  /** How many of them are a sender's. */
  sent: number;
  block: BlockShape;
}

function divide(value: number, by: number, what: string, degree: string): number {
  if (value % by === 0) return value / by;
  throw new CfxError('CFX_USAGE', `found ${what} ${value}; expected a multiple of ${by}, the ${degree}`, {
    fix: 'Change the shape or the parallel degrees; the framework cannot split it evenly either.',
  });
}

/** The messages of one attention call, in the order in which they are sent. */
function exchangesOf({ tokens, channels, heads, batch, ulysses, ring, dtype }: Shapes): Exchange[] {
  divide(channels, heads, 'channels', 'heads');
  const headsHere = divide(heads, ulysses, 'heads', 'Ulysses degree');
  const local = divide(tokens, ulysses * ring, 'tokens', 'Ulysses degree × ring degree');
  const width = (channels / heads) * headsHere;
  const itemBytes = ITEM_BYTES[dtype];
  const allToAll = (roles: Role[]): Exchange => ({
    collective: 'all_to_all',
    roles,
    peers: ulysses - 1,
    bases: 2 * (ulysses - 1),
    sent: ulysses - 1,
    block: { tokens: batch * local, channels: width, itemBytes },
  });
  const allGather: Exchange = {
    collective: 'all_gather',
    roles: ['k', 'v'],
    peers: ring - 1,
    bases: ring,
    sent: 1,
    block: { tokens: batch * local * ulysses, channels: width, itemBytes },
  };
  return [allToAll(['q', 'k', 'v']), allGather, allToAll(['o'])].filter(({ peers }) => peers > 0);
}

function assertCounts(shapes: Shapes): void {
  for (const [name, value] of Object.entries(shapes)) {
    if (name === 'dtype' ? Object.hasOwn(ITEM_BYTES, value) : Number.isSafeInteger(value) && value >= 1) continue;
    const expected = name === 'dtype' ? `one of ${Object.keys(ITEM_BYTES).join(', ')}` : 'a whole number from 1';
    throw new CfxError('CFX_USAGE', `found ${name} ${value}; expected ${expected}`);
  }
}

export function predict(plan: Plan, shapes: Shapes): Prediction {
  assertCounts(shapes);
  const exchanges = exchangesOf(shapes);
  const sites = new Map<string, PredictedSite>();
  let keyframeBytes = 0;
  let baseMemoryBytes = 0;
  let nativeBaseMemoryBytes = 0;

  /** One message to all peers: raw where the whole of it is left to the framework. */
  const send = (exchange: Exchange, step: number, layer: number, based: Map<string, Kept>) => {
    const { collective, roles, peers, bases, sent: senders, block } = exchange;
    const raw = CODECS.identity.payloadBytes(block);
    const cells = roles.map((role) => cellFor(plan, step, layer, role, collective));
    const untouched = cells.every((cell) => cell === null || cell.codec === 'off');
    for (const [index, role] of roles.entries()) {
      const cell = cells[index] ?? null;
      const codec = cell?.codec ?? 'off';
      const lossy = codec !== 'off' && isLossy(codec);
      const order = codec === 'off' ? 0 : stateTensors(codec, cell?.residualOrder ?? 0);
      const residual = order > 0;
      const key = `${collective}.${role}`;
      const baseDtype = cell?.baseDtype ?? 'native';
      const kind = `${order} ${baseDtype}`;
      const kept = based.get(key);
      const starts = residual && kept?.kind !== kind;
      const keyframe = lossy && (step < plan.warmupSteps || starts);
      if (starts) {
        const bytes = Math.max(kept?.bytes ?? 0, bases * stateBytes(block, order, baseDtype));
        const nativeBytes = Math.max(kept?.nativeBytes ?? 0, bases * stateBytes(block, order, 'native'));
        based.set(key, { kind, bytes, nativeBytes, historyBytes: kept?.historyBytes ?? 0 });
      }
      const holds = based.get(key);
      if (holds && cell?.statistics === 'previous' && codec !== 'off' && !keyframe) {
        holds.historyBytes = Math.max(holds.historyBytes, senders * historyBytes(codec, block));
      }
      const sent = keyframe ? (cell?.keyframeCodec ?? 'identity') : codec;
      const predictor = order === 2 && !keyframe ? predictorBytes(block) : 0;
      const section = sent === 'off' ? raw : CODECS[sent].payloadBytes(block) + predictor;
      // The flag block of a message is booked with its first section.
      const wire = untouched ? raw : alignSection(section) + (index === 0 ? SECTION_ALIGN : 0);
      if (keyframe) keyframeBytes += peers * wire;

      const row = `${collective}.${role}.${codec}`;
      const site = sites.get(row) ?? {
        role,
        collective,
        codec,
        calls: 0,
        compressed: 0,
        keyframes: 0,
        rawBytes: 0,
        wireBytes: 0,
      };
      sites.set(row, site);
      site.calls += 1;
      site.keyframes += Number(keyframe);
      site.compressed += Number(codec !== 'off' && !keyframe);
      site.rawBytes += peers * raw;
      site.wireBytes += peers * wire;
    }
  };

  for (let branch = 0; branch < shapes.branches; branch++) {
    for (let layer = 0; layer < shapes.layers; layer++) {
      const based = new Map<string, Kept>();
      for (let step = 0; step < shapes.steps; step++) {
        for (const exchange of exchanges) send(exchange, step, layer, based);
      }
      for (const { bytes, nativeBytes, historyBytes: beside } of based.values()) {
        baseMemoryBytes += bytes + beside;
        nativeBaseMemoryBytes += nativeBytes + beside;
      }
    }
  }

  const rows = [...sites.values()];
  const rawBytes = rows.reduce((sum, site) => sum + site.rawBytes, 0);
  const wireBytes = rows.reduce((sum, site) => sum + site.wireBytes, 0);
  const ratio = wireBytes > 0 ? rawBytes / wireBytes : null;
  return {
    perRank: { rawBytes, wireBytes, ratio, keyframeBytes, baseMemoryBytes, nativeBaseMemoryBytes },
    sites: rows,
  };
}
