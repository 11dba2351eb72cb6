import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PATCHES } from '../src/patches.js';
import { compilePlan } from '../src/plan.js';
import { runProgram } from '../src/program.js';
import { composeRun, writeRunTo } from '../src/shim.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cfx-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const python = () => {
  if (!process.env.CFX_TEST_PYTHON) throw new Error('CFX_TEST_PYTHON is not set: the global set-up did not run');
  return process.env.CFX_TEST_PYTHON;
};

async function doctor(argv: string[], env: { [name: string]: string | undefined } = process.env) {
  const result = { code: 0, out: '', err: '' };
  const io = { out: (text: string) => void (result.out += text), err: (text: string) => void (result.err += text) };
  result.code = await runProgram(['doctor', ...argv], { env, cwd: folder, home: folder, ...io });
  return result;
}

test('A supported launch is healthy: versions, patches, no problems, exit code 0', async () => {
  const { code, out } = await doctor(['--', join(dirname(python()), 'torchrun'), 'x.py', '--ulysses_degree', '2']);
  expect(code).toBe(0);
  expect(out).toMatch(/xfuser +0\.7\.0 \(expected >=0\.7,<0\.8\)/);
  expect(out).toContain(PATCHES.xdit[0]);
  expect(out).toMatch(/problems\n {2}none found/);
});

test('Problems come with their fix, and the exit code of the first', async () => {
  const { code, out } = await doctor(['--', python(), '-I', 'x.py', '--use_fp8_comms'], {
    ...process.env,
    NCCL_P2P_DISABLE: '1',
  });
  expect(code).toBe(96);
  expect(out).toMatch(/CFX_FP8_COMMS: .*--use_fp8_comms[\s\S]*Fix: Drop --use_fp8_comms/);
  expect(out).toMatch(/CFX_ISOLATED_PYTHON: .*-I/);
  expect(out).toMatch(/note: NCCL_P2P_DISABLE=1/);
});

test('With --json stdout is one JSON document', async () => {
  const { out } = await doctor(['--json', '--', python(), '-S', 'x.py']);
  const diagnosis = JSON.parse(out);
  expect(diagnosis).toMatchObject({ command: [python(), '-S', 'x.py'], probe: { machine: { missing: ['pyzmq', 'msgpack'] } } });
  expect(diagnosis.detection.refusals.map(({ code }: { code: string }) => code)).toContain('CFX_PY_MISSING');
});

test('An interpreter that is not there is a problem of its own', async () => {
  expect(await doctor(['--', join(folder, 'python'), 'x.py'])).toMatchObject({
    code: 69,
    out: expect.stringContaining('is not there'),
  });
});

test('The symbols listed are those that the shim replaces', () => {
  const run = composeRun({ plan: compilePlan({ preset: 'identity' }), device: 'cpu' });
  const { env } = writeRunTo(join(folder, 'run'), run);
  const program = `
import gc, json
import xfuser.model_executor.layers.usp
import torch.distributed.tensor.experimental._context_parallel._attention
from cfx_shim.patching import Patches
print(json.dumps(sorted(name for patches in gc.get_objects() if isinstance(patches, Patches) for name in patches.names)))
`;
  const stdout = execFileSync(python(), ['-c', program], {
    env: { ...process.env, ...env },
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const replaced = JSON.parse(stdout.trim().split('\n').at(-1)!) as string[];
  const ofTheFramework = replaced.filter((name) => /^xfuser\.|_context_parallel/.test(name));
  expect(ofTheFramework).toEqual([...PATCHES.xdit].sort());
}, 120_000);
