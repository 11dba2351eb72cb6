/** How long a step of the demonstration takes, uncompressed, on this machine now. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { logTo } from './context.js';
import { DEMO_PICTURE, demoFiles } from './demo.js';
import { type DemoLaunch, runDemoLaunch } from './demorun.js';

/** The first one is not counted: it meets cold caches. */
const GENERATIONS = 3;

/** Seconds of each step that counts, of one launch. Its log is kept where it fails. */
export async function demoStepSeconds(run: Pick<DemoLaunch, 'python' | 'context' | 'signal'>): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'cfx-demo-step-'));
  logTo(run.context)(`bench: the demo, uncompressed: ${GENERATIONS} pictures`);
  const { stats } = await runDemoLaunch({
    ...run,
    picture: DEMO_PICTURE,
    generations: GENERATIONS,
    policy: 'off',
    files: demoFiles(folder, 'uncompressed'),
  });
  rmSync(folder, { recursive: true, force: true });
  return stats.step_seconds.slice(1).flat();
}
