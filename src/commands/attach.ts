/** `cfx attach`: wires the steps of a run; no logic of its own. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { attach } from '../attach.js';
import type { Config, ConfigKey, Resolved } from '../config.js';
import { type Context, logTo } from '../context.js';
import { plannedPatches } from '../doctor.js';
import { ERRORS } from '../errors.js';
import { launch } from '../launch.js';
import { SHIM_PATH } from '../package.js';
import type { Plan } from '../plan.js';
import { describePlan } from '../planlist.js';
import { configOptions, type Examination, examine, requireLaunch, resolveOptions, resolvePolicy } from '../preparation.js';
import type { Registration } from '../program.js';
import { renderProof } from '../report.js';

const KEYS: ConfigKey[] = [
  'policy',
  'strict',
  'verify',
  'quiet',
  'json',
  'report',
  'device',
  'python',
  'agreeTimeoutSeconds',
  'helloTimeoutSeconds',
];

interface Options {
  [name: string]: unknown;
  dryRun?: boolean;
  printConfig?: boolean;
}

export const attachCommand = ({ context, exitWith }: Registration): Command => {
  const command = new Command('attach')
    .usage('[options] -- <launch command>')
    .description('run a launch command (torchrun, xdit, python, …) with compressed communication')
    .option('--dry-run', 'print what would be done; start nothing')
    .option('--print-config', 'print every setting and where it came from; start nothing');
  for (const option of configOptions(KEYS)) command.addOption(option);
  return command.action(exitWith((options: Options) => runAttach(options, context)));
};

async function runAttach(options: Options, context: Context): Promise<number> {
  if (context.env.CFX_DISABLE === '1' && !options.dryRun && !options.printConfig) {
    return launch(requireLaunch(context, 'attach'), { env: context.env, cwd: context.cwd }).exited;
  }
  const resolved = resolveOptions(options, context);
  if (options.printConfig) return printConfig(resolved, context);
  const { config } = resolved;
  const command = requireLaunch(context, 'attach');
  const { policy, plan } = resolvePolicy(config.policy);
  const examination = await examine(command, config.python, context);
  if (options.dryRun) return printDryRun({ command, config, plan, examination }, context);

  const log = logTo(context);
  const [refusal, ...others] = examination.detection.refusals;
  for (const { code, message, fix } of others) log(`${code}: ${message}. ${fix}`);
  for (const { code, message, fix } of examination.detection.warnings) log(`possibly ${code}: ${message}. ${fix}`);
  const handle = await attach({
    command,
    policy,
    strict: config.strict,
    verify: config.verify,
    device: config.device,
    report: config.report === null ? null : resolve(context.cwd, config.report),
    refusal: refusal ? { code: refusal.code, reason: refusal.message, fix: refusal.fix } : null,
    sidePath: examination.sidePath,
    agreeTimeoutSeconds: config.agreeTimeoutSeconds,
    helloTimeoutSeconds: config.helloTimeoutSeconds,
    env: context.env,
    cwd: context.cwd,
    log,
  });
  const summary = await handle.done;
  if (!config.quiet) context.err(renderProof(summary));
  if (config.json) context.err(`${JSON.stringify(summary)}\n`);
  return handle.exitCode ?? ERRORS.CFX_INTERNAL.exit;
}

function printConfig({ config, origins }: Resolved, context: Context): number {
  const rows = KEYS.map((key) => ({ key, value: config[key], origin: origins[key] }));
  if (config.json)
    context.out(
      `${JSON.stringify(Object.fromEntries(rows.map(({ key, value, origin }) => [key, { value, origin }])), null, 2)}\n`,
    );
  else
    context.out(
      rows.map(({ key, value, origin }) => `${key.padEnd(20)} ${JSON.stringify(value).padEnd(16)} ${origin}\n`).join(''),
    );
  return 0;
}

interface DryRun {
  command: string[];
  config: Config;
  plan: Plan;
  examination: Examination;
}

function printDryRun({ command, config, plan, examination }: DryRun, context: Context): number {
  const { probe, probeProblem, detection, sidePath } = examination;
  const environment = {
    CFX_RUN: '<run folder>',
    PYTHONPATH: ['<run folder>/site', context.env.PYTHONPATH].filter(Boolean).join(':'),
  };
  const patches = plannedPatches(probe);
  if (config.json) {
    context.out(
      `${JSON.stringify({ command, environment, shimPath: SHIM_PATH, sidePath, machine: probe?.machine ?? null, patches, plan, ...detection }, null, 2)}\n`,
    );
    return 0;
  }
  const { refusals, warnings } = detection;
  const lines = [
    `command      ${command.join(' ')}`,
    ...Object.entries(environment).map(([name, value]) => `environment  ${name}=${value}`),
    `shim         ${SHIM_PATH}`,
    ...(sidePath ? [`side folder  ${sidePath}`] : []),
    `interpreter  ${probe ? `${probe.machine.python} (${probe.machine.version})` : probeProblem?.message}`,
    ...Object.values(patches)
      .flat()
      .map((symbol) => `patch        ${symbol}`),
    ...describePlan(plan).map((line) => `plan         ${line}`),
    ...refusals.map(({ code, message, fix }) => `refused      ${code}: ${message}. ${fix}`),
    ...warnings.map(({ code, message, fix }) => `possibly     ${code}: ${message}. ${fix}`),
    `${config.strict && refusals.length > 0 ? 'would stop here' : refusals.length > 0 ? 'would run uncompressed' : 'would run attached'}; nothing was started`,
  ];
  context.out(`${lines.join('\n')}\n`);
  return 0;
}
