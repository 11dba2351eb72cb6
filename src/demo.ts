/** Pure: the demonstration's two launches and what it prints about them. */
import type { Summary } from './summary.js';

/** What is drawn, and on how many ranks. */
export interface DemoPicture {
  ulysses: number;
  ring: number;
  steps: number;
  seed: number;
  prompt: string;
}

export interface DemoOptions extends DemoPicture {
  policy: string;
}

/** What `cfx demo` draws unless it is told otherwise. */
export const DEMO_PICTURE: DemoPicture = {
  ulysses: 2,
  ring: 1,
  steps: 28,
  seed: 11,
  prompt: 'a large green circle to the left of a small orange square by day',
};

/** What the launch writes into its file of statistics, of each generation. */
export interface DemoStats {
  seconds: number[];
  /** Without the first step. */
  step_seconds: number[][];
}

export interface DemoFiles {
  picture: string;
  stats: string;
  report: string;
  /** What the launch prints. */
  log: string;
}

export interface DemoResult {
  options: DemoOptions;
  plain: { summary: Summary; seconds: number };
  compressed: { summary: Summary; seconds: number };
  /** Between the two pictures, in dB; null: they are equal. */
  psnr: number | null;
  sheet: string;
}

export const demoFiles = (folder: string, name: string): DemoFiles => ({
  picture: `${folder}/${name}.png`,
  stats: `${folder}/${name}.json`,
  report: `${folder}/${name}.report.json`,
  log: `${folder}/${name}.log`,
});

/** The launch that a user would write, with nothing of cfx in it. */
export function demoLaunch(
  python: string,
  root: string,
  { ulysses, ring, steps, seed, prompt }: DemoPicture,
  { picture, stats }: DemoFiles,
  generations = 1,
): string[] {
  return [
    python,
    '-m',
    'torch.distributed.run',
    '--standalone',
    '--nproc-per-node',
    String(ulysses * ring),
    `${root}/examples/flux_pipeline.py`,
    '--model',
    `${root}/examples/models/scenes-flux`,
    '--ulysses_degree',
    String(ulysses),
    '--ring_degree',
    String(ring),
    '--height',
    '256',
    '--width',
    '256',
    '--max_sequence_length',
    '32',
    '--num_inference_steps',
    String(steps),
    '--seed',
    String(seed),
    '--prompt',
    prompt,
    '--out',
    picture,
    '--stats',
    stats,
    '--generations',
    String(generations),
  ];
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`;

export function renderDemo({ options, plain, compressed, psnr, sheet }: DemoResult): string {
  const column = (name: string, before: string, after: string) =>
    `  ${name.padEnd(24)}${before.padStart(16)}${after.padStart(16)}`;
  const uncompressed = plain.summary.totals.wireBytes;
  const { wireBytes, ratio } = compressed.summary.totals;
  const topology =
    [options.ulysses > 1 && `Ulysses ${options.ulysses}`, options.ring > 1 && `ring ${options.ring}`]
      .filter(Boolean)
      .join(' × ') || 'no sequence parallelism';
  return `${[
    `"${options.prompt}", ${options.steps} steps, ${options.ulysses * options.ring} ranks on this CPU (${topology})`,
    '',
    column('', 'uncompressed', options.policy),
    column('bytes on the wire', megabytes(uncompressed), megabytes(wireBytes)),
    column('raw : wire', '1.00', ratio === null ? 'none sent' : ratio.toFixed(2)),
    column('time of the generation', `${plain.seconds.toFixed(2)} s`, `${compressed.seconds.toFixed(2)} s`),
    column('PSNR of the picture', '', psnr === null ? 'equal' : `${psnr.toFixed(1)} dB`),
    '',
    "  Bytes are summed over the ranks, in the tensors' own 32-bit floats, warm-up steps included.",
    '  Times are one run each. Ranks on one machine talk through its memory, so fewer bytes save no',
    '  time here; they do where the link is the slow part.',
    '',
    `  both pictures: ${sheet}`,
  ].join('\n')}\n`;
}
