/** `cfx setup`: the managed Python environment, or with --side pyzmq and msgpack for another interpreter. */
import { Command } from 'commander';
import { logTo } from '../context.js';
import { ensureKernels } from '../kernels.js';
import { PACKAGE_ROOT } from '../package.js';
import { probe } from '../probe.js';
import type { Registration } from '../program.js';
import { ensureEnvironment } from '../setup.js';
import { ensureSide } from '../side.js';

interface Options {
  printPython?: boolean;
  side?: boolean;
  python?: string;
}

export const setupCommand = ({ context, exitWith }: Registration): Command =>
  new Command('setup')
    .description('make or find the managed Python environment (torch, xfuser, diffusers) in the cache folder')
    .option('--print-python', 'print nothing but the path of its interpreter on stdout')
    .option('--side', "only put pyzmq and msgpack, for your own interpreter, into a folder of cfx's own")
    .option('--python <path>', 'the Python to build on, or with --side the Python to serve')
    .action(
      exitWith(async ({ printPython, side, python }: Options) => {
        const log = logTo(context);
        const options = { root: PACKAGE_ROOT, env: context.env, log: (line: string) => log(`setup: ${line}`), python };
        if (side) {
          const { machine } = await probe([python ?? 'python3'], { env: context.env, cwd: context.cwd, python });
          const { path, created } = await ensureSide({ ...options, python: machine.python }, machine.abi);
          log(`setup: pyzmq and msgpack for ${machine.python} ${created ? 'are now' : 'were already'} in ${path}`);
          if (printPython) context.out(`${machine.python}\n`);
          return 0;
        }
        const environment = await ensureEnvironment(options);
        await ensureKernels(environment.python, options);
        if (printPython) context.out(`${environment.python}\n`);
        else log(`setup: ${environment.created ? 'ready' : 'ready already'}: ${environment.python}`);
        return 0;
      }),
    );
