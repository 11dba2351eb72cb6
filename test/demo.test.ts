import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { COMPLETE, environmentName, pythonOf } from '../src/cache.js';
import { demoFiles, demoLaunch, renderDemo } from '../src/demo.js';
import { PACKAGE_ROOT } from '../src/package.js';
import { runProgram } from '../src/program.js';
import type { Summary } from '../src/summary.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cfx-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const python = () => {
  if (!process.env.CFX_TEST_PYTHON) throw new Error('CFX_TEST_PYTHON is not set: the global set-up did not run');
  return process.env.CFX_TEST_PYTHON;
};
const options = { policy: 'paper-2bit', ulysses: 2, ring: 2, steps: 4, seed: 3, prompt: 'a red star' };

async function demo(env: { [name: string]: string }, ...argv: string[]) {
  const result = { code: 0, out: '', err: '' };
  const io = { out: (text: string) => void (result.out += text), err: (text: string) => void (result.err += text) };
  result.code = await runProgram(['demo', '--out', folder, ...argv], {
    env: { ...process.env, ...env },
    cwd: folder,
    home: folder,
    ...io,
  });
  return result;
}

test('The launch is one that a user would write: nothing of cfx is in it', () => {
  const launch = demoLaunch('/venv/bin/python', '/package', options, demoFiles('/out', 'plain'));
  expect(launch.slice(0, 6)).toEqual([
    '/venv/bin/python',
    '-m',
    'torch.distributed.run',
    '--standalone',
    '--nproc-per-node',
    '4',
  ]);
  expect(launch.join(' ')).not.toMatch(/cfx/);
});

test('The model script names nothing of cfx', async () => {
  expect(await readFile(join(PACKAGE_ROOT, 'examples/flux_pipeline.py'), 'utf8')).not.toMatch(/cfx|compact/i);
});

test('The result shows bytes before and after, times and PSNR', () => {
  const leg = (rawBytes: number, wireBytes: number) => ({
    summary: { totals: { rawBytes, wireBytes, ratio: rawBytes / wireBytes } } as Summary,
    seconds: 2,
  });
  const text = renderDemo({
    options,
    plain: leg(100e6, 100e6),
    compressed: leg(100e6, 8e6),
    psnr: 41.26,
    sheet: '/out/both.png',
  });
  for (const part of ['100.00 MB', '8.00 MB', '12.50', '2.00 s', '41.3 dB', '/out/both.png', 'Ulysses 2 × ring 2'])
    expect(text).toContain(part);
});

test('Equal pictures have no PSNR', () => {
  const picture = join(folder, 'p.png');
  execFileSync(python(), ['-c', `from PIL import Image; Image.new("RGB", (8, 8), "red").save(${JSON.stringify(picture)})`]);
  const stdout = execFileSync(python(), [
    join(PACKAGE_ROOT, 'examples/side_by_side.py'),
    '--out',
    join(folder, 'both.png'),
    picture,
    'one',
    picture,
    'other',
  ]);
  expect(JSON.parse(stdout.toString())).toEqual({ psnr: [null] });
});

test('The whole demonstration: two runs under xDiT, fewer bytes, nearly the same picture', async () => {
  const { code, out, err } = await demo(
    // the environment that the tests run in, found again without a set-up
    { CFX_CACHE_DIR: dirname(dirname(dirname(python()))) },
    '--steps',
    '4',
    '--policy',
    'paper-2bit',
  );
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
  const report = async (name: string): Promise<Summary> => JSON.parse(await readFile(demoFiles(folder, name).report, 'utf8'));
  const [plain, compressed] = [await report('uncompressed'), await report('compressed')];
  // q, k, v, o of 5 attention calls, 4 steps, 2 ranks: half of 1056 tokens times half of 256 channels, in 32 bits
  const raw = 4 * 5 * 4 * 2 * 528 * 128 * 4;
  expect(plain.totals).toMatchObject({ rawBytes: raw, wireBytes: raw });
  expect(compressed.totals.rawBytes).toBe(raw);
  expect(compressed.totals.wireBytes).toBeLessThan(raw / 2);
  const psnr = Number(/([\d.]+) dB/.exec(out)?.[1]);
  expect(psnr).toBeGreaterThan(20);
  expect((await stat(join(folder, 'side-by-side.png'))).size).toBeGreaterThan(10_000);
  expect(out).toContain(join(folder, 'side-by-side.png'));
}, 600_000);

test('A launch that fails shows the end of its output', async () => {
  const lock = await readFile(join(PACKAGE_ROOT, 'python_shim/requirements.lock'), 'utf8');
  const environment = join(folder, 'cache', environmentName(lock, '3.11'));
  await mkdir(join(environment, 'bin'), { recursive: true });
  await writeFile(pythonOf(environment), '#!/bin/sh\necho "out of memory"\nexit 3\n', { mode: 0o755 });
  await writeFile(join(environment, COMPLETE), '{}');
  const { code, out, err } = await demo({ CFX_CACHE_DIR: join(folder, 'cache') });
  expect({ code, out }).toEqual({ code: 98, out: '' });
  expect(err).toMatch(/CFX_SETUP: the launch ended with exit code 3; .*\n.*out of memory/);
  expect(err).toContain(join(folder, 'uncompressed.log'));
});
