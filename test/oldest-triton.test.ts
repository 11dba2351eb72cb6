/** The kernels on the oldest Triton that cfx says it supports: real compilers, no GPU. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TRITON_SINCE } from '../src/adapter.js';
import { COMPLETE, cacheFolder, environmentName, removeUnfinished, withLock } from '../src/cache.js';
import { findUv, finish, installWithUv, onWait, type SetupOptions, UV_INSTALL, uvEnvironment } from '../src/setup.js';

const ROOT = join(__dirname, '..');
const LOCK = join(ROOT, 'test', 'setup', 'oldest-triton.txt');
const LIMIT_MS = 15 * 60_000;

const pythonOfTests = (): string => {
  const python = process.env.CFX_TEST_PYTHON;
  if (!python) throw new Error('CFX_TEST_PYTHON is not set: the global set-up did not run');
  return python;
};

/** A folder with that Triton alone, in cfx's cache: installed once for each lock file and Python. */
async function installed(): Promise<string> {
  const o: SetupOptions = { root: ROOT, env: process.env, log: (line) => process.stderr.write(`oldest Triton: ${line}\n`) };
  const program = 'import sys; print("%d.%d" % sys.version_info[:2])';
  const base = { path: pythonOfTests(), minor: execFileSync(pythonOfTests(), ['-c', program], { encoding: 'utf8' }).trim() };
  const cache = cacheFolder(process.env);
  const name = `oldest-triton-${environmentName(await readFile(LOCK, 'utf8'), base.minor)}`;
  const target = join(cache, name);
  await mkdir(cache, { recursive: true });
  return withLock(`${target}.lock`, onWait(o), async () => {
    if (existsSync(join(target, COMPLETE))) return target;
    await removeUnfinished(cache, name);
    const uv = await findUv(o, base);
    const building = await mkdtemp(`${target}.new-`);
    const command = [uv, ...UV_INSTALL, '--python', base.path, '--target', building, '-r', LOCK];
    await installWithUv(command, await uvEnvironment(o, base, uv), o);
    await finish(building, target, o);
    return target;
  });
}

test(
  'every kernel compiles with the oldest Triton that is supported, without contraction',
  async () => {
    const folder = await installed();
    const program = join(ROOT, 'test', 'python', 'oldest_triton.py');
    const stdout = execFileSync(pythonOfTests(), ['-W', 'ignore', program], {
      env: { ...process.env, PYTHONPATH: folder, TRITON_INTERPRET: '' },
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    const found = JSON.parse(stdout) as { triton: string; kernels: { [name: string]: string } };
    // a Python that is newer than that Triton has a newer one as its oldest
    expect(await readFile(LOCK, 'utf8')).toContain(`triton==${found.triton} `);
    expect(await readFile(LOCK, 'utf8')).toContain(`triton==${TRITON_SINCE}.`);
    expect(Object.keys(found.kernels).length).toBeGreaterThan(100);
    expect(Object.entries(found.kernels).filter(([, wrong]) => wrong !== '')).toEqual([]);
  },
  LIMIT_MS,
);

test(
  'calls are made again with the oldest Triton as with the newest',
  async () => {
    const ofTests = [
      '-c',
      'python_shim/pyproject.toml',
      '-p',
      'no:cacheprovider',
      '-q',
      'test/python/test_repeat_stub_driver.py',
    ];
    const stdout = execFileSync(pythonOfTests(), ['-m', 'pytest', ...ofTests], {
      cwd: ROOT,
      env: { ...process.env, PYTHONPATH: await installed(), TRITON_INTERPRET: '' },
      encoding: 'utf8',
    });
    expect(stdout).toMatch(/^\d+ passed in/m);
  },
  LIMIT_MS,
);
