/** One short real generation of each example model that the other tests leave out, compressed; its PSNR is reported. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Evaluation } from '../../src/evaluation.js';
import { installed, LAUNCH_MS, ROOT, Scratch } from './fixtures/runs.js';

jest.setTimeout(2 * LAUNCH_MS);

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

test.each([
  // CFG in a doubled batch, cross-attention
  { model: 'shapes-pixart', prompt: 'a large red star on the left at sunset', branches: 1 },
  // CFG as two forwards, a clip
  { model: 'shapes-wan', prompt: 'a red circle moving left on sand', branches: 2 },
])('$model under cfx-2bit', async ({ model, prompt, branches }) => {
  const steps = 6;
  writeFileSync(scratch.path('prompts.txt'), `${prompt}\n`);
  const launch = [
    ...[installed('torchrun'), '--standalone', '--nproc-per-node', '2', join(ROOT, 'examples/generate.py')],
    ...['--model', join(ROOT, 'examples/models', model), '--samples', '{samples}', '--skip', '{start}'],
    ...['--steps', String(steps), '--ulysses_degree', '2'],
  ];
  const options = ['--device', 'cpu', '--policies', 'cfx-2bit', '--prompts', 'prompts.txt', '--measure', '1', '--out', 'out'];
  const { code, stderr } = await scratch.cfx(['eval', ...options, '--verify', '--', ...launch]).ended;
  expect([code, stderr]).toEqual([0, expect.stringContaining('index.html')]);
  const { policies } = JSON.parse(readFileSync(scratch.path('out/evaluation.json'), 'utf8')) as Evaluation;
  const { metrics, ratio, sites, relativeError } = policies[1]!;
  process.stdout.write(
    `${model}, ${steps} steps, cfx-2bit: PSNR ${metrics.psnr!.mean.toFixed(1)} dB, ratio ${ratio!.toFixed(2)}\n`,
  );
  expect(new Set(sites.map(({ branch }) => branch)).size).toBe(branches);
  expect(ratio).toBeGreaterThan(4);
  // compressed, and still the same picture: a run that lost its bases is far below
  expect(Math.max(...relativeError.map(Number))).toBeGreaterThan(0);
  expect(Math.max(...relativeError.map(Number))).toBeLessThan(0.3);
  expect(metrics.psnr!.mean).toBeGreaterThan(20);
});
