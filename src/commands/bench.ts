/** `cfx bench codecs`: what codecs cost and lose, behind a gate of correctness. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { measureCodecs } from '../bench.js';
import { type BenchJob, type BenchShape, chosenCodecs, DEMO, type Dtype, FLUX, jobCodecs } from '../benchjob.js';
import { assembleBenchmark, type ModelOptions } from '../benchresult.js';
import { renderBenchmark } from '../benchtable.js';
import type { Statistics } from '../codec.js';
import { type Context, logTo } from '../context.js';
import { demoStepSeconds } from '../demostep.js';
import { CfxError } from '../errors.js';
import { interruptible } from '../interruption.js';
import { ensureKernels, kernelsFolder } from '../kernels.js';
import { PACKAGE_ROOT, VERSION } from '../package.js';
import { ITEM_BYTES } from '../predict.js';
import type { Registration } from '../program.js';
import { ensureEnvironment } from '../setup.js';

/** NVIDIA's data sheet of the L20, the paper's GPU; what an eager launch takes on current drivers, roughly. */
const MODEL: ModelOptions = { gigabytesPerSecond: 864, launchMicroseconds: 5 };
const REPEATS = 100;
const SHAPE = ['tokens', 'channels', 'dtype', 'peers'] as const;

interface Options extends Partial<BenchShape> {
  demo?: true;
  stepMs?: number;
  codecs?: string;
  statistics: Statistics;
  trace?: string;
  repeats: number;
  threads?: number;
  largeMib?: number;
  device?: 'cpu' | 'cuda';
  bandwidth: number;
  launchUs: number;
  json?: boolean;
  python?: string;
}

const whole = (least: number) => (text: string) => {
  if (/^\d+$/.test(text) && Number(text) >= least && Number.isSafeInteger(Number(text))) return Number(text);
  throw new InvalidArgumentError(`Expected a whole number >= ${least}.`);
};

const positive = (text: string): number => {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('Expected a number above 0.');
};

export const benchCommand = (registration: Registration): Command =>
  new Command('bench')
    .description('benchmarks: "cfx bench codecs"')
    .usage('codecs [options]')
    .argument('[benchmark]', 'codecs')
    .addCommand(codecsCommand(registration))
    .action((name?: string) => {
      throw new CfxError('CFX_USAGE', `found ${name === undefined ? 'no benchmark' : `"${name}"`}; expected "cfx bench codecs"`);
    });

const codecsCommand = ({ context, exitWith }: Registration): Command =>
  new Command('codecs')
    .description('error, bytes and time of codecs beside a copy and the paper; prints nothing if one is not correct')
    .option('--tokens <n>', `tokens of one block (default: ${FLUX.tokens}, FLUX.1 at 1024×1024 in a ring of 4)`, whole(1))
    .option('--channels <n>', `its channels (default: ${FLUX.channels})`, whole(1))
    .addOption(new Option('--dtype <type>', `its type (default: ${FLUX.dtype})`).choices(Object.keys(ITEM_BYTES)))
    .option('--peers <n>', `ranks that a block comes from (default: ${FLUX.peers})`, whole(1))
    .addOption(
      new Option('--demo', `the demo's own shape, ${DEMO.tokens} × ${DEMO.channels} fp32, and the share of its step`).conflicts([
        ...SHAPE,
      ]),
    )
    .option('--step-ms <ms>', 'what a step of the demo takes uncompressed (default: measured, before and after)', positive)
    .option('--codecs <a,b,…>', 'codecs, or "all" (default: those of the presets, and topk)')
    .addOption(
      new Option('--statistics <which>', 'what channel scales and predictions are of, where a codec can choose')
        .choices(['exact', 'sampled', 'previous'])
        .default('exact'),
    )
    .option('--trace <dir>', 'errors on activations that "cfx record" kept, instead of built-in signals')
    .option('--repeats <n>', 'interleaved rounds', whole(3), REPEATS)
    .option('--threads <n>', 'threads for the large tensor, checks and errors (default: as many as torch takes)', whole(1))
    .option('--large-mib <n>', 'size of the large tensor; 0: none (default: larger than the last-level cache)', whole(0))
    .addOption(new Option('--device <type>', 'what to measure on (default: a GPU where there is one)').choices(['cpu', 'cuda']))
    .option('--bandwidth <GB/s>', 'memory bandwidth of the modelled GPU (default: L20)', positive, MODEL.gigabytesPerSecond)
    .option('--launch-us <µs>', 'time of a launch on the modelled GPU', positive, MODEL.launchMicroseconds)
    .option('--json', 'print the benchmark as JSON instead of tables')
    .option('--python <path>', "an interpreter with torch, numpy and safetensors (default: cfx's own)")
    .action(
      exitWith((options: Options) =>
        interruptible((signal) => runBenchCodecs(options, context, signal), logTo(context), 'bench: interrupted'),
      ),
    );

async function runBenchCodecs(options: Options, context: Context, signal: AbortSignal): Promise<number> {
  const job = jobOf(options, context);
  const log = logTo(context);
  const setup = { root: PACKAGE_ROOT, env: context.env, log: (line: string) => log(`setup: ${line}`), signal };
  const python = options.python ?? (await ensureEnvironment(setup)).python;
  await ensureKernels(python, setup);
  // on both sides of what is compared with it: machines are not as fast at all times
  const demoSteps = async () =>
    job.stepOfDemo && options.stepMs === undefined ? demoStepSeconds({ python, context, signal }) : [];
  const before = await demoSteps();
  const measured = await measureCodecs({ job, python, env: context.env, onLine: log, signal });
  const demoStepSamples = [...before, ...(await demoSteps())];
  const benchmark = {
    ...assembleBenchmark(job, measured, {
      model: { gigabytesPerSecond: options.bandwidth, launchMicroseconds: options.launchUs },
      version: VERSION,
      demoStep: options.stepMs ?? demoStepSamples,
    }),
    created: new Date().toISOString(),
  };
  context.out(options.json ? `${JSON.stringify(benchmark, null, 2)}\n` : renderBenchmark(benchmark));
  return 0;
}

/** Everything that can be wrong with the options is found before anything is started. */
function jobOf(options: Options, { env, cwd, launch }: Context): BenchJob {
  if (launch)
    throw new CfxError('CFX_USAGE', 'found a launch command; expected none', { fix: 'Leave out "--" and what follows.' });
  if (options.stepMs !== undefined && !options.demo)
    throw new CfxError('CFX_USAGE', 'found --step-ms without --demo', { fix: 'Add --demo, whose step it is.' });
  const trace = options.trace === undefined ? null : resolve(cwd, options.trace);
  if (trace !== null && !existsSync(trace))
    throw new CfxError('CFX_USAGE', `--trace: ${trace} does not exist`, { fix: 'Name a folder that "cfx record" wrote.' });
  const start = options.demo ? DEMO : FLUX;
  const shape: BenchShape = {
    tokens: options.tokens ?? start.tokens,
    channels: options.channels ?? start.channels,
    dtype: (options.dtype ?? start.dtype) as Dtype,
    peers: options.peers ?? start.peers,
  };
  return {
    ...shape,
    device: options.device ?? 'auto',
    threads: options.threads ?? null,
    repeats: options.repeats,
    largeMib: options.largeMib ?? null,
    kernels: kernelsFolder(env),
    trace,
    stepOfDemo: options.demo ?? false,
    codecs: jobCodecs(chosenCodecs(options.codecs), shape, options.statistics),
  };
}
