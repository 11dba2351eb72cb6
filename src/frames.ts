/**
 * One message as msgpack bytes, both ways. Peer bytes are scanned before they are decoded: size,
 * depth and types are known to be harmless by the time the decoder allocates anything.
 */
import { Packr, Unpackr } from 'msgpackr/index-no-eval';
import { MAX_DEPTH, MAX_FRAME_BYTES } from './protocol.js';

// One set of options for all frames: without `useRecords: false` Python cannot read what is written.
const OPTIONS = {
  useRecords: false,
  variableMapSize: true,
  encodeUndefinedAsNil: true,
  int64AsType: 'number',
} as const;
const packr = new Packr(OPTIONS);
const unpackr = new Unpackr(OPTIONS);

/** Why a frame was refused; counted by the receiver, never fatal to it. */
export class FrameError extends Error {}

const refuse = (reason: string): never => {
  throw new FrameError(reason);
};

/** Checks a value and widens integers that msgpackr would otherwise send as floats. */
const plainValue = (value: unknown, depth: number): unknown => {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return refuse(`number ${value} is not finite`);
    if (!Number.isInteger(value)) return value;
    if (!Number.isSafeInteger(value)) return refuse(`integer ${value} is beyond 2^53`);
    return value > 0xffffffff || value < -0x80000000 ? BigInt(value) : value;
  }
  if (depth >= MAX_DEPTH) return refuse(`nested deeper than ${MAX_DEPTH}`);
  if (Array.isArray(value)) return value.map((item) => plainValue(item, depth + 1));
  if (typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    return Object.fromEntries(entries.map(([key, item]) => [key, plainValue(item, depth + 1)]));
  }
  return refuse(`${typeof value} is not plain data`);
};

export const encodeFrame = (message: object): Buffer => {
  const bytes = packr.pack(plainValue(message, 0));
  if (bytes.length > MAX_FRAME_BYTES) refuse(`frame of ${bytes.length} bytes; at most ${MAX_FRAME_BYTES} are allowed`);
  return bytes;
};

/** Walks one msgpack value without building it; refuses what the protocol has no use for. */
class Scanner {
  private at = 0;
  private readonly view: DataView;
  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  whole(): void {
    const tag = this.view.byteLength === 0 ? refuse('empty frame') : this.view.getUint8(0);
    if (!((tag >= 0x80 && tag <= 0x8f) || tag === 0xde || tag === 0xdf)) refuse('not a map');
    this.value(0);
    if (this.at !== this.view.byteLength) refuse('bytes after the message');
  }

  private skip(bytes: number): number {
    const start = this.at;
    if (start + bytes > this.view.byteLength) refuse('truncated frame');
    this.at += bytes;
    return start;
  }

  private length(bytes: 1 | 2 | 4): number {
    const at = this.skip(bytes);
    if (bytes === 1) return this.view.getUint8(at);
    return bytes === 2 ? this.view.getUint16(at) : this.view.getUint32(at);
  }

  private value(depth: number): void {
    const tag = this.length(1);
    if (tag <= 0x7f || tag >= 0xe0) return; // one-byte integer
    if (tag <= 0x8f) return this.items(tag & 0x0f, true, depth);
    if (tag <= 0x9f) return this.items(tag & 0x0f, false, depth);
    if (tag <= 0xbf) return void this.skip(tag & 0x1f);
    switch (tag) {
      case 0xc0: // nil, false, true
      case 0xc2:
      case 0xc3:
        return;
      case 0xca:
        return this.finite(this.view.getFloat32(this.skip(4)));
      case 0xcb:
        return this.finite(this.view.getFloat64(this.skip(8)));
      case 0xcc: // integers of 1, 2 and 4 bytes
      case 0xd0:
        return void this.skip(1);
      case 0xcd:
      case 0xd1:
        return void this.skip(2);
      case 0xce:
      case 0xd2:
        return void this.skip(4);
      case 0xcf:
        return this.finite(Number(this.view.getBigUint64(this.skip(8))));
      case 0xd3:
        return this.finite(Number(this.view.getBigInt64(this.skip(8))));
      case 0xd9:
        return void this.skip(this.length(1));
      case 0xda:
        return void this.skip(this.length(2));
      case 0xdb:
        return void this.skip(this.length(4));
      case 0xdc:
      case 0xde:
        return this.items(this.length(2), tag === 0xde, depth);
      case 0xdd:
      case 0xdf:
        return this.items(this.length(4), tag === 0xdf, depth);
      default:
        return refuse(`msgpack type 0x${tag.toString(16)} is not allowed`);
    }
  }

  private items(count: number, map: boolean, depth: number): void {
    if (depth >= MAX_DEPTH) refuse(`nested deeper than ${MAX_DEPTH}`);
    for (let i = 0; i < count; i++) {
      if (map) {
        const tag = this.at < this.view.byteLength ? this.view.getUint8(this.at) : refuse('truncated frame');
        if (!((tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb))) refuse('a map key is not a string');
        this.value(depth + 1);
      }
      this.value(depth + 1);
    }
  }

  private finite(value: number): void {
    if (!Number.isFinite(value)) refuse('a number is not finite');
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) refuse('an integer is beyond 2^53');
  }
}

/** The value in a peer's frame: plain data of bounded size and depth, its meaning not yet checked. */
export const decodeFrame = (bytes: Uint8Array): unknown => {
  if (bytes.length > MAX_FRAME_BYTES) refuse(`frame of ${bytes.length} bytes; at most ${MAX_FRAME_BYTES} are allowed`);
  new Scanner(bytes).whole();
  return unpackr.unpack(bytes);
};
