import { alignSection, CODECS, messageBytes } from '../src/codec.js';

// Counted by hand for 3 tokens × 10 channels: scales 2·3 + 2·10 = 26 bytes, one bit plane 3·2 = 6 bytes.
test.each([
  ['identity', 120],
  ['stale', 120],
  ['binary', 32],
  ['int2', 38],
  ['fp8', 36],
  ['int4', 20 + 3 * (2 + 2 + 5)],
  ['topk', 3 * 3],
  ['lowrank_r8', 3 * 2 * 13],
  ['lowrank_int4_r8', 3 * (8 + 2 + 5)],
  ['lowrank_fit_r8', 2 + 1 + 3 + 3 * (1 + 1 + 3)],
  ['ternary', 2 * 3 + 10 + 3 * (2 + 2 * 2 + 1)],
  ['skip', 0],
] as const)('The payload of %s', (name, bytes) => {
  expect(CODECS[name].payloadBytes({ tokens: 3, channels: 10, itemBytes: 4 })).toBe(bytes);
});

test('Lossy payloads do not depend on the size of an item', () => {
  for (const { exact, payloadBytes } of Object.values(CODECS)) {
    const [half, full] = [2, 4].map((itemBytes) => payloadBytes({ tokens: 7, channels: 12, itemBytes }));
    expect(half === full).toBe(!exact);
  }
});

test('Sections are padded to 16 bytes, and a message ends with a flag block', () => {
  expect([0, 1, 16, 17].map(alignSection)).toEqual([0, 16, 16, 32]);
  expect(messageBytes([])).toBe(16);
  expect(messageBytes([32, 38])).toBe(32 + 48 + 16);
});
