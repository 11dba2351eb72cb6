/** `cfx eval` on real ranks: two pictures uncompressed and compressed, interrupted on the way. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Evaluation } from '../../src/evaluation.js';
import { mistakesOf } from '../../src/validate.js';
import { installed, LAUNCH_MS, ROOT, Scratch, until } from './fixtures/runs.js';

jest.setTimeout(2 * LAUNCH_MS);

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

const STEPS = 6;
const SAMPLES = 3;

test('An evaluation is interrupted, goes on, and compares every sample', async () => {
  writeFileSync(scratch.path('prompts.txt'), 'a large red star above a small blue circle at sunset\n');
  const judge = `${process.execPath} -e 'console.log(JSON.stringify({mean: JSON.parse(fs.readFileSync(process.argv[1])).length / 4}))' {file}`;
  const launch = [
    ...[installed('torchrun'), '--standalone', '--nproc-per-node', '2', join(ROOT, 'examples/generate.py')],
    ...['--model', join(ROOT, 'examples/models/scenes-flux'), '--samples', '{samples}', '--skip', '{start}'],
    ...['--steps', String(STEPS), '--ulysses_degree', '2'],
  ];
  const options = [
    '--device',
    'cpu',
    '--policies',
    'paper-2bit',
    '--prompts',
    'prompts.txt',
    '--seeds',
    '1,2,3',
    '--measure',
    '1',
  ];
  const evaluate = () => scratch.cfx(['eval', ...options, '--judge', judge, '--out', 'out', '--', ...launch]);
  const measures = (policy: string, sample: number, rank = 0) =>
    scratch.path('out', policy, `sample-000${sample}`, `rank-${rank}`, 'measures.json');
  const there = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined;

  const first = evaluate();
  let early: string | null = null;
  void first.ended.then(({ stderr }) => (early = stderr));
  await until('the first sample', () => early !== null || [0, 1].every((rank) => there(measures('off', 0, rank))));
  expect(early).toBeNull();
  process.kill(first.pid, 'SIGINT');
  const interrupted = await first.ended;
  expect({ code: interrupted.code, out: interrupted.stdout }).toEqual({ code: 130, out: '' });
  expect(interrupted.stderr).toMatch(/interrupted; complete samples are kept/);
  expect(there(measures('off', SAMPLES - 1))).toBe(false);
  expect(scratch.processes()).toEqual([]);
  const made = statSync(measures('off', 0)).mtimeMs;

  const { code, stdout, stderr } = await evaluate().ended;
  expect([code, stderr]).toEqual([0, expect.stringMatching(/off \(1 of 2\): goes on after \d complete samples/)]);
  expect(statSync(measures('off', 0)).mtimeMs).toBe(made);
  expect(stdout).toMatch(/^policy +PSNR dB/m);
  expect(stdout).toMatch(/^paper-2bit +\d/m);

  const evaluation = JSON.parse(readFileSync(scratch.path('out/evaluation.json'), 'utf8')) as Evaluation;
  expect(mistakesOf('evaluation', evaluation)).toEqual([]);
  const [off, compressed] = evaluation.policies;
  expect(evaluation).toMatchObject({ worldSize: 2, steps: STEPS, measuredSamples: 1 });
  expect(evaluation.prompts.map(({ seed }) => seed)).toEqual([1, 2, 3]);
  expect(off).toMatchObject({ name: 'off', identicalSamples: SAMPLES, judge: { mean: 0.75 } });
  // where sends are measured, they go through cfx's own exchange, whole and with its flags
  expect(off!.ratio).toBeCloseTo(1, 3);
  // seconds of the sample that was not measured; the plain run's loop has no error, the compressed one's starts exact
  expect(off!.seconds).toMatchObject({ samples: SAMPLES - 1, measured: false });
  expect(off!.relativeError).toEqual(Array(STEPS).fill(0));
  expect(compressed!.relativeError[0]).toBe(0);
  for (const error of compressed!.relativeError.slice(1)) expect(error).toBeGreaterThan(0.001);
  expect(compressed!.sites).toHaveLength(off!.sites.length);
  expect(compressed!.samples).toHaveLength(SAMPLES);
  for (const { metrics, distance, rawBytes, wireBytes, identical } of compressed!.samples) {
    expect(identical).toBe(false);
    expect([metrics.psnr! > 15, metrics.ssim! > 0.5, metrics.msSsim! > 0.5, metrics.latentsPsnr! > 15]).toEqual(
      Array(4).fill(true),
    );
    expect(distance).toHaveLength(STEPS);
    expect(rawBytes / wireBytes).toBeCloseTo(compressed!.ratio!, 6);
  }
  expect(compressed!.ratio).toBeGreaterThan(3);
  expect(off!.rawBytesPerSample).toBe(compressed!.rawBytesPerSample);
  expect(evaluation.changes.filter(({ layer }) => layer === null)).toHaveLength(5);
  expect(evaluation.explainedVariance).not.toBeNull();
  expect(readFileSync(scratch.path('out/index.html'), 'utf8')).toContain('paper-2bit');
  expect(readFileSync(scratch.path('out/rate-distortion.svg'), 'utf8')).toContain('paper-2bit');
});
