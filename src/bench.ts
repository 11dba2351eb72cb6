/** Has Python check and measure codecs (python_shim/cfx_bench), and puts its figures together. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchJob } from './benchjob.js';
import type { Measured } from './benchresult.js';
import { CfxError } from './errors.js';
import { SHIM_PATH } from './package.js';
import { failure, runProgram } from './subprocess.js';

/** Exit codes of codecs_main.py: the device or the trace cannot be used; the gate found something. */
const UNUSABLE = 65;
const WRONG = 70;
const PROGRESS = 'bench: ';

export interface BenchOptions {
  job: BenchJob;
  /** An interpreter with torch, numpy and safetensors. */
  python: string;
  env: { [name: string]: string | undefined };
  onLine: (line: string) => void;
  signal?: AbortSignal;
}

/** Throws where a codec is not right: no figure of such a run is given away. */
export async function measureCodecs({ job, python, env, onLine, signal }: BenchOptions): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'cfx-bench-'));
  try {
    const file = join(folder, 'job.json');
    writeFileSync(file, JSON.stringify(job));
    const outcome = await runProgram(
      [python, '-m', 'cfx_bench.codecs_main', file],
      { env, signal },
      { env: { PYTHONPATH: SHIM_PATH }, onLine: (line) => line.startsWith(PROGRESS) && onLine(line) },
    );
    const tail = outcome.tail.filter((line) => !line.startsWith(PROGRESS));
    if (outcome.code === UNUSABLE) throw new CfxError('CFX_USAGE', tail.join('\n'));
    if (outcome.code === WRONG) {
      const { failures } = JSON.parse(outcome.stdout) as { failures: string[] };
      throw new CfxError(
        'CFX_CONFORMANCE',
        `codecs are not what they should be, so nothing was measured:\n  ${failures.join('\n  ')}\n`,
      );
    }
    if (outcome.code !== 0) throw failure('the benchmark', { ...outcome, stdout: '', tail });
    return JSON.parse(outcome.stdout) as Measured;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
