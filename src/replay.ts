/** Runs plans on a recorded trace, offline, in the managed environment: python_shim/cfx_eval. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CfxError } from './errors.js';
import { SHIM_PATH, VERSION } from './package.js';
import type { Plan } from './plan.js';
import { failure, runProgram } from './subprocess.js';
import type { ReplayedSite, SignalSite, TraceEvaluation } from './tracing.js';
import { summariseReplay, summariseSignal } from './tracing.js';

/** Exit code of replay_main.py: the trace cannot be used. */
const BAD_TRACE = 65;

export interface ReplayOptions {
  /** A folder that `cfx record` wrote. */
  trace: string;
  plans: { policy: string; plan: Plan }[];
  /** An interpreter with torch and safetensors. */
  python: string;
  /** The folder of compiled CPU kernels; without them plain torch does the same, slower. */
  kernels?: string;
  env: { [name: string]: string | undefined };
  signal?: AbortSignal;
}

type Line = { signal: SignalSite[] } | { policy: string; sites: ReplayedSite[] };

/** One line of standard output for the signal, then one for each plan. */
export async function replayTrace({ trace, plans, python, kernels, env, signal }: ReplayOptions): Promise<TraceEvaluation> {
  const folder = mkdtempSync(join(tmpdir(), 'cfx-replay-'));
  try {
    const file = join(folder, 'plans.json');
    writeFileSync(file, JSON.stringify(plans));
    const command = [python, '-m', 'cfx_eval.replay_main', trace, file, ...(kernels === undefined ? [] : [kernels])];
    const outcome = await runProgram(command, { env, signal }, { env: { PYTHONPATH: SHIM_PATH } });
    if (outcome.code === BAD_TRACE) {
      throw new CfxError('CFX_USAGE', outcome.tail.join('\n'), {
        fix: 'Record one with "cfx record --out DIR -- <launch command>".',
      });
    }
    if (outcome.code !== 0)
      throw failure('the replay', outcome, 'This may be a defect of cfx; please report it with the text above.');
    const lines = outcome.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
    const activations = lines.flatMap((line) => ('signal' in line ? line.signal : []));
    const replayed = lines.flatMap((line) => ('sites' in line ? [line] : []));
    return {
      format: 1,
      created: new Date().toISOString(),
      trace,
      version: VERSION,
      steps: Math.max(...activations.map(({ relativeChange }) => relativeChange.length)),
      sites: activations.length,
      signal: summariseSignal(activations),
      policies: plans.map(({ policy, plan }, index) => summariseReplay(policy, plan.planId, replayed[index]!.sites)),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
