/** The package as a program uses it: events, a change of policy mid-run, ends; and the example with a Python session. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mistakesOf } from '../../src/validate.js';
import { codes, FIXTURES, flux, LAUNCH_MS, python, ROOT, Scratch } from './fixtures/runs.js';

jest.setTimeout(LAUNCH_MS);

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove(), 60_000);

interface Place {
  scratch: Scratch;
  env?: { [name: string]: string | undefined };
}
const steer = async (request: { act: string; command: string[] }, { scratch, env = {} }: Place) => {
  const words = JSON.stringify({ ...request, marks: env.MARKS, report: scratch.path('report.json') });
  const { code, stdout, stderr } = await scratch.start([process.execPath, join(FIXTURES, 'steer.mjs'), words], { env }).ended;
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
};

describe('a launch of four generations whose policy changes in the first and that is stopped in the last', () => {
  const RANKS = [0, 1];
  // biome-ignore lint/suspicious/noExplicitAny: what a program printed
  let result: any;
  beforeAll(async () => {
    const mine = new Scratch();
    const latents = mine.path('latents.safetensors');
    const command = flux({ parallel: ['--ulysses_degree', '2'], steps: 2, latents, more: ['--generations', '4'] });
    try {
      result = await steer({ act: 'steer', command }, { scratch: mine, env: mine.watched({ HOLD: '*:2,*:7' }) });
      result.report = JSON.parse(readFileSync(mine.path('report.json'), 'utf8'));
      result.left = mine.processes();
      result.finished = existsSync(latents);
    } finally {
      await mine.remove();
    }
  }, LAUNCH_MS);

  test('events tell of every rank’s hello, agreement, steps and generations', () => {
    for (const rank of RANKS) {
      const ofRank = (kind: string) => result.seen.filter(([event, who]: unknown[]) => event === kind && who === rank);
      expect(ofRank('hello')).toEqual([['hello', rank, 2]]);
      expect(ofRank('ready')).toEqual([['ready', rank, true]]);
      expect(ofRank('step').length).toBeGreaterThan(0);
    }
    expect(result.seen.at(-1)).toEqual(['exit', result.exitCode]);
  });

  test('the new policy is in force from the next generation on, on every rank', () => {
    for (const rank of RANKS) {
      const epochs = result.seen
        .filter(([event, who]: unknown[]) => event === 'generation' && who === rank)
        .map(([, , phase, generation, epoch]: unknown[]) => `${generation} ${phase} ${epoch}`);
      expect(epochs.slice(0, 7)).toEqual(
        ['0 begin 0', '0 end 0', '1 begin 1', '1 end 1', '2 begin 1', '2 end 1', '3 begin 1'].slice(0, epochs.length),
      );
      expect(epochs.length).toBeGreaterThanOrEqual(6);
    }
    expect(result.summary).toMatchObject({ epoch: 1, policy: 'paper-1bit', planId: result.plan.planId });
  });

  test('what was sent changed with it: one generation as it is, then keyframes and 1 bit', () => {
    const calls = (codec: string, count: 'calls' | 'compressed' | 'keyframes') =>
      result.summary.sites
        .filter((site: { codec: string; role: string }) => site.codec === codec && site.role === 'q')
        .reduce((sum: number, site: { [count: string]: number }) => sum + site[count]!, 0);
    // 5 attention calls in each of 2 steps on 2 ranks; in each generation the first step is a keyframe
    expect(calls('identity', 'calls')).toBe(20);
    expect(calls('binary', 'calls')).toBe(40);
    expect(calls('binary', 'keyframes')).toBe(20);
    expect(calls('binary', 'compressed')).toBe(20);
    expect(codes(result.summary)).toEqual([]);
  });

  test('the report is there, whole, before the launch ends, and again at its end', () => {
    expect(mistakesOf('summary', result.midway)).toEqual([]);
    expect(result.midway).toMatchObject({ exitCode: null, epoch: 1, generations: 3 });
    expect(result.report).toEqual(result.summary);
  });

  test('a policy that cannot be has no effect, and the reason comes back', () => {
    expect(result.unknown).toMatchObject({ code: 'CFX_CONFIG', message: expect.stringContaining('no-such-policy') });
    expect(result.aborted).toMatchObject({ name: 'AbortError' });
    expect(result.late).toMatchObject({ code: 'CFX_PLAN_REFUSED', message: expect.stringContaining('ended') });
  });

  test('stop() ends the launch: it did not come to its end, and nothing of it is left', () => {
    expect(result.exitCode).not.toBe(0);
    expect(result.summary.exitCode).toBe(result.exitCode);
    expect(result.finished).toBe(false);
    expect(result.left).toEqual([]);
  });
});

test('an aborted signal ends a launch and what it started, and starts none', async () => {
  const text =
    'import subprocess, sys; subprocess.Popen(["sleep", "600"]); print("up", flush=True); sys.stdin.read(); import time; time.sleep(600)';
  const result = await steer({ act: 'abort', command: [python(), '-c', text] }, { scratch });
  expect(result).toMatchObject({ exitCode: 143, summary: { exitCode: 143 }, again: { name: 'AbortError' } });
  expect(scratch.processes()).toEqual([]);
});

test('examples/programmatic.ts compiles, writes a picture, and its process ends by itself', async () => {
  // as in a project that has the package installed
  mkdirSync(scratch.path('node_modules'));
  symlinkSync(ROOT, scratch.path('node_modules', 'compactfusion'));
  symlinkSync(join(ROOT, 'node_modules', '@types'), scratch.path('node_modules', '@types'));
  writeFileSync(scratch.path('package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(scratch.path('programmatic.ts'), readFileSync(join(ROOT, 'examples/programmatic.ts')));
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node'];
  execFileSync(process.execPath, [compiler, ...options, 'programmatic.ts'], { cwd: scratch.folder, stdio: 'pipe' });
  const args = [scratch.path('picture.png'), '2', join(ROOT, 'examples/models/scenes-flux')];
  const running = scratch.start([process.execPath, scratch.path('programmatic.js'), ...args], { env: { CFX_PYTHON: python() } });
  const { code, stdout, stderr } = await running.ended;
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain('256,256');
  expect(readFileSync(scratch.path('picture.png')).subarray(1, 4).toString()).toBe('PNG');
  expect(scratch.processes()).toEqual([]);
});
