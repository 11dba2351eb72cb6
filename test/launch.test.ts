import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isForeground, launch, readOutput } from '../src/launch.js';
import { endRunProcesses, findRunProcesses } from '../src/orphans.js';

// Processes start slowly on a busy machine.
jest.setTimeout(30_000);

const { env } = process;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cfx-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('exit codes', () => {
  test.each([
    ["the command's own", 'exit 0', 0],
    ["the command's own", 'exit 37', 37],
    ['128 + n for SIGKILL', 'kill -KILL $$', 137],
    ['128 + n for SIGTERM', 'kill -TERM $$', 143],
    ['128 + n for SIGINT', 'kill -INT $$', 130],
  ])('%s: sh -c "%s"', async (_name, program, code) => {
    expect(await launch(['sh', '-c', program], { env }).exited).toBe(code);
  });
});

describe('a command that cannot be started rejects both promises', () => {
  const both = async (command: string[], cwd?: string) => {
    const { started, exited } = launch(command, { env, cwd });
    await expect(exited).rejects.toThrow();
    return started.catch((error) => error);
  };
  test('not found', async () =>
    expect(await both(['no-such-command'])).toMatchObject({ code: 'CFX_COMMAND_NOT_FOUND', exitCode: 127 }));
  test('not executable', async () => {
    const file = join(folder, 'script');
    writeFileSync(file, 'echo');
    chmodSync(file, 0o600);
    expect(await both([file])).toMatchObject({ code: 'CFX_COMMAND_NOT_EXECUTABLE', exitCode: 126 });
  });
  test('an interpreter that is not there', async () => {
    const file = join(folder, 'script');
    writeFileSync(file, '#!/no/such/interpreter\n', { mode: 0o700 });
    expect(await both([file])).toMatchObject({ code: 'CFX_COMMAND_NOT_FOUND', message: expect.stringMatching(/interpreter/) });
  });
  test('a working directory that is not there', async () => {
    expect(await both(['true'], join(folder, 'none'))).toMatchObject({
      code: 'CFX_USAGE',
      message: expect.stringMatching(/working directory/),
    });
  });
  test('nothing', () => expect(() => launch([], { env })).toThrow(expect.objectContaining({ code: 'CFX_USAGE' })));
});

test('signal handlers are gone when the command is', async () => {
  const before = process.listenerCount('SIGTERM');
  const running = launch(['sleep', '60'], { env });
  await running.started;
  expect(process.listenerCount('SIGTERM')).toBe(before + 1);
  running.kill('SIGKILL');
  await running.exited;
  expect(process.listenerCount('SIGTERM')).toBe(before);
  await expect(launch(['no-such-command'], { env }).exited).rejects.toThrow();
  expect(process.listenerCount('SIGTERM')).toBe(before);
});

describe('signals', () => {
  const DIST = join(__dirname, '..', 'dist', 'launch.js');
  const CATCH = `for (const s of ['SIGINT','SIGTERM','SIGHUP','SIGQUIT','SIGUSR1','SIGUSR2']) process.on(s, () => { console.log(s); process.exit(7); });
console.log('up'); setTimeout(() => {}, 60000);`;

  // The sender is a process of its own: a signal to the test would reach jest.
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const)(
    '%s reaches the command once',
    async (signal) => {
      writeFileSync(join(folder, 'command.cjs'), CATCH);
      const program = `import { launch } from ${JSON.stringify(DIST)};
const { exited } = launch([process.execPath, ${JSON.stringify(join(folder, 'command.cjs'))}], { env: process.env });
process.exitCode = await exited;`;
      const file = join(folder, 'outer.mjs');
      writeFileSync(file, program);
      const outer = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'ignore'] });
      let output = '';
      outer.stdout.on('data', (data) => {
        output += data;
        if (output === 'up\n') outer.kill(signal);
      });
      const code = await new Promise((resolve) => outer.once('close', resolve));
      expect(output).toBe(`up\n${signal}\n`);
      expect(code).toBe(7);
    },
  );

  test('at a terminal, Ctrl-C reaches the command once and its answer is the exit code', async () => {
    writeFileSync(
      join(folder, 'command.cjs'),
      `let n = 0; process.on('SIGINT', () => { n++; setTimeout(() => { console.log('interrupts ' + n); process.exit(5); }, 300); }); console.log('up'); setTimeout(() => {}, 60000);`,
    );
    writeFileSync(
      join(folder, 'outer.mjs'),
      `import { launch } from ${JSON.stringify(DIST)};
process.exitCode = await launch([process.execPath, ${JSON.stringify(join(folder, 'command.cjs'))}], { env: process.env }).exited;`,
    );
    // A pseudo-terminal needs another language: Node has none of its own.
    const python = `import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
out = b""
sent = False
while True:
    try:
        data = os.read(fd, 1024)
    except OSError:
        break
    if not data:
        break
    out += data
    if b"up" in out and not sent:
        sent = True
        os.write(fd, b"\\x03")
print(out.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;
    const output = execFileSync('python3', ['-c', python, process.execPath, join(folder, 'outer.mjs')], { encoding: 'utf8' });
    expect(output).toMatch(/interrupts 1\s+5\s*$/);
  });

  test('the foreground process group is read from /proc, whatever the command is called', () => {
    expect(isForeground('12 (node) S 1 12 12 34816 12 4194304 0')).toBe(true);
    expect(isForeground('12 (node) S 1 12 12 34816 99 4194304 0')).toBe(false);
    expect(isForeground('12 (node) S 1 12 12 0 -1 4194304 0')).toBe(false);
    expect(isForeground('12 (a ) b) S 1 12 12 34816 12 4194304 0')).toBe(true);
  });
});

describe('what a launch leaves behind', () => {
  const start = async (program: string, run: string) => {
    const child = spawn(process.execPath, ['-e', `${program}; console.log('up'); setTimeout(() => {}, 60000)`], {
      env: { ...env, CFX_RUN: run },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    return child;
  };
  const gone = (child: Awaited<ReturnType<typeof start>>) => child.exitCode !== null || child.signalCode !== null;

  test('is ended, what is deaf to TERM too, and nothing else is touched', async () => {
    const mine = await start('', folder);
    const deaf = await start("process.on('SIGTERM', () => {})", folder);
    const foreign = await start('', `${folder}x`);
    try {
      expect(findRunProcesses(folder).sort()).toEqual([mine.pid, deaf.pid].sort());
      expect((await endRunProcesses(folder, { exitMs: 0, termMs: 200 })).sort()).toEqual([mine.pid, deaf.pid].sort());
      expect(findRunProcesses(folder)).toEqual([]);
      for (const child of [mine, deaf]) if (!gone(child)) await new Promise((resolve) => child.once('exit', resolve));
      expect(mine.signalCode).toBe('SIGTERM');
      expect(deaf.signalCode).toBe('SIGKILL');
      expect(gone(foreign)).toBe(false);
    } finally {
      for (const child of [mine, deaf, foreign]) child.kill('SIGKILL');
    }
  });

  test('is left alone while it is about to end by itself', async () => {
    const child = await start("process.on('SIGTERM', () => process.exit(9)); setTimeout(() => process.exit(3), 200)", folder);
    expect(await endRunProcesses(folder, { exitMs: 5000, termMs: 0 })).toEqual([]);
    if (!gone(child)) await new Promise((resolve) => child.once('exit', resolve));
    expect(child.exitCode).toBe(3);
  });
});

test('readOutput gives what a program prints, and rejects for one that hangs', async () => {
  expect(await readOutput(process.execPath, ['-p', '6*7'], { env, timeoutMs: 20_000 })).toBe('42\n');
  await expect(readOutput(process.execPath, ['-e', 'setTimeout(()=>{},60000)'], { env, timeoutMs: 100 })).rejects.toThrow();
});
