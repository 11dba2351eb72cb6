/** Runs plans on a recorded trace, offline, in the managed environment: python_shim/cfx_eval. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SHIM_PATH, VERSION } from './package.js';
import type { Plan } from './plan.js';
import { runPython } from './subprocess.js';
import type { ReplayedSite, SignalSite, TraceEvaluation } from './tracing.js';
import { summariseReplay, summariseSignal } from './tracing.js';

export interface ReplayOptions {
  /** A folder that `cfx record` wrote. */
  trace: string;
  plans: { policy: string; plan: Plan }[];
  /** An interpreter with torch and safetensors. */
  python: string;
  env: { [name: string]: string | undefined };
  signal?: AbortSignal;
}

type Line = { signal: SignalSite[] } | { policy: string; sites: ReplayedSite[] };

/** One line of standard output for the signal, then one for each plan. */
export async function replayTrace({ trace, plans, python, env, signal }: ReplayOptions): Promise<TraceEvaluation> {
  const folder = mkdtempSync(join(tmpdir(), 'cfx-replay-'));
  try {
    const file = join(folder, 'plans.json');
    writeFileSync(file, JSON.stringify(plans));
    const printed = await runPython([python, '-m', 'cfx_eval.replay_main', trace, file], env, { path: SHIM_PATH, signal });
    const lines = printed
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
