import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Option } from 'commander';
import { SHIM_PATH, VERSION } from '../src/package.js';
import { createProgram, runProgram } from '../src/program.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cfx-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function cfx(argv: string[], env: { [name: string]: string | undefined } = { PATH: process.env.PATH }) {
  const result = { code: 0, out: '', err: '' };
  const io = { out: (text: string) => void (result.out += text), err: (text: string) => void (result.err += text) };
  result.code = await runProgram(argv, { env, cwd: folder, home: folder, ...io });
  return result;
}

/** Growing the command line is a decision: change this list in the same commit. */
const FROZEN = {
  attach:
    '--agree-timeout --config --device --dry-run --hello-timeout --json --policy --print-config --python --quiet --report --strict --verify',
  plan: '--batch --branches --channels --config --dtype --heads --json --layers --policy --ring --steps --tokens --ulysses',
  doctor: '--config --json --python',
  shim: '--agree-timeout --config --device --out --policy --python --strict --verify',
  setup: '--print-python --python --side',
  record: '--agree-timeout --config --device --hello-timeout --layers --out --python --roles --steps --token-stride',
  report: '',
  eval: '--agree-timeout --config --device --hello-timeout --json --judge --lpips-weights --measure --out --policies --prompts --python --seeds --trace --verify',
  demo: '--out --policy --prompt --ring --seed --steps --ulysses',
  bench: '',
  'bench codecs':
    '--bandwidth --channels --codecs --demo --device --dtype --json --large-mib --launch-us --peers --python --repeats --statistics --step-ms --threads --tokens --trace',
};

describe('the command line', () => {
  test('It has exactly these commands and flags', () => {
    const program = createProgram(
      { env: {}, cwd: '/', home: '/', launch: null, out: () => undefined, err: () => undefined },
      () => undefined,
    );
    const flags = (options: readonly Option[]) =>
      options
        .map(({ long }) => long)
        .sort()
        .join(' ');
    const all = program.commands.flatMap((command) => [
      [command.name(), command] as const,
      ...command.commands.map((inner) => [`${command.name()} ${inner.name()}`, inner] as const),
    ]);
    expect(Object.fromEntries(all.map(([name, command]) => [name, flags(command.options)]))).toEqual(FROZEN);
    expect(flags(program.options)).toBe('--version');
  });

  test('--help and --version go to stdout with exit code 0; nothing at all gets the help on stderr', async () => {
    expect(await cfx(['--version'])).toEqual({ code: 0, out: `${VERSION}\n`, err: '' });
    expect(await cfx(['--help'])).toMatchObject({ code: 0, out: expect.stringContaining('attach'), err: '' });
    expect(await cfx(['attach', '--help'])).toMatchObject({ code: 0, out: expect.stringContaining('-- <launch command>') });
    expect(await cfx([])).toMatchObject({ code: 64, out: '', err: expect.stringContaining('attach') });
  });

  test.each([
    [['attahc'], /unknown command 'attahc'.*attach/],
    [['attach', '--polici', 'off', '--', 'true'], /unknown option '--polici'.*--policy/],
    [['attach', '--policy', '--', 'true'], /argument missing/],
    [['attach', 'torchrun', 'x.py'], /too many arguments/],
    [['attach', '--policy', 'off'], /found no launch command; expected "cfx attach \[options\] -- <command>"/],
    [['attach', '--'], /found no launch command/],
    [['shim'], /--out <dir>/],
    [['record'], /--out <dir>/],
    [['eval', '--trace', 'nowhere'], /nowhere does not exist/],
    [['eval', '--trace', '.', '--', 'true'], /both --trace and a launch/],
    [['record', '--out', 'x'], /no launch command/],
    [['record', '--out', 'x', '--roles', 'q,z'], /"z"; expected some of q,k,v,o/],
    [['record', '--out', 'x', '--layers', '3-1'], /both ends included/],
    [['record', '--out', 'x', '--token-stride', '0'], /positive integer/],
  ])('%j is refused with the usage code', async (argv, message) => {
    const { code, out, err } = await cfx(argv);
    expect({ code, out }).toEqual({ code: 64, out: '' });
    expect(err).toMatch(/^cfx: CFX_USAGE: /);
    expect(err).toMatch(message);
    expect(err.trim().split('\n')).toHaveLength(1);
  });

  test('What follows "--" is not ours, even where it looks so', async () => {
    const { code, out } = await cfx([
      'attach',
      '--dry-run',
      '--json',
      '--',
      'python3',
      'x.py',
      '--policy',
      'none',
      '--help',
      '--',
      '-V',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(out).command).toEqual(['python3', 'x.py', '--policy', 'none', '--help', '--', '-V']);
  });
});

describe('cfx attach without starting anything', () => {
  test('--print-config says where each value came from: flag, environment, file, default', async () => {
    await writeFile(join(folder, 'cfx.config.json'), '{ "policy": "identity", "strict": true, "verify": true }');
    const { code, out } = await cfx(['attach', '--print-config', '--json', '--policy', 'off'], { CFX_STRICT: '0' });
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      policy: { value: 'off', origin: 'flag --policy' },
      strict: { value: false, origin: 'env CFX_STRICT' },
      verify: { value: true, origin: `file ${join(folder, 'cfx.config.json')}` },
      helloTimeoutSeconds: { value: 120, origin: 'default' },
    });
  });

  test('--print-config as text needs no launch command', async () => {
    expect((await cfx(['attach', '--print-config', '--agree-timeout', '7'])).out).toMatch(
      /agreeTimeoutSeconds +7 +flag --agree-timeout/,
    );
  });

  test('All mistakes in the configuration are reported at once', async () => {
    await writeFile(join(folder, 'cfx.config.json'), '{\n  "polcy": "off",\n  "strict": "maybe"\n}');
    const { code, err } = await cfx(['attach', '--device', 'gpu', '--', 'true']);
    expect(code).toBe(78);
    for (const mistake of [/cfx\.config\.json:2: .*polcy/, /cfx\.config\.json:3: .*strict/, /--device/])
      expect(err).toMatch(mistake);
    for (const line of err.trim().split('\n')) expect(line).toMatch(/^cfx: /);
  });

  test('--dry-run names the environment, the shim, the plan and the refusals, and starts nothing', async () => {
    const { code, out } = await cfx(['attach', '--dry-run', '--', 'touch', join(folder, 'started'), '--use_fp8_comms'], {
      PATH: process.env.PATH,
      PYTHONPATH: '/mine',
    });
    expect(code).toBe(0);
    expect(out).toContain('PYTHONPATH=<run folder>/site:/mine');
    expect(out).toContain(`shim         ${SHIM_PATH}`);
    expect(out).toMatch(/plan .*paper-2bit/);
    expect(out).toMatch(/refused +CFX_FP8_COMMS/);
    expect(out).toContain('nothing was started');
    await expect(stat(join(folder, 'started'))).rejects.toThrow();
  });
});

describe('cfx attach on commands that are no ranks', () => {
  test("The exit code is the command's", async () => {
    expect((await cfx(['attach', '--quiet', '--', 'sh', '-c', 'exit 7'])).code).toBe(7);
    expect((await cfx(['attach', '--quiet', '--', 'sh', '-c', 'kill -KILL $$'])).code).toBe(137);
  });

  test('A command that is not there, or not executable, has its own code', async () => {
    expect(await cfx(['attach', '--', 'no-such-command-at-all'])).toMatchObject({
      code: 127,
      err: expect.stringMatching(/CFX_COMMAND_NOT_FOUND.*no-such-command-at-all/),
    });
    await writeFile(join(folder, 'script'), '#!/bin/sh\n');
    await chmod(join(folder, 'script'), 0o644);
    expect(await cfx(['attach', '--', join(folder, 'script')])).toMatchObject({
      code: 126,
      err: expect.stringContaining('CFX_COMMAND_NOT_EXECUTABLE'),
    });
  });

  test('--strict stops before the command when something keeps cfx from compressing', async () => {
    const { code, err } = await cfx(['attach', '--strict', '--', 'touch', join(folder, 'started'), '--use_teacache']);
    expect(code).toBe(96);
    expect(err).toMatch(/^cfx: CFX_STEP_CACHE: .*--use_teacache/m);
    await expect(stat(join(folder, 'started'))).rejects.toThrow();
  });

  test('Without --strict it runs, and the reason is said', async () => {
    const { code, err } = await cfx([
      'attach',
      '--quiet',
      '--',
      'touch',
      join(folder, 'started'),
      '--no-create',
      '--use_teacache',
    ]);
    expect(code).toBe(1); // touch knows no --use_teacache
    expect(err).toMatch(/CFX_STEP_CACHE/);
  });

  test('--report and --json give the summary as a file and as the last line on stderr', async () => {
    const { code, err } = await cfx(['attach', '--json', '--report', 'report.json', '--', 'true']);
    expect(code).toBe(0);
    const last = JSON.parse(err.trim().split('\n').at(-1)!);
    expect(last).toMatchObject({ exitCode: 0, ranks: [], policy: 'paper-2bit' });
    expect(JSON.parse(await readFile(join(folder, 'report.json'), 'utf8'))).toEqual(last);
    const rendered = await cfx(['report', 'report.json']);
    expect(rendered.code).toBe(0);
    for (const line of rendered.out.trim().split('\n')) expect(line).toMatch(/^cfx:/);
  });

  test('CFX_DISABLE=1 runs the command as if cfx were not there', async () => {
    const env = { PATH: process.env.PATH, CFX_DISABLE: '1' };
    const script = `echo "run=$CFX_RUN path=$PYTHONPATH" > ${join(folder, 'seen')}; exit 5`;
    const { code, out, err } = await cfx(['attach', '--strict', '--', 'sh', '-c', script], env);
    expect({ code, out, err }).toEqual({ code: 5, out: '', err: '' });
    expect(await readFile(join(folder, 'seen'), 'utf8')).toBe('run= path=\n');
    expect((await cfx(['attach', '--', 'no-such-command-at-all'], env)).code).toBe(127);
  });
});

describe('cfx shim', () => {
  test('It writes a run folder without an endpoint and prints the two variables', async () => {
    const { code, out } = await cfx(['shim', '--out', 'run', '--policy', 'identity', '--device', 'cpu']);
    expect(code).toBe(0);
    expect(out).toBe(`CFX_RUN=${join(folder, 'run')}\nPYTHONPATH=${join(folder, 'run/site')}\n`);
    const run = JSON.parse(await readFile(join(folder, 'run/run.json'), 'utf8'));
    expect(run).toMatchObject({ endpoint: '', device: 'cpu', shimPath: SHIM_PATH, plan: { policy: 'identity' }, refusal: null });
    expect((await stat(join(folder, 'run'))).mode & 0o777).toBe(0o700);
  });

  test('What keeps the command from being compressed is written into it', async () => {
    const { err } = await cfx(['shim', '--out', 'run', '--', 'xdit', '--use_fp8_comms']);
    expect(err).toContain('CFX_FP8_COMMS');
    expect(JSON.parse(await readFile(join(folder, 'run/run.json'), 'utf8')).refusal).toMatchObject({ code: 'CFX_FP8_COMMS' });
  });
});

describe('cfx report', () => {
  test('A file that is not there or is no report is named', async () => {
    expect(await cfx(['report', 'none.json'])).toMatchObject({ code: 64, err: expect.stringContaining('none.json') });
    await writeFile(join(folder, 'other.json'), '{"planId": 3}');
    expect(await cfx(['report', 'other.json'])).toMatchObject({
      code: 64,
      err: expect.stringContaining('is not a report of a run'),
    });
  });
});

test('An unexpected error is told as a defect, with stack and versions', async () => {
  const io = {
    out: () => {
      throw new Error('disk on fire');
    },
    err: (text: string) => void (err += text),
  };
  let err = '';
  expect(await runProgram(['plan'], { env: {}, cwd: folder, home: folder, ...io })).toBe(99);
  expect(err).toMatch(/CFX_INTERNAL: Error: disk on fire\n[\s\S]*versions: cfx .*node v/);
});

test('The built command runs as a program, by its own first line', async () => {
  const { stdout } = await new Promise<{ stdout: string }>((resolve, reject) => {
    execFile(join(__dirname, '../dist/cli.js'), ['--version'], (error, out) =>
      error ? reject(error) : resolve({ stdout: out }),
    );
  });
  expect(stdout).toBe(`${VERSION}\n`);
});
