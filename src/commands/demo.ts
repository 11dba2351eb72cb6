/** `cfx demo`: the same picture twice on CPU ranks under xDiT, uncompressed and compressed, and the difference. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { attach } from '../attach.js';
import { type Context, logTo } from '../context.js';
import { type DemoFiles, type DemoOptions, demoFiles, demoLaunch, renderDemo } from '../demo.js';
import { CfxError } from '../errors.js';
import { PACKAGE_ROOT } from '../package.js';
import { resolvePolicy } from '../preparation.js';
import type { Registration } from '../program.js';
import { renderProof } from '../report.js';
import { ensureEnvironment, runPython } from '../setup.js';
import type { Summary } from '../summary.js';

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
      'a large red star above a small blue circle at sunset',
    )
    .action(exitWith((options: DemoOptions & { out: string }) => runDemo(options, context)));

interface Leg {
  summary: Summary;
  seconds: number;
}

async function runDemo(options: DemoOptions & { out: string }, context: Context): Promise<number> {
  const log = logTo(context);
  resolvePolicy(options.policy); // its mistakes before the set-up, which may take minutes
  const { python } = await ensureEnvironment({ root: PACKAGE_ROOT, env: context.env, log: (line) => log(`setup: ${line}`) });
  const folder = resolve(context.cwd, options.out);
  await mkdir(folder, { recursive: true });

  const run = async (name: string, policy: string): Promise<Leg> => {
    const files = demoFiles(folder, name);
    for (const file of Object.values(files)) await rm(file, { force: true });
    log(`demo: ${name}: starting ${options.ulysses * options.ring} ranks (policy ${policy})`);
    return runLeg(policy, files);
  };
  const runLeg = async (policy: string, files: DemoFiles): Promise<Leg> => {
    const handle = await attach({
      command: demoLaunch(python, PACKAGE_ROOT, options, files),
      policy: resolvePolicy(policy).policy,
      device: 'cpu',
      report: files.report,
      // one thread a rank: two ranks on a small machine are slower when each takes every core
      env: { ...context.env, OMP_NUM_THREADS: context.env.OMP_NUM_THREADS ?? '1' },
      cwd: context.cwd,
      log,
    });
    const summary = await handle.done;
    context.err(renderProof(summary));
    if (handle.exitCode !== 0)
      throw new CfxError('CFX_SETUP', `the demonstration's launch ended with exit code ${handle.exitCode}`, {
        fix: 'See its output above.',
      });
    const { seconds } = JSON.parse(await readFile(files.stats, 'utf8')) as { seconds: number[] };
    return { summary, seconds: seconds.at(-1)! };
  };

  const plain = await run('uncompressed', 'off');
  const compressed = await run('compressed', options.policy);
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
