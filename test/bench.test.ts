/** `cfx bench codecs`: what is asked of Python, the figures made of its answer, the tables, and one real run. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BenchJob, chosenCodecs, DEFAULT_CODECS, DEMO, FLUX, jobCodecs, orderOf, sectionBytes } from '../src/benchjob.js';
import type { CodecBenchmark } from '../src/benchmark.js';
import { assembleBenchmark, type Measured } from '../src/benchresult.js';
import { renderBenchmark } from '../src/benchtable.js';
import type { CodecName, Statistics } from '../src/codec.js';
import { runProgram } from '../src/program.js';
import { mistakesOf } from '../src/validate.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cfx-bench-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function cfx(argv: string[], env: { [name: string]: string | undefined } = { PATH: process.env.PATH }) {
  const result = { code: 0, out: '', err: '' };
  const io = { out: (text: string) => void (result.out += text), err: (text: string) => void (result.err += text) };
  result.code = await runProgram(['bench', ...argv], { env, cwd: folder, home: folder, ...io });
  return result;
}

describe('what is asked for', () => {
  test('is what presets use, at their residual orders, and the top-k of the paper', () => {
    expect(DEFAULT_CODECS).toEqual(
      'binary int2 lowrank_r32 lowrank_int4_r32 lowrank_fit_b15 lowrank_fit_b31 topk lm1 lm2 lm3 lm4 tcq1 tcq2 tcq3 centred4 centred5 fp8 int8'.split(
        ' ',
      ),
    );
    const orders = {
      binary: 1,
      lowrank_fit_b31: 1,
      topk: 1,
      lm3: 2,
      tcq3: 2,
      ternary: 2,
      centred5: 0,
      int4: 0,
      fp8: 0,
      lowrank_r8: 1,
    } as const;
    for (const [codec, order] of Object.entries(orders)) expect([codec, orderOf(codec as CodecName)]).toEqual([codec, order]);
  });

  test('has the bytes that the gate compares with, the predictor included', () => {
    const [lm1] = jobCodecs(['lm1'], FLUX);
    expect(lm1!.checked).toEqual([
      // u in two bytes a token, v and beta in one a channel, one bit an element in whole bytes
      { tokens: 33, channels: 130, bytes: 2 * 33 + 2 * 130 + 33 * 17 },
      { tokens: 131, channels: 3072, bytes: 2 * 131 + 2 * 3072 + 131 * 384 },
    ]);
    expect(lm1!.plan.cells[0]).toMatchObject({ codec: 'lm1', residualOrder: 2, feedback: true, keyframeCodec: 'identity' });
  });

  test('has other statistics for the codecs alone that can do with them', () => {
    const jobs = jobCodecs(['lm1', 'topk', 'lowrank_r8', 'int4'], FLUX, 'previous');
    expect(jobs.map(({ statistics }) => statistics)).toEqual(['previous', 'exact', 'exact', 'exact']);
    for (const { statistics, plan } of jobs) expect(plan.cells[0]).toMatchObject({ statistics });
  });

  test('compares ours with codecs of the paper that take no fewer bytes', () => {
    for (const shape of [FLUX, DEMO, { ...FLUX, tokens: 264, channels: 256 }]) {
      for (const { codec, order, paper } of jobCodecs(chosenCodecs('all'), shape)) {
        if (paper === null) continue;
        const { tokens, channels, dtype } = shape;
        const size = (name: CodecName, at: 0 | 1 | 2) => sectionBytes(name, at, tokens, channels, dtype);
        expect([codec, size(codec, order) <= size(paper, 1)]).toEqual([codec, true]);
      }
    }
  });
});

const job = (shape = FLUX, statistics: Statistics = 'exact'): BenchJob => ({
  ...shape,
  ...{ device: 'auto', threads: 1, repeats: 9, largeMib: null, kernels: '/k', trace: null, stepOfDemo: shape === DEMO },
  codecs: jobCodecs(['binary', 'lm1', 'lowrank_r8'], shape, statistics),
});

/** Errors a tenth, and half of it for lm1; encode takes 3 copies, decode of a peer's block 1.5. */
function measured(changes: Partial<Measured> = {}): Measured {
  const row = (error: number) => [{ energy: [4, 100], error: [9, error], tokens: 264, channels: 256 }];
  const traffic = { encode: { bytesAnElement: 10, launches: 2 }, decode: { bytesAnElement: 4, launches: 1 } };
  const time = {
    path: 'compiled' as const,
    graph: false,
    copySeconds: 1e-5,
    encodeSeconds: 3e-5,
    keepSeconds: null,
    decodeSeconds: 1.5e-5,
  };
  return {
    versions: { python: '3.11.1', torch: '2.15.0' },
    machine: { cpu: 'A CPU', cores: 2, lastLevelCacheBytes: 32 * 2 ** 20, gpu: null, driver: null },
    device: 'cpu',
    threads: 2,
    compiledKernels: true,
    inputSets: 1,
    signals: {
      Gaussian: {
        codecs: { binary: row(1), lm1: row(0.25), lowrank_r8: row(4) },
        papers: { binary: row(1), lowrank_r8: row(1) },
      },
    },
    times: { binary: { ...time, traffic }, lm1: { ...time, traffic }, lowrank_r8: { ...time, path: 'torch', traffic: null } },
    large: { mib: 64, codecs: { binary: { copySeconds: 0.1, codeSeconds: 0.55 }, lm1: { copySeconds: 0.1, codeSeconds: 0.9 } } },
    ...changes,
  };
}

const model = { gigabytesPerSecond: 100, launchMicroseconds: 5 };
const assembled = (changes: Partial<Measured> = {}, shape = FLUX, demoStep: number | number[] = 136): CodecBenchmark => ({
  ...assembleBenchmark(job(shape), measured(changes), {
    ...{ model, version: '0.1.0' },
    demoStep: shape === DEMO ? demoStep : [],
  }),
  created: '2026-01-01T00:00:00.000Z',
});

describe('the figures', () => {
  test('are exact bytes, errors over the paper, times over copy, and time modelled of traffic and launches', () => {
    const benchmark = assembled();
    const [binary, lm1, lowRank] = benchmark.codecs;
    const bytes = 2 * 1088 + 2 * 3072 + (1088 * 3072) / 8;
    expect(binary).toMatchObject({ payloadBytes: bytes, ratio: (1088 * 3072 * 2) / bytes, largeOverCopy: expect.closeTo(5.5) });
    expect(binary!.bitsPerElement).toBeCloseTo((8 * bytes) / (1088 * 3072));
    expect(lm1!.errors).toEqual([
      // on blocks of 264 × 256
      {
        ...{ signal: 'Gaussian', relativeError: 0.05, overPaper: 0.5 },
        bitsPerElement: (8 * (2 * 264 + 2 * 256 + (264 * 256) / 8)) / (264 * 256),
      },
    ]);
    expect(lowRank).toMatchObject({ errors: [{ overPaper: 2 }], modelled: null, largeOverCopy: null });
    // one launch for all three peers
    const encode = 10 * 1088 * 3072 + bytes;
    const decode = 4 * 1088 * 3072 + bytes;
    expect(binary!.modelled).toEqual({
      ...{ encodeBytes: encode, decodeBytes: decode, encodeLaunches: 2, encodeBarriers: 0, decodeLaunches: 1 },
      encodeMicroseconds: encode / 1e5 + 10,
      decodeMicroseconds: expect.closeTo(decode / 1e5 + 5 / 3, 9),
    });
    expect(benchmark.model.copyMicroseconds).toBe((4 * 1088 * 3072) / 1e5 + 5);
  });

  test('keep to their schema', () => {
    expect(mistakesOf('benchmark', JSON.parse(JSON.stringify(assembled())))).toEqual([]);
    expect(mistakesOf('benchmark', { ...assembled(), repeats: 1.5, codecs: [{}] }).length).toBeGreaterThan(2);
  });
});

const lineOf = (text: string, begin: RegExp): string => text.split('\n').find((line) => begin.test(line)) ?? `no ${begin}`;

describe('the tables', () => {
  test('count a barrier among all programs as long as a launch', () => {
    const [, lm1] = Object.entries(measured().times);
    const [codec, time] = lm1!;
    const traffic = { ...time.traffic!, encode: { ...time.traffic!.encode, barriers: 17 } };
    const benchmark = assembled({ times: { ...measured().times, [codec]: { ...time, traffic } } });
    const [plain, waiting] = benchmark.codecs.map(({ modelled: each }) => each!);
    expect(waiting).toMatchObject({ encodeLaunches: 2, encodeBarriers: 17 });
    const bytes = waiting!.encodeBytes - plain!.encodeBytes;
    expect(waiting!.encodeMicroseconds - plain!.encodeMicroseconds).toBeCloseTo(17 * 5 + bytes / 1e5);
    expect(renderBenchmark(benchmark)).toMatch(/^lm1: among its launches' programs there are 17 barriers/m);
  });

  test('say what is measured and what is modelled, and that no GPU was used', () => {
    const text = renderBenchmark(assembled());
    expect(text).toMatch(/^1088 × 3072 bf16, 3 peers; 3 codecs, all correct/);
    expect(text).toMatch(/^on A CPU, 2 cores, last-level cache 32 MiB$/m);
    expect(text).toMatch(/^Measured: medians of 9 interleaved rounds at most, one thread's CPU time/m);
    expect(text).toMatch(/^Modelled, not measured: a GPU of 100 GB\/s and 5 µs a launch/m);
    expect(text).toMatch(/no GPU was used in this run/);
    // 10 bytes an element and 4, beside 4 for a copy; a launch is a small part of 139 µs
    expect(text).toMatch(/^binary +33\.8 MB +2 +348 +2\.51 +13\.8 MB +1\/3 +140 +1\.01$/m);
    expect(text).toMatch(/^lm1 +2 +\S+ +1\.0\d +15\.\d +binary +1\.12 +\.0500 +0\.500$/m);
    expect(text).toMatch(/^lm1 +compiled +10\.0 +30\.0 +3\.00 +15\.0 +1\.50 +9\.00$/m);
    expect(text).toMatch(/^lowrank_r8 +plain torch .* –$/m);
    expect(text).toMatch(/^lowrank_r8( +–){8}$/m);
    expect(text).toMatch(/^–: no kernels; on a GPU these codecs are plain torch/m);
    expect(lineOf(text, /^aim ≤ 6/)).toMatch(/: met by binary 5\.50; not met by lm1 9\.00$/);
    for (const line of text.split('\n')) expect([line, line.length <= 130]).toEqual([line, true]);
  });

  test('name the statistics of codecs that do with other than exact ones, and what these need', () => {
    const given = { model, version: '0.1.0', demoStep: [] };
    const text = renderBenchmark({ ...assembleBenchmark(job(FLUX, 'sampled'), measured(), given), created: '' });
    expect(text.match(/^lm1, sampled +/gm)).toHaveLength(3);
    expect(text.match(/^lowrank_r8 +/gm)).toHaveLength(3);
    expect(text).toMatch(/^Statistics that are "sampled" read 128 tokens of a block\.$/m);
    expect(text).not.toContain('"previous"');
  });

  test('have the share of the step of the demo, and an aim that was missed', () => {
    const text = renderBenchmark(assembled({ steps: { binary: 0.00272, lm1: 0.0136, lowrank_r8: 0.1 }, large: null }, DEMO));
    expect(text).toMatch(/^lm1 +compiled .* 10\.0 %$/m);
    expect(text).toMatch(/over a step of 136 ms uncompressed: given,\nnot measured here\.$/m);
    expect(lineOf(text, /^aim ≤ 1:/)).toMatch(/: not met by binary 2\.00, lm1 10\.0$/);
    expect(text).not.toContain('MiB ×');
  });

  test('have the share of the median of the steps that were measured in the same run', () => {
    const steps = { binary: 0.00272, lm1: 0.0136, lowrank_r8: 0.1 };
    const text = renderBenchmark(assembled({ steps }, DEMO, [0.9, 0.272, 0.1]));
    expect(text).toMatch(/over a step of 272 ms uncompressed: the\nmedian of 3, measured before and after the codecs\.$/m);
    expect(lineOf(text, /^aim ≤ 1:/)).toMatch(/: met by binary 1\.00; not met by lm1 5\.00$/);
  });

  test('have the GPU and its aims where one was measured', () => {
    const time = {
      path: 'triton' as const,
      graph: true,
      copySeconds: 1e-5,
      encodeSeconds: 1.6e-5,
      keepSeconds: 4e-6,
      decodeSeconds: 1.3e-5,
      traffic: null,
    };
    const text = renderBenchmark(
      assembled({
        ...{ device: 'cuda', inputSets: 30, large: null },
        machine: { cpu: 'A CPU', cores: 2, lastLevelCacheBytes: null, gpu: 'A GPU', driver: '555.1' },
        times: { binary: time, lm1: time, lowrank_r8: { ...time, path: 'torch', graph: false } },
      }),
    );
    expect(text).toMatch(/^on A GPU \(driver: 555\.1\)$/m);
    expect(text).toMatch(/^binary +Triton, graph +10\.0 +16\.0 +1\.60 +13\.0 +1\.30$/m);
    expect(text).toMatch(/^lowrank_r8 +plain torch, eager /m);
    expect(text).toMatch(/^binary: and 4\.00 µs behind the send, for the next step's statistics\.$/m);
    expect(text).toMatch(/30 input sets in turn/);
    expect(text).not.toMatch(/no GPU was used|compiled CPU kernels/);
    expect(lineOf(text, /^aim ≤ 1\.7/)).toMatch(/: met by binary 1\.60$/);
    expect(lineOf(text, /^aim ≤ 1\.2/)).toMatch(/: not met by binary 1\.30$/);
  });
});

describe('the command refuses before anything is started:', () => {
  test.each([
    [[], /found no benchmark; expected "cfx bench codecs"/],
    [['codec'], /found "codec"; expected "cfx bench codecs"/],
    [['codecs', '--codecs', 'binary,int3,identity'], /--codecs: found "int3", "identity"; expected "all" or some of "binary"/],
    [['codecs', '--demo', '--tokens', '7'], /'--demo' cannot be used with option '--tokens/],
    [['codecs', '--step-ms', '100'], /--step-ms without --demo/],
    [['codecs', '--tokens', '0'], /whole number >= 1/],
    [['codecs', '--repeats', '2'], /whole number >= 3/],
    [['codecs', '--bandwidth', '-1'], /number above 0/],
    [['codecs', '--dtype', 'fp64'], /Allowed choices are fp32, fp16, bf16/],
    [['codecs', '--statistics', 'some'], /Allowed choices are exact, sampled, previous/],
    [['codecs', '--device', 'tpu'], /Allowed choices are cpu, cuda/],
    [['codecs', '--trace', 'nowhere'], /nowhere does not exist/],
    [['codecs', '--', 'true'], /found a launch command/],
  ])('%j', async (argv, message) => {
    const { code, out, err } = await cfx(argv);
    expect({ code, out }).toEqual({ code: 64, out: '' });
    expect(err).toMatch(message);
    expect(err.trim().split('\n')).toHaveLength(1);
  });
});

/** Stands in for the interpreter: `body` is what the measuring program does. */
function interpreter(body: string): string {
  const path = join(folder, 'python');
  writeFileSync(path, `#!/bin/sh\ncase $2 in cfx_shim.proof) echo present;; *) ${body};; esac\n`);
  chmodSync(path, 0o755);
  return path;
}

const run = (body: string, ...more: string[]) => cfx(['codecs', '--python', interpreter(body), ...more]);

test('Where the gate finds something, no table is printed, and each failure is named', async () => {
  const failures = [
    'int2, 33 × 130: encode and encode_reference write different bytes',
    'lm1, 131 × 3072: step 0: states differ',
  ];
  const { code, out, err } = await run(`echo '${JSON.stringify({ failures })}'; exit 70`);
  expect({ code, out }).toEqual({ code: 99, out: '' });
  expect(err).toMatch(/CFX_CONFORMANCE: codecs are not what they should be, so nothing was measured/);
  for (const failure of failures) expect(err).toContain(failure);
});

test('What cannot be used and what goes wrong are told in words of their own', async () => {
  const unusable = await run("echo 'bench: checking' >&2; echo '--device cuda: found no GPU' >&2; exit 65", '--device', 'cuda');
  expect([unusable.code, unusable.out]).toEqual([64, '']);
  expect(unusable.err).toMatch(/^cfx: bench: checking\ncfx: CFX_USAGE: --device cuda: found no GPU\. /);
  const broken = await run("echo 'No module named torch' >&2; exit 1");
  expect([broken.code, broken.out]).toEqual([98, '']);
  expect(broken.err).toMatch(/the benchmark failed with exit code 1: No module named torch/);
});

test('Ctrl-C ends the measuring program too', async () => {
  const begun = join(folder, 'begun');
  const ended = run(`echo $$ > ${begun}; exec sleep 300`);
  while (!existsSync(begun) || !readFileSync(begun, 'utf8').includes('\n'))
    await new Promise((resolve) => setTimeout(resolve, 20));
  process.emit('SIGINT', 'SIGINT');
  expect(await ended).toMatchObject({ code: 130, out: '', err: expect.stringContaining('cfx: bench: interrupted\n') });
  const pid = Number(readFileSync(begun, 'utf8'));
  const alive = () => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  while (alive()) await new Promise((resolve) => setTimeout(resolve, 20));
});

test('Its job and its answer pass through an interpreter', async () => {
  const answer = measured({ machine: { cpu: 'it', cores: 1, lastLevelCacheBytes: null, gpu: null, driver: null } });
  writeFileSync(join(folder, 'answer.json'), JSON.stringify(answer));
  const body = `cp $3 ${join(folder, 'job.json')}; cat ${join(folder, 'answer.json')}`;
  const { code, out } = await run(body, '--codecs', 'binary,lm1,lowrank_r8', '--json', '--peers', '1', '--bandwidth', '100.5');
  expect(code).toBe(0);
  expect(mistakesOf('benchmark', JSON.parse(out))).toEqual([]);
  expect(JSON.parse(out)).toMatchObject({ machine: { cpu: 'it' }, model: { gigabytesPerSecond: 100.5, launchMicroseconds: 5 } });
  const given = JSON.parse(readFileSync(join(folder, 'job.json'), 'utf8'));
  expect(given).toMatchObject({
    ...FLUX,
    peers: 1,
    device: 'auto',
    threads: null,
    largeMib: null,
    trace: null,
    stepOfDemo: false,
  });
});

test('A real run on a small block: every codec of it is correct, ours errs less than the paper, times are above a copy', async () => {
  const python = process.env.CFX_TEST_PYTHON;
  if (!python) throw new Error('CFX_TEST_PYTHON is not set: the global set-up did not run');
  const options =
    '--codecs binary,lm1,topk --tokens 24 --channels 40 --peers 2 --repeats 3 --large-mib 0 --threads 1 --device cpu';
  const { code, out, err } = await cfx(['codecs', ...options.split(' '), '--json', '--python', python], process.env);
  expect([code, code === 0 ? '' : err]).toEqual([0, '']);
  const benchmark = JSON.parse(out) as CodecBenchmark;
  expect(mistakesOf('benchmark', benchmark)).toEqual([]);
  expect(benchmark).toMatchObject({ device: 'cpu', threads: 1, largeMebibytes: null, machine: { gpu: null } });
  const [binary, lm1, topk] = benchmark.codecs;
  for (const row of benchmark.codecs) {
    expect(row.errors.map(({ signal }) => signal)).toEqual(['Gaussian', 'heavy tails']);
    for (const time of [row.copyMicroseconds, row.encodeMicroseconds, row.decodeMicroseconds]) expect(time).toBeGreaterThan(0);
  }
  // two right implementations part by how they round, and the loop carries that on
  for (const { overPaper } of [...binary!.errors, ...topk!.errors]) expect(overPaper).toBeCloseTo(1, 1);
  for (const { overPaper } of lm1!.errors) expect(overPaper).toBeLessThan(0.9);
  // statistics 5, encode 8 and decode 6 bytes an element, and the payload
  expect(lm1!.modelled).toMatchObject({ encodeBytes: 13 * 960 + lm1!.payloadBytes, decodeBytes: 6 * 960 + lm1!.payloadBytes });
  // no statistics: encode 6 and decode 4, in one launch each
  const { encodeLaunches, encodeBytes, decodeBytes } = topk!.modelled!;
  expect([encodeLaunches, encodeBytes, decodeBytes]).toEqual([1, 6 * 960 + topk!.payloadBytes, 4 * 960 + topk!.payloadBytes]);
}, 300_000);

test('A real run beside the demo: its step is measured before and after, and both shares are of it', async () => {
  const python = process.env.CFX_TEST_PYTHON!;
  const options = '--demo --codecs binary,int2 --repeats 3 --large-mib 0 --threads 1 --device cpu';
  const { code, out, err } = await cfx(['codecs', ...options.split(' '), '--json', '--python', python], process.env);
  expect([code, code === 0 ? '' : err]).toEqual([0, '']);
  const benchmark = JSON.parse(out) as CodecBenchmark;
  expect(mistakesOf('benchmark', benchmark)).toEqual([]);
  // 27 steps of two pictures that count, in each of two launches
  expect(benchmark).toMatchObject({ shape: DEMO, demoStepsMeasured: 2 * 2 * 27 });
  expect(benchmark.demoStepMilliseconds).toBeGreaterThan(0);
  for (const { shareOfDemoStep } of benchmark.codecs) expect(shareOfDemoStep).toBeGreaterThan(0);
}, 600_000);
