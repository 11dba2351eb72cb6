/** cfx's own cache folder: where it is, and how two processes that fill it at once keep out of each other's way. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

type Environment = { [name: string]: string | undefined };

export const cacheFolder = (env: Environment): string =>
  resolve(env.CFX_CACHE_DIR || join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'cfx'));

/** Environments are named by what they are made from: another lock file or Python gives another folder. */
export const environmentName = (lock: string, pythonMinor: string): string =>
  `python-${createHash('sha256').update(lock).digest('hex').slice(0, 12)}-${pythonMinor}`;

/** Written last into a folder under construction; without it a folder is not used. */
export const COMPLETE = 'cfx-complete.json';

export const pythonOf = (environment: string): string => join(environment, 'bin', 'python');

/** A finished environment for this lock, for any Python version; found without starting a process. */
export async function findComplete(cache: string, lock: string): Promise<string | null> {
  const prefix = environmentName(lock, '');
  const names = await readdir(cache).catch(() => [] as string[]);
  const finished = names
    .filter((name) => name.startsWith(prefix) && /^3\.\d+$/.test(name.slice(prefix.length)))
    .map((name) => join(cache, name))
    .filter((folder) => existsSync(join(folder, COMPLETE)) && existsSync(pythonOf(folder)));
  return finished.sort()[0] ?? null;
}

const BEAT_MS = 5_000;
/** A holder on another host shows that it is alive only by touching the lock. */
const STALE_MS = 12 * BEAT_MS;

interface Holder {
  pid: number;
  host: string;
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

async function isStale(path: string): Promise<boolean> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    const silent = Date.now() - mtimeMs > STALE_MS;
    if (text === '') return silent;
    const holder = JSON.parse(text) as Holder;
    return holder.host === hostname() ? !isAlive(holder.pid) : silent;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    return error instanceof SyntaxError;
  }
}

/**
 * Runs `work` while holding the lock file. A lock whose holder is dead is taken over. The lock only
 * saves doing the same work twice: two holders would still each build in a folder of their own.
 */
export async function withLock<T>(
  path: string,
  onWait: (holder: string) => void,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  for (let told = false; ; ) {
    signal?.throwIfAborted();
    try {
      const file = await open(path, 'wx');
      await file.writeFile(JSON.stringify({ pid: process.pid, host: hostname() } satisfies Holder));
      await file.close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (await isStale(path)) {
      // renamed first: of two processes that see the same stale lock, one fails here and looks again
      const aside = `${path}.stale-${process.pid}`;
      await rename(path, aside).then(
        () => rm(aside, { force: true }),
        () => undefined,
      );
      continue;
    }
    if (!told) onWait(await readFile(path, 'utf8').catch(() => ''));
    told = true;
    await sleep(300, undefined, { signal });
  }
  const beat = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => undefined), BEAT_MS);
  beat.unref();
  try {
    return await work();
  } finally {
    clearInterval(beat);
    await rm(path, { force: true });
  }
}

/** Removes what an interrupted set-up left; called while holding the lock of `name`. */
export async function removeUnfinished(cache: string, name: string): Promise<void> {
  for (const entry of await readdir(cache).catch(() => [] as string[])) {
    if (entry.startsWith(`${name}.new-`)) await rm(join(cache, entry), { recursive: true, force: true });
  }
}

/** Puts a finished folder in place; another process that was first keeps its own, which is the same. */
export async function putInPlace(built: string, target: string): Promise<void> {
  if (existsSync(target) && !existsSync(join(target, COMPLETE))) await rm(target, { recursive: true, force: true });
  try {
    await rename(built, target);
  } catch (error) {
    if (!existsSync(join(target, COMPLETE))) throw error;
    await rm(built, { recursive: true, force: true });
  }
}
