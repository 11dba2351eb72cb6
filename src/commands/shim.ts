/** `cfx shim`: the run folder without a run, for inspection, containers and Slurm. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { logTo } from '../context.js';
import { detect } from '../detect.js';
import { configOptions, examine, resolveOptions, resolvePolicy } from '../preparation.js';
import type { Registration } from '../program.js';
import { composeRun, writeRunTo } from '../shim.js';

export const shimCommand = ({ context, exitWith }: Registration): Command => {
  const command = new Command('shim')
    .usage('[options] --out <dir> [-- <launch command>]')
    .description('write a run folder and print the two environment variables that attach its ranks')
    .requiredOption('--out <dir>', 'the folder to write');
  for (const option of configOptions(['policy', 'strict', 'verify', 'device', 'python', 'agreeTimeoutSeconds']))
    command.addOption(option);
  return command.action(
    exitWith(async (options: { out: string; [name: string]: unknown }) => {
      const log = logTo(context);
      const { config } = resolveOptions(options, context);
      const { plan } = resolvePolicy(config.policy);
      // without a command the interpreter is unknown: the ranks check versions themselves
      const command = context.launch ?? [];
      const examination = command.length > 0 || config.python ? await examine(command, config.python, context) : null;
      // a program that is not here may well be where the folder is taken
      const isElsewhere = Boolean(examination?.probe?.interpreter.notFound);
      const detection = isElsewhere ? detect({ command, probe: null, hasSide: false, env: context.env }) : examination?.detection;
      for (const { code, message, fix } of detection?.refusals ?? []) log(`${code}: ${message}. ${fix}`);
      const refusal = detection?.refusals[0];
      const run = composeRun({
        plan,
        sidePath: examination?.sidePath,
        device: config.device,
        strict: config.strict,
        verify: config.verify,
        agreeTimeoutSeconds: config.agreeTimeoutSeconds,
        refusal: refusal ? { code: refusal.code, reason: refusal.message } : null,
      });
      const { env } = writeRunTo(resolve(context.cwd, options.out), run, context.env.PYTHONPATH);
      for (const [name, value] of Object.entries(env)) context.out(`${name}=${value}\n`);
      return 0;
    }),
  );
};
