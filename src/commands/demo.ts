/** `cfx demo`: the same picture twice on CPU ranks under xDiT, uncompressed and compressed, and the difference. */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { type Context, logTo } from '../context.js';
import { DEMO_PICTURE, type DemoOptions, demoFiles, renderDemo } from '../demo.js';
import { runDemoLaunch } from '../demorun.js';
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
    .option('--ulysses <degree>', 'Ulysses degree', positive, DEMO_PICTURE.ulysses)
    .option('--ring <degree>', 'ring degree', positive, DEMO_PICTURE.ring)
    .option('--steps <n>', 'denoising steps', positive, DEMO_PICTURE.steps)
    .option('--seed <n>', 'seed of the noise', positive, DEMO_PICTURE.seed)
    .option('--prompt <caption>', 'coloured shapes, large or small, above or below, on a background', DEMO_PICTURE.prompt)
    .action(exitWith((options: DemoOptions & { out: string }) => runDemo(options, context)));

/** One launch, and what it shows of itself. */
async function runLeg(
  name: string,
  policy: string,
  python: string,
  options: DemoOptions,
  folder: string,
  context: Context,
): Promise<{ summary: Summary; seconds: number }> {
  const log = logTo(context);
  const say = (line: string) => log(`demo: ${name}: ${line}`);
  say(`starting ${options.ulysses * options.ring} ranks with policy "${policy}"; importing torch and xDiT takes a while`);
  let told = 0;
  const { summary, stats } = await runDemoLaunch({
    python,
    picture: options,
    policy: resolvePolicy(policy).policy,
    files: demoFiles(folder, name),
    context,
    watch: (handle) => {
      handle.on('ready', ({ rank, verdict }) => say(`rank ${rank} is attached${verdict ? '' : ', and compresses nothing'}`));
      handle.on('step', ({ rank, step }) => {
        if (rank !== 0 || step < told + PROGRESS_STEPS) return;
        told = step;
        say(`step ${step} of ${options.steps}`);
      });
    },
  });
  context.err(renderProof(summary));
  return { summary, seconds: stats.seconds.at(-1)! };
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
