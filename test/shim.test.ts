import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { channelProblems, explainSilence } from '../src/diagnosis.js';
import { SHIM_PATH } from '../src/package.js';
import { compilePlan } from '../src/plan.js';
import { composeRun, makeRunFolder, readProcesses, writeRunTo } from '../src/shim.js';
import { validateRun } from '../src/validate.js';

const PLAN = compilePlan({ preset: 'identity' });
let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'cfx-test-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

test('a run is complete, valid by its schema and has a secret of its own', () => {
  const [first, second] = [composeRun({ plan: PLAN }), composeRun({ plan: PLAN })];
  expect(validateRun(first)).toEqual(first);
  expect(first).toMatchObject({
    endpoint: '',
    device: '',
    sidePath: '',
    strict: false,
    verify: false,
    refusal: null,
    observe: null,
    plan: PLAN,
    adapters: ['xdit'],
  });
  expect(first.token).toMatch(/^[0-9a-f]{32}$/);
  expect(first.token).not.toBe(second.token);
});

test('the run folder is fresh, short-named and owner-only whatever the umask', () => {
  const umask = process.umask(0);
  try {
    const [one, two] = [makeRunFolder(base), makeRunFolder(base)];
    expect(one).not.toBe(two);
    expect(one.slice(base.length)).toMatch(/^\/cfx-.{6}$/);
    const run = composeRun({ plan: PLAN });
    writeRunTo(one, run);
    expect([one, join(one, 'site'), join(one, 'processes')].map(mode)).toEqual(['700', '700', '700']);
    expect(mode(join(one, 'run.json'))).toBe('600');
    expect(JSON.parse(readFileSync(join(one, 'run.json'), 'utf8'))).toEqual(run);
  } finally {
    process.umask(umask);
  }
});

test('sitecustomize is the file of the shim, unchanged', () => {
  const { folder } = writeRunTo(join(base, 'out'), composeRun({ plan: PLAN }));
  expect(readFileSync(join(folder, 'site', 'sitecustomize.py'))).toEqual(
    readFileSync(join(SHIM_PATH, 'bootstrap', 'sitecustomize.py')),
  );
});

test('the environment puts the site folder before what was there, as an absolute path', () => {
  const run = composeRun({ plan: PLAN });
  const folder = join(base, 'out');
  expect(writeRunTo(folder, run)).toEqual({ folder, env: { CFX_RUN: folder, PYTHONPATH: join(folder, 'site') } });
  expect(writeRunTo(folder, run, 'a:/b').env.PYTHONPATH).toBe(`${join(folder, 'site')}:a:/b`);
  expect(writeRunTo(folder, run, '').env.PYTHONPATH).toBe(join(folder, 'site'));
});

test('a folder written before is written anew, its old processes forgotten', () => {
  const folder = join(base, 'out');
  writeRunTo(folder, composeRun({ plan: PLAN }));
  writeFileSync(join(folder, 'processes', '1.json'), '{"pid":1,"rank":0}');
  const run = composeRun({ plan: PLAN });
  writeRunTo(folder, run);
  expect(readProcesses(folder)).toEqual([]);
  expect(JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8')).token).toBe(run.token);
});

test('a folder that others can enter is refused', () => {
  const folder = join(base, 'open');
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  expect(() => writeRunTo(folder, composeRun({ plan: PLAN }))).toThrow(
    expect.objectContaining({ code: 'CFX_CONTROL', message: expect.stringMatching(/mode 755, expected 700/) }),
  );
  expect(existsSync(join(folder, 'run.json'))).toBe(false);
});

test('a place where no folder can be made is a CFX_CONTROL error', () => {
  expect(() => makeRunFolder(join(base, 'none'))).toThrow(
    expect.objectContaining({ code: 'CFX_CONTROL', fix: expect.stringMatching(/CFX_RUNTIME_DIR/) }),
  );
  writeFileSync(join(base, 'file'), '');
  expect(() => writeRunTo(join(base, 'file'), composeRun({ plan: PLAN }))).toThrow(
    expect.objectContaining({ code: 'CFX_CONTROL' }),
  );
});

describe('what processes wrote down', () => {
  const write = (name: string, text: string) => {
    mkdirSync(join(base, 'processes'), { recursive: true });
    writeFileSync(join(base, 'processes', name), text);
  };
  const problem = { code: 'CFX_PY_MISSING', reason: 'no module zmq' } as const;

  test('is read, what is damaged or foreign left out', () => {
    write('1.json', '{"pid":1,"rank":null,"joined":false}');
    write('2.json', JSON.stringify({ pid: 2, rank: 0, joined: true, problem }));
    write('3.json', '{"pid":3,"ra');
    write('4.json', '{"pid":"4"}');
    write('5.json', '{"pid":5,"rank":1,"problem":{"code":"NO_SUCH","reason":"r"}}');
    write('6.txt', '{"pid":6,"rank":null}');
    expect(readProcesses(base).sort((a, b) => a.pid - b.pid)).toEqual([
      { pid: 1, rank: null, joined: false },
      { pid: 2, rank: 0, joined: true, problem },
      { pid: 5, rank: 1, joined: false },
    ]);
    expect(readProcesses(join(base, 'none'))).toEqual([]);
  });

  test('tells why no rank said hello', () => {
    const only = (processes: Parameters<typeof explainSilence>[0]) => explainSilence(processes)[0];
    expect(only([])).toMatchObject({
      code: 'CFX_NO_HELLO',
      reason: expect.stringMatching(/no Python process of the launch loaded cfx/),
    });
    expect(only([{ pid: 1, rank: 0, joined: false }])).toMatchObject({
      code: 'CFX_NO_HELLO',
      reason: expect.stringMatching(/1 Python process loaded cfx, but none called torch\.distributed\.init_process_group/),
    });
    expect(
      only([
        { pid: 1, rank: 1, joined: true },
        { pid: 2, rank: 0, joined: true },
      ]),
    ).toMatchObject({ code: 'CFX_NO_HELLO', reason: expect.stringMatching(/rank 0, rank 1 joined/) });
    expect(
      explainSilence([
        { pid: 1, rank: 1, joined: true, problem },
        { pid: 2, rank: 0, joined: true, problem },
        { pid: 3, rank: null, joined: false },
      ]),
    ).toEqual([{ ...problem, count: 2 }]);
    expect(channelProblems([{ pid: 1, rank: 1, joined: true }])).toEqual([]);
  });
});
