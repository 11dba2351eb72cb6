import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { transformFileSync } from '@swc/core';
import type { PythonSession } from '../src/python.js';
import { openPython } from '../src/python.js';

// Processes start slowly on a busy machine.
jest.setTimeout(60_000);

const python = process.env.CFX_TEST_PYTHON;
if (!python) throw new Error('CFX_TEST_PYTHON is not set; the jest global set-up names the managed interpreter in it');

let session: PythonSession | null = null;
const open = async (options: Parameters<typeof openPython>[0] = {}) => (session = await openPython({ python, ...options }));
afterEach(async () => {
  await session?.close();
  session = null;
});

test('runs statements in a namespace that lasts, and returns plain data', async () => {
  const opened = await open();
  expect(await opened.run('x = [1, 2.5, "ä", None, True]')).toBeNull();
  expect(await opened.run('result = {"x": x, "n": n, "deep": (1, {"a": 2})}', { n: 7 })).toEqual({
    x: [1, 2.5, 'ä', null, true],
    n: 7,
    deep: [1, { a: 2 }],
  });
  expect(await opened.run('pass')).toBeNull();
});

test('numbers that JavaScript cannot hold arrive as text, not as a crash', async () => {
  const opened = await open();
  expect(await opened.run('result = [float("nan"), float("inf"), -float("inf"), 2**53, 2**53 - 1, -2**60]')).toEqual([
    'nan',
    'inf',
    '-inf',
    '9007199254740992',
    9007199254740991,
    '-1152921504606846976',
  ]);
});

test('an exception in Python rejects with its traceback, and the session lives on', async () => {
  const opened = await open();
  await expect(opened.run('1 / 0')).rejects.toMatchObject({
    code: 'CFX_PYTHON',
    message: expect.stringMatching(/ZeroDivisionError/),
  });
  await expect(opened.run('raise SystemExit(3)')).rejects.toThrow(/SystemExit/);
  await expect(opened.run('result = object()')).rejects.toThrow(/builtins\.object; expected plain data/);
  await expect(opened.run('def')).rejects.toThrow(/SyntaxError/);
  expect(await opened.run('result = 1')).toBe(1);
});

test('a Python that dies rejects the pending call and every later one', async () => {
  const opened = await open();
  const pending = opened.run('import os, time\nos.kill(os.getpid(), 9)\ntime.sleep(60)');
  await expect(pending).rejects.toMatchObject({ code: 'CFX_PYTHON', message: expect.stringMatching(/SIGKILL/) });
  await expect(opened.run('result = 1')).rejects.toMatchObject({ code: 'CFX_PYTHON' });
  await opened.close();
});

test('a call that takes too long is rejected and ends the session', async () => {
  const opened = await open({ timeoutSeconds: 0.3 });
  await expect(opened.run('import time\ntime.sleep(60)')).rejects.toThrow(/longer than 0.3 s/);
  await expect(opened.run('result = 1')).rejects.toMatchObject({ code: 'CFX_PYTHON' });
});

test('a session can be opened again after a close, but not beside another', async () => {
  const first = await open();
  await expect(openPython({ python })).rejects.toThrow(/open already/);
  await first.run('x = 1');
  await first.close();
  const second = await open();
  expect(second.pid).not.toBe(first.pid);
  await expect(second.run('x')).rejects.toThrow(/NameError/);
});

test('close ends a Python that ignores SIGTERM', async () => {
  const opened = await open();
  await opened.run('import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)');
  await opened.close();
  expect(() => process.kill(opened.pid, 0)).toThrow(/ESRCH/);
});

describe('without a usable Python', () => {
  test.each([
    ['a name that is not there', 'no-such-python'],
    ['a path that is not there', '/no/such/python'],
    ['a file that is not executable', __filename],
    ['a program that is no Python', '/bin/true'],
  ])('%s is a CFX_PYTHON error', async (_name, file) => {
    await expect(openPython({ python: file })).rejects.toMatchObject({
      code: 'CFX_PYTHON',
      message: expect.stringContaining(file),
    });
  });
});

test('Node exits by itself after close; Python had the given environment and left stdout alone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cfx-python-'));
  try {
    // A program of its own, against the build: whether Node exits can only be seen from outside.
    const entry = join(__dirname, '..', 'dist', 'index.js');
    const file = join(folder, 'program.mjs');
    writeFileSync(
      file,
      `import { openPython } from ${JSON.stringify(entry)};
const before = JSON.stringify(process.env);
const env = { PATH: process.env.PATH, ONLY: 'this' };
const session = await openPython({ python: ${JSON.stringify(python)}, env });
const names = '["ONLY", "HOME", "PYTHON_BIN", "NODE_CHANNEL_FD"]';
console.log(JSON.stringify(await session.run('print("from python")\\nimport os\\nos.system("echo from a child")\\nresult = [os.environ.get(name) for name in ' + names + ']')));
await session.close();
console.log(before === JSON.stringify(process.env));
`,
    );
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { env: { ...process.env, HOME: '/nowhere' } });
    expect(stdout).toBe('["this",null,null,null]\ntrue\n');
    expect(stderr).toMatch(/from python\n/);
    expect(stderr).toMatch(/from a child\n/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('examples/programmatic.ts writes a picture, and its process exits', async () => {
  const root = join(__dirname, '..');
  // Inside the package, so that it finds the package by name as a user's program does.
  mkdirSync(join(root, '.build'), { recursive: true });
  const folder = mkdtempSync(join(root, '.build', 'example-'));
  try {
    const file = join(folder, 'programmatic.mjs');
    const options = { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'es6' } } as const;
    writeFileSync(file, transformFileSync(join(root, 'examples', 'programmatic.ts'), options).code);
    const picture = join(folder, 'picture.png');
    const { stdout } = await promisify(execFile)(process.execPath, [file, picture, '2'], {
      cwd: root,
      env: { ...process.env, CFX_PYTHON: python },
    });
    expect(stdout).toBe(`wrote ${picture}, 256,256\n`);
    expect(readFileSync(picture).subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 240_000);
