/** Runs the demonstration's launch, attached, and collects what it leaves. */
import { createWriteStream } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { attach } from './attach.js';
import { type Context, logTo } from './context.js';
import { type DemoFiles, type DemoPicture, type DemoStats, demoLaunch } from './demo.js';
import { CfxError } from './errors.js';
import type { AttachHandle } from './handle.js';
import { PACKAGE_ROOT } from './package.js';
import type { Policy } from './policy.js';
import type { Summary } from './summary.js';

export interface DemoLaunch {
  /** cfx's own interpreter. */
  python: string;
  picture: DemoPicture;
  /** How many times it is drawn. */
  generations?: number;
  policy: string | Policy;
  files: DemoFiles;
  context: Context;
  signal?: AbortSignal;
  /** Called once, before any event. */
  watch?: (handle: AttachHandle) => void;
}

/** What xDiT prints goes into a log file; throws with the end of it where the launch fails. */
export async function runDemoLaunch(options: DemoLaunch): Promise<{ summary: Summary; stats: DemoStats }> {
  const { python, picture, generations, policy, files, context, signal, watch } = options;
  for (const file of Object.values(files)) await rm(file, { force: true });
  const handle = await attach({
    command: demoLaunch(python, PACKAGE_ROOT, picture, files, generations),
    policy,
    device: 'cpu',
    report: files.report,
    // one thread a rank: ranks on a small machine are slower when each takes every core
    env: { ...context.env, OMP_NUM_THREADS: context.env.OMP_NUM_THREADS ?? '1' },
    cwd: context.cwd,
    stdio: 'pipe',
    log: logTo(context),
    signal,
  });
  const output = createWriteStream(files.log);
  handle.stdout?.pipe(output, { end: false });
  handle.stderr?.pipe(output, { end: false });
  watch?.(handle);
  const summary = await handle.done;
  output.end();
  if (handle.exitCode !== 0) throw await launchFailure(handle.exitCode, files.log);
  return { summary, stats: JSON.parse(await readFile(files.stats, 'utf8')) as DemoStats };
}

async function launchFailure(exitCode: number | null, logFile: string): Promise<CfxError> {
  const tail = (await readFile(logFile, 'utf8').catch(() => '')).trimEnd().split('\n').slice(-15).join('\n  ');
  return new CfxError('CFX_SETUP', `the launch ended with exit code ${exitCode}; the end of its output:\n  ${tail}\n`, {
    fix: `All of it is in ${logFile}.`,
  });
}
