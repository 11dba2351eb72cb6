/** How an attached launch ends, and what is left of it. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { base, fakeRanks, finish, GOOD, lines, once, start, text } from './fixtures/launches.js';

// Node processes start slowly on a busy machine.
jest.setTimeout(60_000);

describe('the end', () => {
  const isAlive = (pid: number) => {
    try {
      process.kill(pid, 0);
      return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
      return false;
    }
  };

  test('of the command leaves no rank, deaf ones included, and touches no process of another run', async () => {
    const running = await start(
      fakeRanks({ leave: {} }, { leave: { ignoreTerm: true } }, { leave: { foreign: true } }, { exit: 3 }),
      { stdio: 'pipe' },
    );
    const output = text(running.stdout);
    expect(await running.done).toMatchObject({ exitCode: 3 });
    const [left, deaf, foreign] = (await output).trim().split('\n').map(Number) as [number, number, number];
    try {
      expect([left, deaf, foreign].map(isAlive)).toEqual([false, false, true]);
      expect(lines.some((line) => /ended 2 processes/.test(line))).toBe(true);
    } finally {
      process.kill(foreign, 'SIGKILL');
    }
  });

  test('by stop ends a command that is deaf to TERM', async () => {
    const running = await start(fakeRanks({ ignore: 'SIGTERM' }, { hello: {} }, { sleep: 60_000 }));
    await once('hello');
    expect(await running.stop()).toMatchObject({ exitCode: 137 });
  });

  test('by an AbortSignal', async () => {
    const abort = new AbortController();
    const running = await start(fakeRanks({ hello: {} }, { sleep: 60_000 }), { signal: abort.signal });
    await once('hello');
    abort.abort();
    expect(await running.done).toMatchObject({ exitCode: 143 });
  });

  test('an aborted stop stops waiting', async () => {
    const running = await start(fakeRanks({ sleep: 60_000 }));
    await expect(running.stop({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
    expect(await running.done).toMatchObject({ exitCode: 143 });
  });

  test('of a rank without a bye is told', async () => {
    const summary = await finish(
      fakeRanks({ hello: {} }, { ready: {} }, { telemetry: 7 }, { sleep: 50 }, { killSelf: 'SIGKILL' }),
    );
    expect(summary).toMatchObject({ exitCode: 137, totals: { rawBytes: 70 }, ranks: [{ finished: false }] });
  });

  test('of the orchestrator by SIGKILL leaves the launch to its own end', async () => {
    const marker = join(base, 'ended');
    const entry = join(__dirname, '..', 'dist', 'attach.js');
    const program = join(base, 'orchestrator.mjs');
    const ranks = fakeRanks(
      { hello: {} },
      { ready: {} },
      { print: 'up' },
      { sleep: 1000 },
      { telemetry: 5 },
      { bye: 5 },
      { exit: 4 },
    );
    const command = ['sh', '-c', `"$0" "$@"; echo code $? > ${marker}`, ...ranks];
    writeFileSync(
      program,
      `import { attach } from ${JSON.stringify(entry)};
await attach({ command: ${JSON.stringify(command)}, policy: 'off' });`,
    );
    const orchestrator = spawn(process.execPath, [program], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, CFX_RUNTIME_DIR: base },
    });
    await new Promise((resolve) => orchestrator.stdout.once('data', resolve));
    orchestrator.kill('SIGKILL');
    while (!existsSync(marker) || readFileSync(marker, 'utf8') === '') await new Promise((resolve) => setTimeout(resolve, 20));
    expect(readFileSync(marker, 'utf8')).toBe('code 4\n');
  });
});

test('attach lets Node exit when the launch has ended', async () => {
  const program = join(base, 'program.mjs');
  const entry = join(__dirname, '..', 'dist', 'attach.js');
  writeFileSync(
    program,
    `import { attach } from ${JSON.stringify(entry)};
const handle = await attach({ command: ${JSON.stringify(fakeRanks(...GOOD))}, policy: 'off' });
console.log((await handle.done).totals.rawBytes);`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [program], { env: { ...process.env, CFX_RUNTIME_DIR: base } });
  expect(stdout).toBe('2000\n');
});
