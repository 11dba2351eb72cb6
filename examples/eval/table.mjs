// Evaluations as one Markdown table, and whether the paper's order holds in each:
//   node examples/eval/table.mjs cfx-eval/scenes-flux-2 cfx-eval/scenes-flux-4 …
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Better first, by the latents' PSNR. */
const ORDERS = [
  ['paper-2bit', 'paper-1bit', 'stale'],
  ['paper-1bit', 'residual-1bit-open', 'naive-1bit'],
];

const evaluations = process.argv.slice(2).map((folder) => ({
  name: basename(folder),
  ...JSON.parse(readFileSync(join(folder, 'evaluation.json'), 'utf8')),
}));

const number = (value, digits) => (value === null || value === undefined ? '–' : value.toFixed(digits));
const withLowest = (metric, digits) => (metric ? `${number(metric.mean, digits)} (${number(metric.lowest, digits)})` : '–');

console.log('| model | ranks | steps | policy | PSNR dB (lowest) | SSIM | latents dB (lowest) | judge | MB raw | MB wire | ratio |');
console.log('|---|---|---|---|---|---|---|---|---|---|---|');
for (const { command, worldSize, steps, policies } of evaluations) {
  const model = basename(command[command.indexOf('--model') + 1] ?? '');
  for (const { name, metrics, judge, rawBytesPerSample, wireBytesPerSample, ratio } of policies) {
    const cells = [
      ...[model, worldSize, steps, `\`${name}\``, withLowest(metrics.psnr, 1), number(metrics.ssim?.mean, 4)],
      ...[withLowest(metrics.latentsPsnr, 1), number(judge?.mean, 3), number(rawBytesPerSample / 1e6, 2)],
      ...[number(wireBytesPerSample / 1e6, 2), number(ratio, 2)],
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
console.log();
for (const { name, policies } of evaluations) {
  const quality = new Map(policies.map((policy) => [policy.name, policy.metrics.latentsPsnr?.mean]));
  for (const order of ORDERS) {
    const values = order.map((policy) => quality.get(policy));
    const known = values.every((value) => value !== undefined && value !== null);
    const holds = known && values.every((value, index) => index === 0 || value < values[index - 1]);
    const verdict = known ? (holds ? 'holds' : 'does not hold') : 'cannot be told';
    console.log(`${name}: ${order.join(' > ')} ${verdict} (${values.map((value) => number(value, 1)).join(', ')} dB)`);
  }
}
