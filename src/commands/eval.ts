/** `cfx eval`: a launch uncompressed and under policies, compared. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import type { Config, ConfigKey } from '../config.js';
import { type Context, logTo } from '../context.js';
import { CfxError } from '../errors.js';
import { writeWhole } from '../evalfolder.js';
import { checkJudge } from '../evaljudge.js';
import { checkLpipsWeights } from '../evalmetrics.js';
import { checkPlaceholders, parseSeeds, readPrompts, type Sample, samplesOf } from '../evalsamples.js';
import { renderTable } from '../evaltable.js';
import { evaluateTrace } from '../evaltrace.js';
import type { Evaluation } from '../evaluation.js';
import { type EvaluatedPolicy, evaluate } from '../evaluator.js';
import { interruptible } from '../interruption.js';
import { PACKAGE_ROOT, VERSION } from '../package.js';
import type { Plan } from '../plan.js';
import { configOptions, type Examination, examine, requireLaunch, resolveOptions, resolvePolicy } from '../preparation.js';
import { isPolicyFile } from '../preset.js';
import type { Registration } from '../program.js';
import { ensureEnvironment } from '../setup.js';
import { renderTrace, type TraceEvaluation } from '../tracing.js';

const KEYS: ConfigKey[] = ['device', 'python', 'verify', 'agreeTimeoutSeconds', 'helloTimeoutSeconds'];
const UNCOMPRESSED = 'off';
const DEFAULT_SEED = 1;
/** Ctrl-C ends the launch and the evaluation, and keeps what is complete. */
const INTERRUPTED = 'eval: interrupted; complete samples are kept, and the same command goes on from there';

interface Options {
  [name: string]: unknown;
  policies?: string;
  out: string;
  prompts?: string;
  seeds?: string;
  judge?: string;
  lpipsWeights?: string;
  measure: number;
  json?: boolean;
  trace?: string;
}

const count = (text: string): number => {
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number.');
};

export const evalCommand = ({ context, exitWith }: Registration): Command => {
  const command = new Command('eval')
    .usage('[options] -- <launch command>')
    .description('run a launch command uncompressed and under policies, and compare pictures, bytes and time')
    .option('--policies <a,b,…>', 'presets and policy files (default: the configured policy)')
    .option('--out <dir>', 'where everything goes; an interrupted evaluation goes on there', './cfx-eval')
    .option('--prompts <file>', 'one prompt a line, for {samples} in the launch command')
    .option('--seeds <1,2,…>', 'every prompt with every seed (default: 1)')
    .option('--measure <n>', 'measure what is sent in the first n samples; takes time', count, 2)
    .option('--judge <command>', 'a program that reads {file} and prints accuracies as JSON')
    .option('--lpips-weights <dir>', 'a folder with alexnet.safetensors, for LPIPS')
    .option('--json', 'print the evaluation as JSON instead of a table')
    .option('--trace <dir>', 'evaluate on activations that "cfx record" kept, offline, instead of a launch')
    .addHelpText(
      'after',
      `
In the launch command, {samples} becomes a JSON-lines file of {"prompt", "seed"}, of which the script makes one sample
a line (a sample is one pipeline call), and {start} the number of those that are complete already and are skipped.
Without them the script's own samples count, and an interrupted run starts over.

Example:
  cfx eval --policies paper-1bit,paper-2bit --prompts prompts.txt --seeds 1,2 -- torchrun --nproc-per-node 2 \\
    examples/generate.py --model FOLDER --samples {samples} --skip {start} --ulysses_degree 2`,
    );
  for (const option of configOptions(KEYS)) command.addOption(option);
  return command.action(
    exitWith((options: Options) => interruptible((signal) => runEval(options, context, signal), logTo(context), INTERRUPTED)),
  );
};

async function runEval(options: Options, context: Context, signal: AbortSignal): Promise<number> {
  const { config } = resolveOptions({ ...options, json: undefined }, context);
  const within = (path: string) => resolve(context.cwd, path);
  if (options.trace !== undefined) {
    const plans = (options.policies ?? config.policy).split(',').map((name) => readPolicy(name.trim(), context));
    const evaluation = await evaluateTrace(options.trace, plans, context, signal);
    await writeTrace(within(options.out), evaluation, options, context);
    return 0;
  }
  const command = requireLaunch(context, 'eval');
  const policies = readPolicies(options.policies ?? config.policy, context);
  checkPlaceholders(command, { prompts: options.prompts !== undefined, seeds: options.seeds !== undefined });
  const samples = readSamples(options, context);
  const lpipsWeights = options.lpipsWeights === undefined ? null : within(options.lpipsWeights);
  if (lpipsWeights !== null) checkLpipsWeights(lpipsWeights);
  if (options.judge !== undefined) checkJudge(options.judge, samples !== null);
  const examination = await examine(command, config.python, context);
  const [refusal] = examination.detection.refusals;
  if (refusal) throw new CfxError(refusal.code, refusal.message, { fix: refusal.fix });

  const log = logTo(context);
  for (const { code, message, fix } of examination.detection.warnings) log(`possibly ${code}: ${message}. ${fix}`);
  const setupLog = (line: string) => log(`setup: ${line}`);
  const { python } = await ensureEnvironment({ root: PACKAGE_ROOT, env: context.env, log: setupLog, signal });
  const folder = within(options.out);
  const result = await evaluate({
    ...{ folder, policies, samples, python, lpipsWeights, signal },
    provenance: { command, device: config.device, measureSamples: options.measure, versions: versionsOf(examination) },
    attach: attachOptions(config, examination, context),
    judge: options.judge === undefined ? null : { command: options.judge, cwd: context.cwd },
    env: context.env,
    log,
    now: () => performance.now(),
  });
  await write(folder, { ...result, created: new Date().toISOString() }, options, context);
  return 0;
}

const attachOptions = (config: Config, { sidePath }: Examination, { env, cwd }: Context) => ({
  ...{ verify: config.verify, sidePath, env, cwd },
  agreeTimeoutSeconds: config.agreeTimeoutSeconds,
  helloTimeoutSeconds: config.helloTimeoutSeconds,
});

function readPolicy(name: string, { cwd }: Context): { policy: string; plan: Plan } {
  const { policy, plan } = resolvePolicy(isPolicyFile(name) ? resolve(cwd, name) : name);
  return { policy: policy.name ?? name, plan };
}

/** The uncompressed run, then each policy; all mistakes in policy files before anything is started. */
function readPolicies(names: string, context: Context): EvaluatedPolicy[] {
  const wanted = names.split(',').map((name) => name.trim());
  const others = wanted.filter((name) => name !== UNCOMPRESSED);
  const policies = [UNCOMPRESSED, ...others].map((name) => {
    const { policy, plan } = resolvePolicy(isPolicyFile(name) ? resolve(context.cwd, name) : name);
    const folder = basename(name)
      .replace(/\.(json|ya?ml)$/i, '')
      .replace(/[^\w.-]/g, '_');
    return { policy, plan, folder };
  });
  const twice = policies.find(({ folder }, index) => policies.findIndex((other) => other.folder === folder) < index);
  if (twice)
    throw new CfxError('CFX_USAGE', `--policies: found two that are called ${twice.folder}`, { fix: 'Rename one of the files.' });
  return policies;
}

function readSamples({ prompts, seeds }: Options, { cwd }: Context): Sample[] | null {
  if (prompts === undefined) return null;
  let text: string;
  try {
    text = readFileSync(resolve(cwd, prompts), 'utf8');
  } catch (cause) {
    throw new CfxError('CFX_USAGE', `--prompts: ${(cause as Error).message}`, { fix: 'Name a file with one prompt a line.' });
  }
  const lines = readPrompts(text);
  if (lines.length === 0)
    throw new CfxError('CFX_USAGE', `--prompts: ${prompts} has no prompts`, { fix: 'Write one prompt a line.' });
  return samplesOf(lines, seeds === undefined ? [DEFAULT_SEED] : parseSeeds(seeds));
}

function versionsOf({ probe }: Examination): { [name: string]: string } {
  const { version, distributions } = probe?.machine ?? { version: 'unknown', distributions: {} };
  const known = Object.entries(distributions).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return { cfx: VERSION, python: version, ...Object.fromEntries(known) };
}

async function write(folder: string, evaluation: Evaluation, { json }: Options, context: Context): Promise<void> {
  const text = `${JSON.stringify(evaluation, null, 1)}\n`;
  writeWhole(join(folder, 'evaluation.json'), text);
  // its plots load a library that no other command needs
  const { renderPage, renderRateDistortion } = await import('../page.js');
  writeWhole(
    join(folder, 'index.html'),
    // a picture that is gone is named on the page
    renderPage(evaluation, (path) => (existsSync(join(folder, path)) ? readFileSync(join(folder, path)) : null)),
  );
  const plot = renderRateDistortion(evaluation);
  if (plot !== null) writeWhole(join(folder, 'rate-distortion.svg'), plot);
  context.out(json ? text : renderTable(evaluation));
  logTo(context)(`eval: ${join(folder, 'index.html')} has the pictures and plots, evaluation.json beside it all figures`);
}

async function writeTrace(folder: string, evaluation: TraceEvaluation, { json }: Options, context: Context): Promise<void> {
  const text = `${JSON.stringify(evaluation, null, 1)}\n`;
  mkdirSync(folder, { recursive: true });
  writeWhole(join(folder, 'trace.json'), text);
  const { renderTracePage } = await import('../pagetrace.js');
  writeWhole(join(folder, 'trace.html'), renderTracePage(evaluation));
  context.out(json ? text : renderTrace(evaluation));
  logTo(context)(`eval: ${join(folder, 'trace.html')} has the plots, trace.json beside it all figures`);
}
