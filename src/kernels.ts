/** The codecs' kernels for this machine's CPU, compiled once by the managed environment's numba. */
import { join } from 'node:path';
import { cacheFolder } from './cache.js';
import { SHIM_PATH } from './package.js';
import type { SetupOptions } from './setup.js';
import { runProgram } from './subprocess.js';

export const kernelsFolder = (env: SetupOptions['env']): string => join(cacheFolder(env), 'kernels');

/** Ranks load what is there and never build, so that no rank keeps the others waiting; without it they are slower. */
export async function ensureKernels(python: string, o: SetupOptions): Promise<void> {
  const command = [python, '-m', 'cfx_shim.proof', kernelsFolder(o.env)];
  const { code, stdout, tail } = await runProgram(command, o, {
    env: { PYTHONPATH: SHIM_PATH },
    onLine: (line) => line === 'building' && o.log("compiling the codecs' CPU kernels, once; this takes a minute or two"),
  });
  if (code !== 0) o.log(`no compiled CPU kernels, codecs will be slower: ${tail.at(-1) ?? `exit code ${code}`}`);
  else if (stdout.trim() === 'built') o.log("compiled the codecs' CPU kernels");
}
