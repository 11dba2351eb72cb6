/** `cfx record`: runs a launch uncompressed and keeps the exact tensors of its exchanges, for `cfx eval --trace`. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { ROLES, type Role } from '../adapter.js';
import { attach } from '../attach.js';
import type { ConfigKey } from '../config.js';
import { type Context, logTo } from '../context.js';
import { CfxError } from '../errors.js';
import { countComplete, readMeasures } from '../evalfolder.js';
import type { Recording } from '../observe.js';
import type { Range } from '../plan.js';
import { configOptions, examine, requireLaunch, resolveOptions } from '../preparation.js';
import type { Registration } from '../program.js';
import { parseRange, RANGE_FORMS } from '../range.js';

const KEYS: ConfigKey[] = ['device', 'python', 'agreeTimeoutSeconds', 'helloTimeoutSeconds'];

const range = (text: string): Range => {
  const found = parseRange(text);
  if (found) return found;
  throw new InvalidArgumentError(`Expected ${RANGE_FORMS}.`);
};

const roles = (text: string): Role[] => {
  const found = text.split(',').map((role) => role.trim());
  const unknown = found.find((role) => !ROLES.some((known) => known === role));
  if (unknown === undefined) return ROLES.filter((role) => found.includes(role));
  throw new InvalidArgumentError(`Found "${unknown}"; expected some of ${ROLES.join(',')}.`);
};

const stride = (text: string): number => {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a positive integer.');
};

interface Options extends Recording {
  out: string;
  [name: string]: unknown;
}

export const recordCommand = ({ context, exitWith }: Registration): Command => {
  const command = new Command('record')
    .usage('--out <dir> [options] -- <launch command>')
    .description('run a launch command uncompressed and keep what its ranks send, for "cfx eval --trace"')
    .requiredOption('--out <dir>', 'an empty or new folder for the trace')
    .option('--roles <list>', 'tensors to keep, some of q,k,v,o', roles, [...ROLES])
    .option('--layers <range>', 'attention calls to keep, such as 3 or "0-9"', range, [0, null])
    .option('--steps <range>', 'denoising steps to keep', range, [0, null])
    .option('--token-stride <n>', 'keep every n-th token only', stride, 1);
  for (const option of configOptions(KEYS)) command.addOption(option);
  return command.action(exitWith((options: Options) => runRecord(options, context)));
};

async function runRecord(options: Options, context: Context): Promise<number> {
  const log = logTo(context);
  const command = requireLaunch(context, 'record');
  const folder = resolve(context.cwd, options.out);
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new CfxError('CFX_USAGE', `${folder} is not empty`, { fix: 'Name a new folder with --out.' });
  const { config } = resolveOptions(options, context);
  const { detection, sidePath } = await examine(command, config.python, context);
  const [refusal] = detection.refusals;
  mkdirSync(folder, { recursive: true });
  const handle = await attach({
    command,
    policy: 'identity',
    strict: true, // a trace of a run that cfx could not see would be empty
    device: config.device,
    refusal: refusal ? { code: refusal.code, reason: refusal.message, fix: refusal.fix } : null,
    sidePath,
    agreeTimeoutSeconds: config.agreeTimeoutSeconds,
    helloTimeoutSeconds: config.helloTimeoutSeconds,
    observe: {
      folder,
      firstSample: 0,
      outputs: true,
      measureSamples: 0,
      record: { roles: options.roles, layers: options.layers, steps: options.steps, tokenStride: options.tokenStride },
    },
    env: context.env,
    cwd: context.cwd,
    log,
  });
  await handle.done;
  const samples = countComplete(folder);
  if (handle.exitCode !== 0) {
    log(`the launch ended with exit code ${handle.exitCode}; ${samples} complete samples are in ${folder}`);
    return handle.exitCode ?? 1;
  }
  if (samples === 0) {
    throw new CfxError('CFX_EVALUATION', 'the script made no sample: no pipeline was called to its end', {
      fix: 'A sample is one call of a diffusers or xDiT pipeline; xDiT’s own rehearsal (prepare_run) does not count.',
    });
  }
  const { worldSize, steps } = readMeasures(folder, 0)![0]!;
  log(`recorded ${samples} ${samples === 1 ? 'sample' : 'samples'} of ${steps} steps on ${worldSize} ranks in ${folder}`);
  return 0;
}
