/** `cfx plan`: the compiled plan that attach would use, and what it would send for given shapes. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { describePlan } from '../planlist.js';
import { ITEM_BYTES, type Prediction, predict, type Shapes } from '../predict.js';
import { configOptions, resolveOptions, resolvePolicy } from '../preparation.js';
import type { Registration } from '../program.js';

/** FLUX.1 at 1024×1024: 4,096 image and 512 text tokens. */
const DEFAULTS: Shapes = {
  tokens: 4608,
  channels: 3072,
  heads: 24,
  layers: 57,
  steps: 28,
  batch: 1,
  branches: 1,
  ulysses: 4,
  ring: 1,
  dtype: 'bf16',
};

const COUNTS: { [K in Exclude<keyof Shapes, 'dtype'>]: string } = {
  tokens: 'tokens of one sample, text included',
  channels: 'heads × width of a head',
  heads: 'attention heads',
  layers: 'attention calls in one transformer forward',
  steps: 'denoising steps of a generation',
  batch: 'samples in one forward',
  branches: 'transformer forwards in one step',
  ulysses: 'Ulysses degree',
  ring: 'ring degree',
};

const count = (text: string): number => {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a positive integer.');
};

export const planCommand = ({ context, exitWith }: Registration): Command => {
  const command = new Command('plan')
    .description('print the compiled plan and the bytes it would send for given shapes (default: FLUX.1 at 1024×1024, bf16)')
    .option('--json', 'print nothing but JSON');
  for (const option of configOptions(['policy'])) command.addOption(option);
  for (const [name, description] of Object.entries(COUNTS)) {
    command.addOption(new Option(`--${name} <n>`, description).argParser(count).default(DEFAULTS[name as keyof Shapes]));
  }
  command.addOption(
    new Option('--dtype <type>', "the tensors' own type").choices(Object.keys(ITEM_BYTES)).default(DEFAULTS.dtype),
  );
  return command.action(
    exitWith(async (options: Shapes & { json?: boolean; [name: string]: unknown }) => {
      const { config } = resolveOptions({ ...options, json: undefined }, context);
      const { plan } = resolvePolicy(config.policy);
      const names = Object.keys(DEFAULTS) as (keyof Shapes)[];
      const shapes = Object.fromEntries(names.map((name) => [name, options[name]])) as unknown as Shapes;
      const prediction = predict(plan, shapes);
      context.out(
        options.json
          ? `${JSON.stringify({ plan, shapes, prediction }, null, 2)}\n`
          : `${renderPlan(describePlan(plan), shapes, prediction)}\n`,
      );
      return 0;
    }),
  );
};

const exactly = (bytes: number) => bytes.toLocaleString('en-US');

function renderPlan(plan: string[], shapes: Shapes, { perRank, sites }: Prediction): string {
  const { ratio } = perRank;
  const saved = perRank.nativeBaseMemoryBytes - perRank.baseMemoryBytes;
  const columns = ['role', 'collective', 'codec', 'calls', 'compressed', 'keyframes', 'raw bytes', 'wire bytes'];
  const rows = sites.map((site) => [
    site.role,
    site.collective,
    site.codec,
    ...[site.calls, site.compressed, site.keyframes, site.rawBytes, site.wireBytes].map(exactly),
  ]);
  const widths = columns.map((name, at) => Math.max(name.length, ...rows.map((row) => row[at]!.length)));
  const line = (row: string[]) =>
    `  ${row.map((cell, at) => (at < 3 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  ')}`.trimEnd();
  return [
    'plan',
    ...plan.map((each) => `  ${each}`),
    `predicted for one rank and one generation (${Object.entries(shapes)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')})`,
    line(columns),
    ...rows.map(line),
    ratio === null
      ? '  one rank alone sends nothing'
      : `  total: ${exactly(perRank.rawBytes)} raw, ${exactly(perRank.wireBytes)} on the wire (${exactly(perRank.keyframeBytes)} of it keyframes): ${ratio.toFixed(2)} to 1`,
    `  bases: ${exactly(perRank.baseMemoryBytes)} bytes of memory${saved > 0 ? `, ${exactly(saved)} less than in ${shapes.dtype}` : ''}`,
  ].join('\n');
}
