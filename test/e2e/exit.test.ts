/** Exit codes, streams, terminals, signals and the environment, through the real command line. The children are plain Python. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mistakesOf } from '../../src/validate.js';
import { FIXTURES, python, Scratch, until } from './fixtures/runs.js';

jest.setTimeout(120_000);

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

const program = (text: string) => [python(), '-c', text];
const attached = (command: string[], options: string[] = []) => scratch.cfx(['attach', ...options, '--', ...command]);

describe("the exit code is the child's own", () => {
  test.each([
    ['0', 'pass', 0],
    ['3', 'raise SystemExit(3)', 3],
    ['137 when SIGKILL ended it', 'import os; os.kill(os.getpid(), 9)', 137],
    ['143 when SIGTERM ended it', 'import os; os.kill(os.getpid(), 15)', 143],
  ])('%s', async (_name, text, code) => {
    expect(await attached(program(text)).ended).toMatchObject({ code, stdout: '' });
    expect(readdirSync(scratch.folder)).toEqual([]);
  });
});

describe('a command that cannot run', () => {
  test('127 where there is none', async () => {
    const { code, stdout, stderr } = await attached(['no-such-command']).ended;
    expect({ code, stdout }).toEqual({ code: 127, stdout: '' });
    expect(stderr).toMatch(/^cfx: CFX_COMMAND_NOT_FOUND: .*no-such-command/m);
  });
  test('126 where it is not executable', async () => {
    writeFileSync(scratch.path('script'), 'echo', { mode: 0o600 });
    const { code, stderr } = await attached([scratch.path('script')]).ended;
    expect(code).toBe(126);
    expect(stderr).toMatch(/^cfx: CFX_COMMAND_NOT_EXECUTABLE: /m);
  });
  test.each([[['attach']], [['attach', '--']], [['attach', '--no-such-flag', '--', 'true']], [['atach', '--', 'true']]])(
    '64 for mistakes in our own part: cfx %j',
    async (argv) => {
      const { code, stdout, stderr } = await scratch.cfx(argv).ended;
      expect({ code, stdout }).toEqual({ code: 64, stdout: '' });
      expect(stderr).toMatch(/^cfx: CFX_USAGE: /);
    },
  );
});

describe('streams', () => {
  test('stdin and stdout are the child’s to the byte, every line of ours is on stderr, with --json the summary is the last', async () => {
    const running = attached(program('import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())'), ['--json']);
    running.stdin.end('no line end\n\nat the end');
    const { code, stdout, stderr } = await running.ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'no line end\n\nat the end' });
    const lines = stderr.trimEnd().split('\n');
    const summary = JSON.parse(lines.at(-1)!);
    expect(mistakesOf('summary', summary)).toEqual([]);
    expect(summary).toMatchObject({ exitCode: 0, ranks: [], totals: { rawBytes: 0, ratio: null } });
    expect(lines.slice(0, -1).filter((line) => !line.startsWith('cfx: '))).toEqual([]);
  });

  test('--quiet prints no proof block', async () => {
    const { stderr } = await attached(program('print("x")'), ['--quiet']).ended;
    expect(stderr).not.toMatch(/^cfx: (policy|ranks|sent) /m);
  });

  test('the child keeps the terminal', async () => {
    const isTerminal = program('import sys; print([each.isatty() for each in (sys.stdin, sys.stdout, sys.stderr)])');
    const { stdout } = await scratch.start(
      [...[python(), join(FIXTURES, 'at_terminal.py'), process.execPath, 'dist/cli.js', 'attach', '--', ...isTerminal]],
      { cwd: join(FIXTURES, '../../..') },
    ).ended;
    const { written, code } = JSON.parse(stdout);
    expect(written).toContain('[True, True, True]\n');
    expect(code).toBe(0);
  });
});

describe('the environment', () => {
  const report = (name: string) => scratch.path(name);
  const dump = (name: string) =>
    program(`import json, os, sys; json.dump(dict(os.environ), open(${JSON.stringify(report(name))}, 'w'))`);
  const read = (name: string): { [name: string]: string } => JSON.parse(readFileSync(report(name), 'utf8'));

  test('the child gets CFX_RUN and PYTHONPATH and nothing else', async () => {
    await scratch.start(dump('direct')).ended;
    await attached(dump('attached')).ended;
    const { CFX_RUN, PYTHONPATH, ...rest } = read('attached');
    expect(CFX_RUN).toMatch(/\/cfx-\w{6}$/);
    expect(PYTHONPATH).toBe(`${CFX_RUN}/site`);
    expect(rest).toEqual(read('direct'));
  });

  test('CFX_DISABLE=1 leaves it alone, and no line is printed', async () => {
    const env = { CFX_DISABLE: '1', PYTHONPATH: '/mine' };
    await scratch.start(dump('direct'), { env }).ended;
    const ended = await scratch.cfx(['attach', '--', ...dump('disabled')], { env }).ended;
    expect(ended).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(read('disabled')).toEqual(read('direct'));
    expect(readdirSync(scratch.folder).sort()).toEqual(['direct', 'disabled']);
  });

  test("the user's own sitecustomize runs once, beside ours", async () => {
    mkdirSync(scratch.path('mine'));
    const notes = `import os\nopen(${JSON.stringify(report('ran'))}, 'a').write(f'{os.getpid()}\\n')\nMINE = 'yes'\n`;
    writeFileSync(scratch.path('mine', 'sitecustomize.py'), notes);
    const text = 'import os, sys, sitecustomize; print(sitecustomize.MINE, "cfx_shim.boot" in sys.modules, os.getpid())';
    const env = { PYTHONPATH: scratch.path('mine') };
    const { stdout } = await scratch.cfx(['attach', '--', ...program(text)], { env }).ended;
    const [mine, ours, pid] = stdout.trim().split(' ');
    expect([mine, ours]).toEqual(['yes', 'True']);
    const pids = readFileSync(report('ran'), 'utf8').trim().split('\n');
    expect(pids.filter((each) => each === pid)).toHaveLength(1);
  });
});

describe('an interrupt reaches the child once', () => {
  const counting = () => [python(), join(FIXTURES, 'count_interrupts.py')];

  test('when it is sent to attach alone', async () => {
    const running = attached(counting());
    await until('the child', () => running.output() === 'up\n');
    running.child.kill('SIGINT');
    await until('the interrupt', () => running.output() === 'up\ninterrupted\n');
    running.child.kill('SIGUSR1');
    expect(await running.ended).toMatchObject({ code: 1, stdout: 'up\ninterrupted\n' });
  });

  test('when Ctrl-C is typed at a terminal', async () => {
    const command = [process.execPath, 'dist/cli.js', 'attach', '--', ...counting()];
    const { stdout } = await scratch.start([python(), join(FIXTURES, 'at_terminal.py'), ...command], {
      cwd: join(FIXTURES, '../../..'),
    }).ended;
    const { written, code } = JSON.parse(stdout);
    expect(code).toBe(1);
    expect(written.match(/interrupted/g)).toHaveLength(1);
  });
});
