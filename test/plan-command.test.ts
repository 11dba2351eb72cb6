import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compilePlan } from '../src/plan.js';
import { predict } from '../src/predict.js';
import { runProgram } from '../src/program.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cfx-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function cfx(...argv: string[]) {
  const result = { code: 0, out: '', err: '' };
  const io = { out: (text: string) => void (result.out += text), err: (text: string) => void (result.err += text) };
  result.code = await runProgram(argv, { env: {}, cwd: folder, home: folder, ...io });
  return result;
}

const TINY = ['--tokens', '1056', '--channels', '256', '--heads', '4', '--layers', '5', '--steps', '28', '--dtype', 'fp32'];

test('With --json stdout is one JSON document: the plan that attach uses and its prediction', async () => {
  const { code, out, err } = await cfx('plan', '--json', '--policy', 'paper-1bit', ...TINY, '--ulysses', '2');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  const { plan, shapes, prediction } = JSON.parse(out);
  expect(plan).toEqual(compilePlan({ name: 'paper-1bit', preset: 'paper-1bit' }));
  expect(prediction).toEqual(JSON.parse(JSON.stringify(predict(plan, shapes))));
  expect(prediction.perRank.rawBytes).toBe(151_388_160);
});

test.each([
  [['--ulysses', '1', '--ring', '2'], '151,388,160'],
  [['--ulysses', '1', '--ring', '4'], '227,082,240'],
  [['--ulysses', '2', '--ring', '2'], '151,388,160'],
])('The text for %j names %s raw bytes', async (degrees, raw) => {
  const { code, out } = await cfx('plan', ...TINY, ...degrees);
  expect(code).toBe(0);
  expect(out).toContain(`total: ${raw} raw`);
  expect(out).toContain('int2');
});

test('A policy file is read relative to the working directory and its cells are listed in order', async () => {
  writeFileSync(join(folder, 'mine.policy.yaml'), 'preset: paper-2bit\nrules:\n  - layers: 0-1\n    codec: "off"\n');
  const { code, out, err } = await cfx('plan', '--policy', join(folder, 'mine.policy.yaml'));
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toMatch(/0\. all steps, layers 0-1, q k v o, all collectives: off/);
  expect(out).toMatch(/1\. all steps, all layers, q k v o, all collectives: int2 of the residual/);
});

test('Statistics that are not exact are named', async () => {
  writeFileSync(join(folder, 'one.policy.yaml'), 'preset: cfx-2bit\nstatistics: previous\n');
  const { out } = await cfx('plan', '--policy', join(folder, 'one.policy.yaml'));
  expect(out).toContain('tcq2 of the predicted residual, keyframes in int8, statistics of the step before');
});

test('The memory that bases in 8 bits save is shown', async () => {
  writeFileSync(join(folder, 'eight.policy.yaml'), 'preset: paper-2bit\nbaseDtype: int8\n');
  const native = await cfx('plan', ...TINY, '--ulysses', '2', '--dtype', 'bf16');
  expect(native.out).toMatch(/bases: 5,406,720 bytes of memory$/m);
  const { out } = await cfx('plan', ...TINY, '--ulysses', '2', '--dtype', 'bf16', '--policy', join(folder, 'eight.policy.yaml'));
  expect(out).toMatch(/bases: 2,787,840 bytes of memory, 2,618,880 less than in bf16$/m);
  expect(out).toContain('int2 of the residual, bases in int8');
});

test('Shapes that cannot be split and numbers that are none are refused with the usage code', async () => {
  expect(await cfx('plan', ...TINY, '--ulysses', '3')).toMatchObject({
    code: 64,
    out: '',
    err: expect.stringMatching(/^cfx: CFX_USAGE: .*heads 4.*multiple of 3/),
  });
  expect(await cfx('plan', '--tokens', '-5')).toMatchObject({ code: 64, err: expect.stringContaining('positive integer') });
});

test('An unknown preset is refused with the names that exist', async () => {
  expect(await cfx('plan', '--policy', 'paper-1bits')).toMatchObject({
    code: 78,
    err: expect.stringMatching(/CFX_CONFIG.*paper-1bit/s),
  });
});
