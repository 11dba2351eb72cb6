/** `cfx doctor`: what is there, what would be patched, what stands in the way and how to mend it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { cacheFolder, findComplete, pythonOf } from '../cache.js';
import { type Diagnosis, plannedPatches, renderDiagnosis } from '../doctor.js';
import { ERRORS } from '../errors.js';
import { SHIM_PATH, VERSION } from '../package.js';
import { configOptions, examine, resolveOptions } from '../preparation.js';
import type { Registration } from '../program.js';

export const doctorCommand = ({ context, exitWith }: Registration): Command => {
  const command = new Command('doctor')
    .usage('[options] [-- <launch command>]')
    .description('examine the interpreter behind a launch command: versions, patches, problems and fixes')
    .option('--json', 'print the diagnosis as JSON');
  for (const option of configOptions(['python'])) command.addOption(option);
  return command.action(
    exitWith(async (options: { json?: boolean; [name: string]: unknown }) => {
      const { config } = resolveOptions({ ...options, json: undefined }, context);
      const launch = context.launch ?? [];
      const { probe, probeProblem, detection, sidePath } = await examine(
        launch.length > 0 ? launch : ['python3'],
        config.python,
        context,
      );
      const managed = await findComplete(cacheFolder(context.env), await readFile(join(SHIM_PATH, 'requirements.lock'), 'utf8'));
      const diagnosis: Diagnosis = {
        cfx: VERSION,
        node: process.version,
        platform: `${process.platform} ${process.arch}`,
        command: launch,
        probe,
        probeProblem: probeProblem?.message ?? null,
        detection,
        sidePath,
        managedPython: managed && pythonOf(managed),
        patches: plannedPatches(probe),
      };
      context.out(options.json ? `${JSON.stringify(diagnosis, null, 2)}\n` : renderDiagnosis(diagnosis));
      const first = detection.refusals[0];
      return probeProblem?.exitCode ?? (first ? ERRORS[first.code].exit : 0);
    }),
  );
};
