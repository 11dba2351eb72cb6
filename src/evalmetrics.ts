/** Has cfx's own Python environment work out the figures of an evaluation (python_shim/cfx_eval/metrics_main.py). */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CfxError } from './errors.js';
import type { Evaluation, PolicyEvaluation, SampleEvaluation } from './evaluation.js';
import { SHIM_PATH } from './package.js';
import { runProgram } from './subprocess.js';

/** What that program prints. */
export interface Figures extends Pick<Evaluation, 'changes' | 'explainedVariance' | 'differenceGain' | 'unavailable'> {
  policies: ({
    samples: Pick<SampleEvaluation, 'index' | 'outputs' | 'metrics' | 'identical' | 'distance'>[];
  } & Pick<PolicyEvaluation, 'folder' | 'relativeError' | 'sites' | 'trajectory'>)[];
}

export interface MetricsOptions {
  python: string;
  /** The evaluation's folder. */
  folder: string;
  /** The policies' folders in it, the uncompressed run's first. */
  policies: string[];
  samples: number;
  lpipsWeights: string | null;
  env: { [name: string]: string | undefined };
  onLine: (line: string) => void;
  signal?: AbortSignal;
}

const LPIPS_FILE = 'alexnet.safetensors';

export function checkLpipsWeights(folder: string): void {
  if (existsSync(join(folder, LPIPS_FILE))) return;
  throw new CfxError('CFX_USAGE', `--lpips-weights: ${join(folder, LPIPS_FILE)} is not there`, {
    fix:
      `cfx downloads no weights. With torchvision, this puts them there: python -c "import torchvision, safetensors.torch as s; ` +
      `s.save_file(torchvision.models.alexnet(weights='DEFAULT').features.state_dict(), '${join(folder, LPIPS_FILE)}')"`,
  });
}

export async function workOutFigures(options: MetricsOptions): Promise<Figures> {
  const { python, folder, policies, samples, lpipsWeights, env, onLine, signal } = options;
  const outcome = await runProgram(
    [
      ...[python, '-m', 'cfx_eval.metrics_main', folder, '--policies', policies.join(','), '--samples', String(samples)],
      ...(lpipsWeights === null ? [] : ['--lpips-weights', lpipsWeights]),
    ],
    { env, signal },
    { env: { PYTHONPATH: SHIM_PATH }, onLine: (line) => line.startsWith('metrics: ') && onLine(line) },
  );
  if (outcome.code === 0) return JSON.parse(outcome.stdout) as Figures;
  const tail = outcome.tail.filter((line) => !line.startsWith('metrics: ')).join('\n  ');
  throw new CfxError('CFX_EVALUATION', `the metrics could not be worked out:\n  ${tail}\n`, { fix: 'All samples are kept.' });
}
