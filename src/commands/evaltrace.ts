/** `cfx eval --trace`: policies on activations that `cfx record` kept, offline and without the model. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Context, logTo } from '../context.js';
import { CfxError } from '../errors.js';
import { PACKAGE_ROOT } from '../package.js';
import { resolvePolicy } from '../preparation.js';
import { isPolicyFile } from '../preset.js';
import { replayTrace } from '../replay.js';
import { ensureEnvironment } from '../setup.js';
import { renderTrace } from '../tracing.js';

export interface TraceOptions {
  trace: string;
  policies: string[];
  json: boolean;
}

export async function runTraceEvaluation(options: TraceOptions, context: Context, signal: AbortSignal): Promise<number> {
  if (context.launch)
    throw new CfxError('CFX_USAGE', 'found both --trace and a launch command; expected one of them', {
      fix: 'A trace is evaluated without a launch: leave out "--" and what follows.',
    });
  const trace = resolve(context.cwd, options.trace);
  if (!existsSync(trace))
    throw new CfxError('CFX_USAGE', `--trace: ${trace} does not exist`, { fix: 'Name a folder that "cfx record" wrote.' });
  const plans = options.policies.map((name) => {
    const { policy, plan } = resolvePolicy(isPolicyFile(name) ? resolve(context.cwd, name) : name);
    return { policy: policy.name ?? name, plan };
  });
  const log = logTo(context);
  const { python } = await ensureEnvironment({
    ...{ root: PACKAGE_ROOT, env: context.env, signal },
    log: (line) => log(`setup: ${line}`),
  });
  const evaluation = await replayTrace({ trace, plans, python, env: context.env, signal });
  context.out(options.json ? `${JSON.stringify(evaluation, null, 1)}\n` : renderTrace(evaluation));
  return 0;
}
