/** The side folder: pyzmq and msgpack for an interpreter that lacks them, outside its own environment. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { COMPLETE, cacheFolder, removeUnfinished, withLock } from './cache.js';
import {
  findBasePython,
  findUv,
  finish,
  installWithUv,
  lockPath,
  onWait,
  type SetupOptions,
  UV_INSTALL,
  uvEnvironment,
} from './setup.js';

const SIDE_DISTRIBUTIONS = ['pyzmq', 'msgpack'];

/** The lock file's entries for some distributions only, hashes included. */
export const selectLocked = (lock: string, distributions: string[]): string =>
  `${lock
    .split(/\n(?=\S)/)
    .filter((entry) => distributions.includes(entry.split('==')[0]!))
    .join('\n')}\n`;

/** Where pyzmq and msgpack for one kind of interpreter go; `abi` is `Machine.abi`. */
export const sideFolder = (env: SetupOptions['env'], abi: string): string => join(cacheFolder(env), 'side', abi);

/** Installs pyzmq and msgpack for the given interpreter into cfx's own side folder. */
export async function ensureSide(o: SetupOptions & { python: string }, abi: string): Promise<{ path: string; created: boolean }> {
  const target = sideFolder(o.env, abi);
  if (existsSync(join(target, COMPLETE))) return { path: target, created: false };
  return withLock(
    `${target}.lock`,
    onWait(o),
    async () => {
      if (existsSync(join(target, COMPLETE))) return { path: target, created: false };
      await removeUnfinished(join(cacheFolder(o.env), 'side'), abi);
      const base = await findBasePython({ ...o, python: null });
      const uv = await findUv(o, base);
      const building = await mkdtemp(`${target}.new-`);
      const wanted = join(building, 'requirements.txt');
      await writeFile(wanted, selectLocked(await readFile(lockPath(o), 'utf8'), SIDE_DISTRIBUTIONS));
      o.log(`installing ${SIDE_DISTRIBUTIONS.join(' and ')} for ${o.python} into ${target}`);
      await installWithUv(
        [uv, ...UV_INSTALL, '--python', o.python, '--target', building, '-r', wanted],
        await uvEnvironment(o, base, uv),
        o,
      );
      await finish(building, target, o);
      return { path: target, created: true };
    },
    o.signal,
  );
}
