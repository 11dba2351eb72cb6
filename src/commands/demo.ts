/** `cfx demo`: the same picture twice on CPU ranks under xDiT, uncompressed and compressed, and the difference. */
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { attach } from '../attach.js';
import { type Context, logTo } from '../context.js';
import { type DemoOptions, demoFiles, demoLaunch, renderDemo } from '../demo.js';
import { CfxError } from '../errors.js';
import { ensureKernels } from '../kernels.js';
import { PACKAGE_ROOT } from '../package.js';
import { resolvePolicy } from '../preparation.js';
import type { Registration } from '../program.js';
import { renderProof } from '../report.js';
import { ensureEnvironment } from '../setup.js';
import { runPython } from '../subprocess.js';
import type { Summary } from '../summary.js';

const PROGRESS_STEPS = 7;

const positive = (text: string): number => {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a positive integer.');
};

export const demoCommand = ({ context, exitWith }: Registration): Command =>
  new Command('demo')
    .description('draw one picture on CPU ranks under xDiT, uncompressed and compressed, and compare')
    .option('--policy <preset|file>', 'what to compress and how', 'paper-2bit')
    .option('--out <dir>', 'where the pictures and reports go', './cfx-demo')
    .option('--ulysses <degree>', 'Ulysses degree', positive, 2)
    .option('--ring <degree>', 'ring degree', positive, 1)
    .option('--steps <n>', 'denoising steps', positive, 28)
    .option('--seed <n>', 'seed of the noise', positive, 11)
    .option(
      '--prompt <caption>',
      'coloured shapes, large or small, above or below, on a background',
      'a large green circle to the left of a small orange square by day',
    )
    .action(exitWith((options: DemoOptions & { out: string }) => runDemo(options, context)));

interface Leg {
  summary: Summary;
  seconds: number;
}

/** One launch; what xDiT prints goes into a log file, what cfx knows is shown. */
async function runLeg(
  name: string,
  policy: string,
  python: string,
  options: DemoOptions,
  folder: string,
  context: Context,
): Promise<Leg> {
  const log = logTo(context);
  const say = (line: string) => log(`demo: ${name}: ${line}`);
  const files = demoFiles(folder, name);
  for (const file of Object.values(files)) await rm(file, { force: true });
  const ranks = options.ulysses * options.ring;
  say(`starting ${ranks} ranks with policy "${policy}"; importing torch and xDiT takes a while`);
  const handle = await attach({
    command: demoLaunch(python, PACKAGE_ROOT, options, files),
    policy: resolvePolicy(policy).policy,
    device: 'cpu',
    report: files.report,
    // one thread a rank: ranks on a small machine are slower when each takes every core
    env: { ...context.env, OMP_NUM_THREADS: context.env.OMP_NUM_THREADS ?? '1' },
    cwd: context.cwd,
    stdio: 'pipe',
    log,
  });
  const output = createWriteStream(files.log);
  handle.stdout?.pipe(output, { end: false });
  handle.stderr?.pipe(output, { end: false });
  handle.on('ready', ({ rank, verdict }) => say(`rank ${rank} is attached${verdict ? '' : ', and compresses nothing'}`));
  let told = 0;
  handle.on('step', ({ rank, step }) => {
    if (rank !== 0 || step < told + PROGRESS_STEPS) return;
    told = step;
    say(`step ${step} of ${options.steps}`);
  });
  const summary = await handle.done;
  output.end();
  if (handle.exitCode !== 0) throw await launchFailure(handle.exitCode, files.log);
  context.err(renderProof(summary));
  const { seconds } = JSON.parse(await readFile(files.stats, 'utf8')) as { seconds: number[] };
  return { summary, seconds: seconds.at(-1)! };
}

async function launchFailure(exitCode: number | null, logFile: string): Promise<CfxError> {
  const tail = (await readFile(logFile, 'utf8').catch(() => '')).trimEnd().split('\n').slice(-15).join('\n  ');
  return new CfxError('CFX_SETUP', `the launch ended with exit code ${exitCode}; the end of its output:\n  ${tail}\n`, {
    fix: `All of it is in ${logFile}.`,
  });
}

async function runDemo(options: DemoOptions & { out: string }, context: Context): Promise<number> {
  const log = logTo(context);
  resolvePolicy(options.policy); // its mistakes before the set-up, which may take minutes
  const setup = { root: PACKAGE_ROOT, env: context.env, log: (line: string) => log(`setup: ${line}`) };
  const { python } = await ensureEnvironment(setup);
  await ensureKernels(python, setup);
  const folder = resolve(context.cwd, options.out);
  await mkdir(folder, { recursive: true });

  const plain = await runLeg('uncompressed', 'off', python, options, folder, context);
  const compressed = await runLeg('compressed', options.policy, python, options, folder, context);
  const sheet = `${folder}/side-by-side.png`;
  const pictures = [
    demoFiles(folder, 'uncompressed').picture,
    'uncompressed',
    demoFiles(folder, 'compressed').picture,
    options.policy,
  ];
  const compared = await runPython(
    [python, `${PACKAGE_ROOT}/examples/side_by_side.py`, '--out', sheet, ...pictures],
    context.env,
  );
  const [psnr] = (JSON.parse(compared) as { psnr: (number | null)[] }).psnr;
  context.out(renderDemo({ options, plain, compressed, psnr: psnr!, sheet }));
  return 0;
}
