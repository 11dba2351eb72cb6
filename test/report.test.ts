import type { SiteCounters } from '../src/protocol.js';
import { explainNothing, humanBytes, plainLine, rangesText, renderJson, renderProof } from '../src/report.js';
import type { RankSummary, Summary } from '../src/summary.js';
import { mistakesOf } from '../src/validate.js';

const rank = (number: number, overrides: Partial<RankSummary> = {}): RankSummary => ({
  rank: number,
  worldSize: 2,
  pid: 10 + number,
  versions: {},
  agreed: true,
  patches: [],
  rawBytes: 0,
  wireBytes: 0,
  baseMemoryBytes: 0,
  generations: 1,
  steps: 28,
  finished: true,
  telemetryDropped: 0,
  ...overrides,
});
const site = (overrides: Partial<SiteCounters> = {}): SiteCounters => ({
  site: 'FluxTransformer2DModel.0',
  role: 'q',
  collective: 'all_to_all',
  codec: 'int2',
  calls: 56,
  compressed: 54,
  keyframes: 2,
  rawBytes: 15_138_816,
  wireBytes: 1_523_904,
  ...overrides,
});
const summary = (overrides: Partial<Summary> = {}): Summary => ({
  planId: '00112233445566ff',
  policy: 'paper-2bit',
  epoch: 0,
  exitCode: 0,
  worldSize: 2,
  ranks: [rank(0), rank(1)],
  generations: 1,
  steps: 28,
  sites: [site()],
  totals: { rawBytes: 302_776_320, wireBytes: 30_478_080, ratio: 302_776_320 / 30_478_080 },
  fallbacks: [],
  notes: [],
  baseMemoryBytes: 21_626_880,
  verify: { enabled: false, generations: 0, compared: 0, mismatches: [] },
  refusedFrames: 0,
  droppedFrames: 0,
  ...overrides,
});
const sites = (layers: number, overrides: Partial<SiteCounters> = {}) =>
  Array.from({ length: layers }, (_, layer) =>
    (['q', 'k', 'v', 'o'] as const).map((role) => site({ site: `FluxTransformer2DModel.${layer}`, role, ...overrides })),
  ).flat();

test('a good run reads as this block', () => {
  const verify = { enabled: true, generations: 1, compared: 40, mismatches: [] };
  expect(renderProof(summary({ sites: sites(5), verify }))).toBe(
    `cfx: policy     paper-2bit, plan 00112233445566ff, exit code 0
cfx: ranks      2 of 2 attached, all agreed
cfx: ran        1 generation, 28 steps
cfx: role  collective  codec  calls  compressed  keyframes      raw     wire  ratio
cfx: q     all_to_all  int2     280         270         10  75.7 MB  7.62 MB  9.93×
cfx: k     all_to_all  int2     280         270         10  75.7 MB  7.62 MB  9.93×
cfx: v     all_to_all  int2     280         270         10  75.7 MB  7.62 MB  9.93×
cfx: o     all_to_all  int2     280         270         10  75.7 MB  7.62 MB  9.93×
cfx: sent       302.8 MB raw, 30.5 MB on the wire over all ranks, ratio 9.93×
cfx:            302,776,320 and 30,478,080 bytes, counted at the collective, warm-up included
cfx: bases      21.6 MB of memory on the fullest rank
cfx: verify     bases identical: 40 digests compared over 1 generation
cfx: fallbacks  none
`,
  );
});

test('layers are named where a role has more than one codec', () => {
  const mixed = [
    ...sites(4),
    site({ site: 'FluxTransformer2DModel.4', codec: 'off', compressed: 0, keyframes: 0, wireBytes: 15_138_816 }),
  ];
  const lines = renderProof(summary({ sites: mixed })).split('\n');
  expect(lines.find((line) => line.startsWith('cfx: role'))).toMatch(/codec +layers +calls/);
  expect(lines.find((line) => /^cfx: q .* off/.test(line))).toMatch(/off +4 +56 +0 +0 +15\.1 MB +15\.1 MB +1\.00×/);
  expect(lines.find((line) => /^cfx: q .* int2/.test(line))).toMatch(/int2 +0-3 /);
});

test('the text is bounded in length and width for a large model with everything going wrong', () => {
  const text = renderProof(
    summary({
      sites: [...sites(57), ...sites(57, { codec: 'binary', collective: 'all_gather' }), ...sites(57, { codec: 'off' })],
      fallbacks: Array.from({ length: 500 }, (_, i) => ({
        code: 'CFX_NON_FINITE' as const,
        reason: `${'long reason '.repeat(60)}${i}`,
        count: 1e6,
      })),
      notes: Array.from({ length: 500 }, (_, i) => `note ${i}`),
      verify: {
        enabled: true,
        generations: 9,
        compared: 1e6,
        mismatches: Array.from({ length: 100 }, (_, i) => `m${i} ${'x'.repeat(300)}`),
      },
      ranks: Array.from({ length: 512 }, (_, i) => rank(2 * i, { finished: false })),
      worldSize: 1024,
    }),
  );
  const lines = text.trimEnd().split('\n');
  expect(lines.length).toBeLessThan(200);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(lines.every((line) => line.startsWith('cfx: '))).toBe(true);
  expect(text).toContain('and 488 more');
});

test('a fallback shows code, count, reason and fix', () => {
  const text = renderProof(summary({ fallbacks: [{ code: 'CFX_NON_FINITE', reason: 'NaN in M.3 k, step 7', count: 1200 }] }));
  expect(text).toContain('cfx: fallback   CFX_NON_FINITE, 1,200 times: NaN in M.3 k, step 7\n');
  expect(text).toContain('cfx:            The activations held NaN or Inf');
  expect(text).not.toContain('Nothing was compressed');
});

test('ranks that are missing, lost or disagree are named', () => {
  const text = renderProof(
    summary({ worldSize: 4, ranks: [rank(0, { agreed: false }), rank(2, { agreed: false, finished: false })] }),
  );
  expect(text).toContain('2 of 4 attached, agreed not to compress');
  expect(text).toContain('not heard of here: 1, 3');
  expect(text).toContain('vanished without a bye: 2');
  expect(renderProof(summary({ worldSize: 2, ranks: [rank(1)] }))).toContain('on other nodes: 0');
});

test('a verify that failed says which bases, one without anything to compare says so', () => {
  expect(
    renderProof(summary({ verify: { enabled: true, generations: 1, compared: 4, mismatches: ['generation 0, a: …'] } })),
  ).toMatch(/verify {5}FAILED: .*1 of 4 compared\ncfx: {12}generation 0, a/);
  expect(renderProof(summary({ verify: { enabled: true, generations: 0, compared: 0, mismatches: [] } }))).toContain(
    'nothing to compare',
  );
});

const quiet = { compressed: 0, wireBytes: 15_138_816 };
test.each<[string, Partial<Summary>, RegExp | '']>([
  ['something was compressed', {}, ''],
  ['the policy is off', { policy: 'off', sites: [site({ ...quiet, codec: 'off', keyframes: 0 })] }, /policy "off" says so/],
  [
    'there was a fallback',
    { sites: [], fallbacks: [{ code: 'CFX_FP8_COMMS', reason: 'r', count: 1 }] },
    /because of CFX_FP8_COMMS above/,
  ],
  [
    'the ranks agreed not to compress',
    {
      ranks: [rank(0, { agreed: false })],
      sites: [site({ ...quiet, codec: 'off', keyframes: 0 })],
      fallbacks: [{ code: 'CFX_PLAN_MISMATCH', reason: 'r', count: 1 }],
    },
    /because of CFX_PLAN_MISMATCH above/,
  ],
  ['no rank attached', { sites: [], ranks: [] }, /no rank attached/],
  ['no rank has attached yet', { sites: [], ranks: [], exitCode: null }, /no rank has attached yet/],
  ['all was warm-up', { sites: [site({ ...quiet, keyframes: 56 })] }, /warm-up/],
  ['no step was seen', { sites: [], steps: 0 }, /no denoising step/],
  ['no collective was seen', { sites: [] }, /no collective that cfx knows/],
])('when %s, the sentence is right', (_name, overrides, expected) => {
  if (expected === '') expect(explainNothing(summary(overrides))).toBe('');
  else expect(explainNothing(summary(overrides))).toMatch(expected);
});

test('text from a rank cannot steer the terminal', () => {
  const text = renderProof(summary({ notes: ['red \u001b[31m\u202etxt\r\ncfx: forged'] }));
  expect([...text].filter((char) => char !== '\n' && /\p{Cc}|\p{Cf}/u.test(char))).toEqual([]);
  expect(text.split('\n').filter((line) => line.startsWith('cfx: forged'))).toEqual([]);
  expect(plainLine(' a\u001b[2J\n\nb ')).toBe('a [2J b');
  expect(plainLine('x'.repeat(1000))).toHaveLength(400);
});

test('bytes and ranges read well', () => {
  expect([0, 999, 1000, 9_994, 10_000, 151_388_160, 999_949, 999_950, 2.5e12].map(humanBytes)).toEqual([
    '0 B',
    '999 B',
    '1.00 kB',
    '9.99 kB',
    '10.0 kB',
    '151.4 MB',
    '999.9 kB',
    '1.00 MB',
    '2.50 TB',
  ]);
  expect(rangesText([3, 1, 2, 0, 7, 9, 8, 12])).toBe('0-3, 7-9, 12');
  expect(rangesText([])).toBe('');
});

test('the JSON is the summary, and valid by its schema', () => {
  const value = summary({ sites: sites(3), fallbacks: [{ code: 'CFX_NO_HELLO', reason: 'r', count: 1 }] });
  expect(JSON.parse(renderJson(value))).toEqual(value);
  expect(mistakesOf('summary', value)).toEqual([]);
});
