/** `cfx eval --trace`: policies on activations that `cfx record` kept, offline and without the model. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Context, logTo } from './context.js';
import { CfxError } from './errors.js';
import { ensureKernels, kernelsFolder } from './kernels.js';
import { PACKAGE_ROOT } from './package.js';
import type { Plan } from './plan.js';
import { replayTrace } from './replay.js';
import { ensureEnvironment } from './setup.js';
import type { TraceEvaluation } from './tracing.js';

/** Throws where there is a launch command too, or no such folder. */
export async function evaluateTrace(
  folder: string,
  plans: { policy: string; plan: Plan }[],
  context: Context,
  signal: AbortSignal,
): Promise<TraceEvaluation> {
  if (context.launch)
    throw new CfxError('CFX_USAGE', 'found both --trace and a launch command; expected one of them', {
      fix: 'A trace is evaluated without a launch: leave out "--" and what follows.',
    });
  const trace = resolve(context.cwd, folder);
  if (!existsSync(trace))
    throw new CfxError('CFX_USAGE', `--trace: ${trace} does not exist`, { fix: 'Name a folder that "cfx record" wrote.' });
  const log = logTo(context);
  const setup = { root: PACKAGE_ROOT, env: context.env, log: (line: string) => log(`setup: ${line}`), signal };
  const { python } = await ensureEnvironment(setup);
  await ensureKernels(python, setup);
  return replayTrace({ trace, plans, python, kernels: kernelsFolder(context.env), env: context.env, signal });
}
