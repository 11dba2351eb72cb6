import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeFrame, encodeFrame } from '../src/frames.js';
import { MAX_DEPTH, MAX_FRAME_BYTES } from '../src/protocol.js';

const GOLDEN = join(__dirname, 'fixtures', 'golden');
const names = readdirSync(GOLDEN).flatMap((file) => (file.endsWith('.json') ? [file.slice(0, -5)] : []));
const TYPES = ['hello', 'welcome', 'ready', 'plan', 'ack', 'refuse', 'telemetry', 'generation', 'verify', 'warn', 'bye'];
const read = (name: string) => ({
  value: JSON.parse(readFileSync(join(GOLDEN, `${name}.json`), 'utf8')),
  bytes: readFileSync(join(GOLDEN, `${name}.msgpack`)),
});
const bytesOf = (...bytes: number[]) => Buffer.from(bytes);
/** {"a": …} around one msgpack value. */
const inMap = (...value: number[]) => bytesOf(0x81, 0xa1, 0x61, ...value);

test('every message type has a golden vector', () => {
  expect([...new Set(names.map((name) => read(name).value.type))].sort()).toEqual([...TYPES].sort());
});

describe.each(names)('golden %s, packed by Python', (name) => {
  const { value, bytes } = read(name);
  test('is read as the value it stands for', () => expect(decodeFrame(bytes)).toEqual(value));
  test('comes back from our own bytes', () => expect(decodeFrame(encodeFrame(value))).toEqual(value));
});

test.each(names.filter((name) => /^(plan|welcome)/.test(name)))(
  'what we send as %s is byte for byte what Python packs',
  (name) => {
    const { value, bytes } = read(name);
    expect(encodeFrame(value).equals(bytes)).toBe(true);
  },
);

test('integers of 2^32 and more leave as integers, not as floats', () => {
  expect([...encodeFrame({ n: 2 ** 32 })].slice(3)).toEqual([0xd3, 0, 0, 0, 1, 0, 0, 0, 0]);
});

test('a whole float reads as the integer it is', () => {
  expect(decodeFrame(inMap(0xcb, 0x40, 0x3c, 0, 0, 0, 0, 0, 0))).toEqual({ a: 28 });
});

test('undefined members are left out', () => {
  expect(decodeFrame(encodeFrame({ a: undefined, b: 1 }))).toEqual({ b: 1 });
});

describe('decoding refuses', () => {
  const nested = (depth: number) =>
    bytesOf(
      ...Array(depth - 1)
        .fill([0x81, 0xa1, 0x61])
        .flat(),
      0x80,
    );
  test.each<[string, Buffer, RegExp]>([
    ['an empty frame', bytesOf(), /empty/],
    ['a frame that is no map', bytesOf(0x93, 1, 2, 3), /not a map/],
    ['bytes after the message', bytesOf(0x80, 0xc0), /after/],
    ['a truncated string', inMap(0xd9, 40, 0x61), /truncated/],
    ['a truncated map', bytesOf(0x82, 0xa1, 0x61, 1), /truncated/],
    ['an array that claims four billion items', inMap(0xdd, 0xff, 0xff, 0xff, 0xff), /truncated/],
    ['binary', inMap(0xc4, 1, 0), /0xc4/],
    ['a fixed extension', inMap(0xd4, 1, 0), /0xd4/],
    ['a record extension', inMap(0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61), /0xd4/],
    ['a timestamp', inMap(0xd6, 0xff, 0, 0, 0, 0), /0xd6/],
    ['the unused tag', inMap(0xc1), /0xc1/],
    ['NaN', inMap(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0), /finite/],
    ['infinity', inMap(0xca, 0x7f, 0x80, 0, 0), /finite/],
    ['an integer beyond 2^53', inMap(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), /2\^53/],
    ['a negative integer beyond 2^53', inMap(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), /2\^53/],
    ['a key that is no string', bytesOf(0x81, 1, 1), /key/],
    ['one level too many', nested(MAX_DEPTH + 1), /nested/],
    ['a frame that is too large', Buffer.alloc(MAX_FRAME_BYTES + 1, 0x80), /at most/],
  ])('%s', (_name, bytes, reason) => expect(() => decodeFrame(bytes)).toThrow(reason));

  test('but takes what is just deep enough', () => expect(() => decodeFrame(nested(MAX_DEPTH))).not.toThrow());

  test('and never pollutes a prototype', () => {
    const value = decodeFrame(bytesOf(0x81, 0xa9, ...Buffer.from('__proto__'), 0x81, 0xa1, 0x78, 1)) as { x?: number };
    expect(value.x).toBeUndefined();
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  test('any one flipped byte decodes to plain data or is refused', () => {
    const { bytes } = read('telemetry');
    for (let at = 0; at < bytes.length; at++) {
      for (const byte of [0x00, 0xc1, 0xd4, 0xdf, 0xff]) {
        const damaged = Buffer.from(bytes);
        damaged[at] = byte;
        try {
          JSON.stringify(decodeFrame(damaged));
        } catch (error) {
          expect((error as Error).constructor.name).toBe('FrameError');
        }
      }
    }
  });
});

describe('encoding refuses', () => {
  const deep = (depth: number): object => (depth === 0 ? {} : { a: deep(depth - 1) });
  test.each<[string, object, RegExp]>([
    ['NaN', { a: Number.NaN }, /finite/],
    ['an unsafe integer', { a: 2 ** 60 }, /2\^53/],
    ['a function', { a: () => 1 }, /plain/],
    ['a Date', { a: new Date(0) }, /plain/],
    ['bytes', { a: Buffer.alloc(1) }, /plain/],
    ['too deep a value', deep(MAX_DEPTH), /nested/],
    ['too large a value', { a: 'x'.repeat(MAX_FRAME_BYTES) }, /at most/],
  ])('%s', (_name, value, reason) => expect(() => encodeFrame(value)).toThrow(reason));
});
