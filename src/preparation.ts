/** What every command does before anything is started: configuration, plan, probe, detection. Starts only the probe. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Option } from 'commander';
import { COMPLETE } from './cache.js';
import { CONFIG_NAMES, type ConfigKey, type Resolved, resolveConfig } from './config.js';
import type { Context } from './context.js';
import { type Detection, detect } from './detect.js';
import { CfxError } from './errors.js';
import { compilePlan, type Plan } from './plan.js';
import { loadPolicy, type Policy } from './policy.js';
import { type Probe, probe } from './probe.js';
import { sideFolder } from './side.js';

const DESCRIPTIONS: { [K in ConfigKey]: [flags: string, description: string] } = {
  policy: ['--policy <preset|file>', 'what to compress and how (default: paper-2bit)'],
  strict: ['--strict', 'fail before the first step instead of running uncompressed'],
  verify: ['--verify', "compare digests of all bases between ranks at each generation's end"],
  quiet: ['--quiet', 'print no proof block at the end'],
  json: ['--json', 'also print the summary as JSON, on stderr as the last line'],
  report: ['--report <file>', 'write the summary of the run to this file'],
  device: ['--device <cpu>', 'let xDiT run on the CPU with gloo'],
  python: ['--python <path>', 'the interpreter that runs the command (default: found from the command)'],
  agreeTimeoutSeconds: ['--agree-timeout <seconds>', 'how long a rank waits for the others before running uncompressed'],
  helloTimeoutSeconds: ['--hello-timeout <seconds>', 'how long the launch may go without any rank reporting'],
};

/** The command-line options of some configuration keys, and --config. */
export const configOptions = (keys: ConfigKey[]): Option[] => [
  ...keys.map((key) => new Option(...DESCRIPTIONS[key])),
  new Option('--config <file>', 'read this configuration file instead of searching for cfx.config.*'),
];

const camelCase = (flag: string) => flag.slice(2).replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

export function resolveOptions(options: { [name: string]: unknown }, { env, cwd, home }: Context): Resolved {
  const keys = Object.keys(CONFIG_NAMES) as ConfigKey[];
  const given = keys.map((key) => [key, options[camelCase(CONFIG_NAMES[key].flag)]] as const);
  const flags = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  return resolveConfig({ flags: { ...flags, config: options.config as string | undefined }, env, cwd, home });
}

export function resolvePolicy(nameOrFile: string): { policy: Policy; plan: Plan } {
  const policy = loadPolicy(nameOrFile, (file) => readFileSync(file, 'utf8'));
  return { policy, plan: compilePlan(policy) };
}

export interface Examination {
  probe: Probe | null;
  /** Why there is no probe. */
  probeProblem: CfxError | null;
  detection: Detection;
  /** The folder with pyzmq and msgpack, if the interpreter needs it and it is there; '' otherwise. */
  sidePath: string;
}

/** Asks the interpreter behind a command, and finds what stands in the way of compressing. */
export async function examine(command: string[], python: string | null, { env, cwd }: Context): Promise<Examination> {
  let probed: Probe | null = null;
  let probeProblem: CfxError | null = null;
  try {
    probed = await probe(command, { env, cwd, python });
  } catch (error) {
    if (!(error instanceof CfxError)) throw error;
    probeProblem = error;
  }
  const side = probed ? sideFolder(env, probed.machine.abi) : '';
  const hasSide = side !== '' && existsSync(join(side, COMPLETE));
  const needsSide = (probed?.machine.missing.length ?? 0) > 0;
  return {
    probe: probed,
    probeProblem,
    detection: detect({ command, probe: probed, hasSide, env }),
    sidePath: needsSide && hasSide ? side : '',
  };
}

export function requireLaunch(context: Context, command: string): string[] {
  if (context.launch && context.launch.length > 0) return context.launch;
  throw new CfxError('CFX_USAGE', `found no launch command; expected "cfx ${command} [options] -- <command>"`);
}
