/** `cfx record` on real ranks, and `cfx eval --trace` on what it kept. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TraceEvaluation } from '../../src/tracing.js';
import { installed, LAUNCH_MS, ROOT, Scratch } from './fixtures/runs.js';

jest.setTimeout(LAUNCH_MS);

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

const STEPS = 3;
/** 256 pixels: 1,024 image tokens and 32 of text, on 2 ranks of a ring; every fourth one is kept. */
const TOKENS = Math.ceil((1024 + 32) / 2 / 4);
const CHANNELS = 256;

test('What ranks send is kept, and policies are evaluated on it without the model', async () => {
  writeFileSync(scratch.path('samples.jsonl'), '{"prompt": "a small white moon at the top at night", "seed": 1}\n');
  const launch = [
    ...[installed('torchrun'), '--standalone', '--nproc-per-node', '2', join(ROOT, 'examples/generate.py')],
    ...['--model', join(ROOT, 'examples/models/scenes-flux'), '--samples', 'samples.jsonl'],
    ...['--steps', String(STEPS), '--ring_degree', '2'],
  ];
  const options = ['--device', 'cpu', '--out', 'trace', '--layers', '1-2', '--roles', 'k,v,o', '--token-stride', '4'];
  const recorded = await scratch.cfx(['record', ...options, '--', ...launch]).ended;
  expect([recorded.code, recorded.stderr]).toEqual([0, expect.stringContaining('recorded 1 sample of 3 steps on 2 ranks')]);
  expect(readdirSync(scratch.path('trace/sample-0000')).sort()).toEqual(['rank-0', 'rank-1']);

  const again = await scratch.cfx(['record', ...options, '--', ...launch]).ended;
  expect([again.code, again.stderr]).toEqual([64, expect.stringContaining('is not empty')]);

  const wrong = await scratch.cfx(['eval', '--trace', '.', '--policies', 'paper-1bit']).ended;
  expect([wrong.code, wrong.stderr]).toEqual([64, expect.stringMatching(/CFX_USAGE: .* holds no trace; expected a folder/)]);

  const evaluated = await scratch.cfx(['eval', '--trace', 'trace', '--policies', 'paper-1bit,int8', '--out', 'out']).ended;
  expect([evaluated.code, evaluated.stdout]).toEqual([0, expect.stringMatching(/^paper-1bit +0\.\d{4}/m)]);
  const evaluation = JSON.parse(readFileSync(scratch.path('out/trace.json'), 'utf8')) as TraceEvaluation;
  // a ring has no o; two ranks, two layers
  expect(evaluation).toMatchObject({ steps: STEPS, sites: 8, signal: [{ role: 'k' }, { role: 'v' }] });
  const [paper, int8] = evaluation.policies;
  expect(paper!.rawBytes).toBe(8 * STEPS * TOKENS * CHANNELS * 4);
  expect(paper!.relativeErrorPerStep[0]).toBe(0);
  expect(paper!.relativeError).toBeGreaterThan(int8!.relativeError);
  expect(int8!.relativeError).toBeGreaterThan(0);
  expect(readFileSync(scratch.path('out/trace.html'), 'utf8')).toContain('<svg');
});
