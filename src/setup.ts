/**
 * The managed Python environment and the side folder: the only things that cfx installs, both in its
 * own cache folder. The user's own Python environments are read, never written to.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  COMPLETE,
  cacheFolder,
  environmentName,
  findComplete,
  putInPlace,
  pythonOf,
  removeUnfinished,
  withLock,
} from './cache.js';
import { CfxError } from './errors.js';
import { readPipConfig, translatePipSettings } from './indexes.js';
import { failure, runProgram } from './subprocess.js';

export interface SetupOptions {
  /** The package's root: `python_shim/requirements.lock` is under it. */
  root: string;
  env: { [name: string]: string | undefined };
  /** Progress, one line at a time. */
  log: (line: string) => void;
  /** The Python to build on; null: the first fitting one on PATH. */
  python?: string | null;
  signal?: AbortSignal;
}

export interface ManagedEnvironment {
  path: string;
  python: string;
  /** False: it was there already. */
  created: boolean;
}

const UV_VERSION = '0.13.9';
/** uv before this does not know all the options used here. */
const UV_SINCE = [0, 5] as const;
const PYTHON_CANDIDATES = ['python3.11', 'python3.12', 'python3.13', 'python3.14', 'python3', 'python'];
const PYTHON_SINCE = 11;

interface BasePython {
  path: string;
  minor: string;
}

const BASE_PROGRAM = 'import sys; print(sys.executable); print("%d.%d" % sys.version_info[:2])';

export async function findBasePython(o: SetupOptions): Promise<BasePython> {
  const seen: string[] = [];
  for (const candidate of o.python ? [o.python] : PYTHON_CANDIDATES) {
    const { code, stdout } = await runProgram([candidate, '-c', BASE_PROGRAM], o);
    const [path, minor] = stdout.trim().split('\n');
    if (code !== 0 || !path || !minor) continue;
    if (minor.startsWith('3.') && Number(minor.slice(2)) >= PYTHON_SINCE) return { path, minor };
    seen.push(`${candidate} is ${minor}`);
  }
  throw new CfxError(
    'CFX_PYTHON',
    `no Python 3.${PYTHON_SINCE} or newer found (${seen.join(', ') || `tried ${o.python ?? PYTHON_CANDIDATES.join(', ')}`})`,
    { fix: `Install Python 3.${PYTHON_SINCE} or newer and put it on PATH, or name it: cfx setup --python PATH.` },
  );
}

/** uv from PATH if it is new enough, otherwise a pinned one from a small environment of our own. */
export async function findUv(o: SetupOptions, base: BasePython): Promise<string> {
  const { stdout } = await runProgram(['uv', '--version'], o);
  const version = /^uv (\d+)\.(\d+)/.exec(stdout);
  if (version && (Number(version[1]) > UV_SINCE[0] || Number(version[2]) >= UV_SINCE[1])) return 'uv';

  const cache = cacheFolder(o.env);
  const name = `bootstrap-uv-${UV_VERSION}-${base.minor}`;
  const target = join(cache, name);
  const uv = join(target, 'lib', 'bin', 'uv');
  if (existsSync(join(target, COMPLETE)) && existsSync(uv)) return uv;
  o.log(`installing uv ${UV_VERSION}, which installs the rest`);
  const building = await mkdtemp(join(cache, `${name}.new-`));
  // a folder, not an environment, at the end: it survives being renamed
  const install = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--no-input',
    '--only-binary',
    ':all:',
    '--target',
    join(building, 'lib'),
    `uv==${UV_VERSION}`,
  ];
  const venv = await runProgram([base.path, '-m', 'venv', join(building, 'pip')], o);
  const withPip = venv.code === 0 ? join(building, 'pip', 'bin', 'python') : base.path;
  const installed = await runProgram([withPip, ...install], o);
  if (installed.code !== 0) {
    await rm(building, { recursive: true, force: true });
    if (venv.code === 0 || !/No module named pip/.test(installed.tail.join('\n')))
      throw failure('installing uv with pip', installed);
    throw new CfxError('CFX_SETUP', `${base.path} can make no environments (no ensurepip) and has no pip`, {
      fix: `Install them (on Debian and Ubuntu: apt install python${base.minor}-venv), or install uv, and repeat.`,
    });
  }
  await rm(join(building, 'pip'), { recursive: true, force: true });
  await finish(building, target, o);
  return uv;
}

export async function finish(building: string, target: string, o: SetupOptions): Promise<void> {
  await writeFile(join(building, COMPLETE), `${JSON.stringify({ node: process.version, root: o.root })}\n`);
  await putInPlace(building, target);
}

export async function uvEnvironment(o: SetupOptions, base: BasePython, uv: string): Promise<{ [name: string]: string }> {
  const listing = await runProgram([base.path, '-m', 'pip', 'config', 'list'], o);
  const translated = translatePipSettings(o.env, listing.code === 0 ? readPipConfig(listing.stdout) : {}, existsSync);
  // our own uv keeps its cache beside the environment, where hard links work
  return uv === 'uv' || o.env.UV_CACHE_DIR ? translated : { ...translated, UV_CACHE_DIR: join(cacheFolder(o.env), 'uv') };
}

const listed = (names: string[]) => names.slice(0, 6).join(', ') + (names.length > 6 ? ` and ${names.length - 6} more` : '');

export async function installWithUv(command: string[], env: object, o: SetupOptions): Promise<void> {
  const began = performance.now();
  const seconds = () => `${Math.round((performance.now() - began) / 1000)} s`;
  const downloading = new Set<string>();
  const beat = setInterval(
    () => o.log(`… ${seconds()}${downloading.size ? `, downloading ${listed([...downloading])}` : ''}`),
    5_000,
  );
  try {
    const outcome = await runProgram(command, o, {
      env,
      onLine: (line) => {
        const download = /^\s*(Downloading|Downloaded)\s+(\S+)/.exec(line);
        if (download?.[1] === 'Downloaded') downloading.delete(download[2]!);
        else if (download) downloading.add(download[2]!);
        if (/^\s*(Downloading|Resolved|Prepared|Installed|warning|error)/i.test(line)) o.log(line.trim());
      },
    });
    if (outcome.code !== 0) throw failure('installing with uv', outcome);
    o.log(`installed in ${seconds()}`);
  } finally {
    clearInterval(beat);
  }
}

export const UV_INSTALL = [
  'pip',
  'install',
  '--require-hashes',
  '--no-deps',
  '--only-binary',
  ':all:',
  '--index-strategy',
  'unsafe-best-match',
];

export const lockPath = (o: SetupOptions) => join(o.root, 'python_shim', 'requirements.lock');

export const onWait = (o: SetupOptions) => (holder: string) => o.log(`waiting for another set-up to finish ${holder}`);

/** The managed environment, built if it is not there. */
export async function ensureEnvironment(o: SetupOptions): Promise<ManagedEnvironment> {
  const cache = cacheFolder(o.env);
  const lock = await readFile(lockPath(o), 'utf8');
  const present = o.python ? null : await findComplete(cache, lock);
  if (present) return { path: present, python: pythonOf(present), created: false };

  const base = await findBasePython(o);
  const name = environmentName(lock, base.minor);
  const target = join(cache, name);
  const complete = () => existsSync(join(target, COMPLETE)) && existsSync(pythonOf(target));
  const result = (created: boolean) => ({ path: target, python: pythonOf(target), created });
  if (complete()) return result(false);
  return withLock(
    `${target}.lock`,
    onWait(o),
    async () => {
      if (complete()) return result(false);
      await removeUnfinished(cache, name);
      o.log(`making the Python environment ${target} (Python ${base.minor}, about 5 GB on disk; once only)`);
      const uv = await findUv(o, base);
      const env = await uvEnvironment(o, base, uv);
      const building = await mkdtemp(join(cache, `${name}.new-`));
      // relocatable: its scripts must still work after the folder is renamed
      const venv = await runProgram(
        [uv, 'venv', '--quiet', '--no-project', '--allow-existing', '--relocatable', '--python', base.path, building],
        o,
        { env },
      );
      if (venv.code !== 0) throw failure('making the environment', venv);
      await installWithUv([uv, ...UV_INSTALL, '--python', pythonOf(building), '-r', lockPath(o)], env, o);
      await finish(building, target, o);
      return result(true);
    },
    o.signal,
  );
}
