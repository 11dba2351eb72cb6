import { detect, isOlder } from '../src/detect.js';
import type { Interpreter } from '../src/interpreter.js';
import type { Machine, Probe } from '../src/probe.js';

const machine: Machine = {
  python: '/venv/bin/python',
  version: '3.11.7',
  implementation: 'cpython',
  prefix: '/venv',
  abi: 'cpython-311',
  distributions: {
    torch: '2.15.0+cu130',
    triton: null,
    xfuser: '0.7.0',
    yunchang: '0.6.4',
    diffusers: '0.42.1',
    transformers: '5.23.0',
    pyzmq: '27.3.0',
    msgpack: '1.2.4',
    numpy: '2.4.6',
  },
  missing: [],
  hasUserSitecustomize: false,
};
const interpreter: Interpreter = {
  command: ['/venv/bin/python'],
  flags: [],
  certain: true,
  launcher: false,
  notFound: null,
  dropsEnvironment: false,
};

const look = (
  command: string[],
  changes: {
    machine?: Partial<Machine>;
    interpreter?: Partial<Interpreter>;
    hasSide?: boolean;
    env?: { [name: string]: string };
  } = {},
) => {
  const probe: Probe = { machine: { ...machine, ...changes.machine }, interpreter: { ...interpreter, ...changes.interpreter } };
  return detect({ command, probe, hasSide: changes.hasSide ?? false, env: changes.env ?? {} });
};
const codes = (...input: Parameters<typeof look>) => look(...input).refusals.map(({ code }) => code);
const withVersion = (name: string, version: string | null) => ({
  machine: { distributions: { ...machine.distributions, [name]: version } },
});

test('A supported launch has nothing against it', () => {
  expect(look(['torchrun', 'x.py', '--ulysses_degree', '2'])).toEqual({ refusals: [], warnings: [], advice: [] });
});

test.each([
  [['--use_fp8_comms'], 'CFX_FP8_COMMS'],
  [['--use-fp8-comms=True'], 'CFX_FP8_COMMS'],
  [['--use_teacache'], 'CFX_STEP_CACHE'],
  [['--use_fbcache'], 'CFX_STEP_CACHE'],
  [['--cache_method', 'dbcache'], 'CFX_STEP_CACHE'],
  [['--cache-method=fbcache'], 'CFX_STEP_CACHE'],
  [['--use_spargeattn_head_balance'], 'CFX_HEAD_BALANCE'],
])('%s is refused with %s', (flags, code) => {
  const { refusals } = look(['xdit', '--model', 'm', ...flags]);
  expect(refusals.map((each) => each.code)).toEqual([code]);
  expect(refusals[0]!.message).toContain(flags[0]!.split('=')[0]!);
  expect(refusals[0]!.message).toMatch(/expected/);
  expect(refusals[0]!.fix).not.toBe('');
});

test.each(['-I', '-S', '-E', '-uI', '-BES'])('python %s is refused, as the hook does not run', (flag) => {
  expect(codes(['python', flag, 'x.py'], { interpreter: { flags: [flag] } })).toEqual(['CFX_ISOLATED_PYTHON']);
});

test.each(['-u', '-s', '-P', '-WIgnore', '-XEfoo'])('python %s is fine', (flag) => {
  expect(codes(['python', flag, 'x.py'], { interpreter: { flags: [flag] } })).toEqual([]);
});

test("A launcher's own flags do not reach its ranks", () => {
  expect(
    codes(['python', '-I', '-m', 'torch.distributed.run', 'x.py'], { interpreter: { flags: ['-I'], launcher: true } }),
  ).toEqual([]);
});

test('An emptied environment is refused', () => {
  expect(codes(['env', '-i', 'python', 'x.py'], { interpreter: { dropsEnvironment: true } })).toEqual(['CFX_ISOLATED_PYTHON']);
});

test.each([
  ['0.6.9', true],
  ['0.7', false],
  ['0.7.0', false],
  ['0.7.12', false],
  ['0.8.0', true],
  ['0.8.0rc1', true],
  [null, true],
])('xfuser %s: refused %s', (version, refused) => {
  const { refusals } = look(['torchrun', 'x.py'], withVersion('xfuser', version));
  expect(refusals.map(({ code }) => code)).toEqual(refused ? ['CFX_ADAPTER_VERSION'] : []);
  if (refused) expect(refusals[0]!.message).toMatch(/>=0\.7,<0\.8/);
});

test('An old torch is refused with both versions named', () => {
  expect(look(['torchrun', 'x.py'], withVersion('torch', '2.7.1+cu126')).refusals).toEqual([
    expect.objectContaining({ code: 'CFX_ADAPTER_VERSION', message: 'torch 2.7.1+cu126 is installed; expected 2.8 or newer' }),
  ]);
});

test('Missing pyzmq or msgpack are refused until the side folder is there', () => {
  const missing = { machine: { missing: ['pyzmq', 'msgpack'] } };
  expect(look(['torchrun', 'x.py'], missing).refusals).toEqual([
    {
      code: 'CFX_PY_MISSING',
      message: expect.stringContaining('no pyzmq and no msgpack'),
      fix: expect.stringContaining('cfx setup --side --python /venv/bin/python'),
    },
  ]);
  expect(codes(['torchrun', 'x.py'], { ...missing, hasSide: true })).toEqual([]);
});

test('Nothing is refused because of an interpreter that is only a guess, but it is said', () => {
  const { refusals, warnings } = look(['./run.sh'], { ...withVersion('xfuser', '0.3'), interpreter: { certain: false } });
  expect(refusals).toEqual([]);
  expect(warnings.map(({ code }) => code)).toEqual(['CFX_ADAPTER_VERSION']);
});

test('Flags are refused even when the interpreter could not be asked', () => {
  expect(
    detect({ command: ['./run.sh', '--use_fp8_comms'], probe: null, hasSide: false, env: {} }).refusals.map(({ code }) => code),
  ).toEqual(['CFX_FP8_COMMS']);
});

test('A command that is not there is the only finding', () => {
  expect(look(['torchrum', '--use_fp8_comms'], { interpreter: { notFound: 'torchrum', certain: false } })).toEqual({
    refusals: [expect.objectContaining({ code: 'CFX_COMMAND_NOT_FOUND', message: expect.stringContaining('"torchrum"') })],
    warnings: [],
    advice: [],
  });
});

test('A Triton that cannot compile the kernels is pointed out', () => {
  expect(look(['torchrun', 'x.py'], withVersion('triton', '3.3.1')).advice).toEqual([
    { message: expect.stringMatching(/^triton 3\.3\.1 is installed; .* 3\.4 or newer/), fix: expect.stringContaining('Upgrade') },
  ]);
  for (const version of ['3.4.0', '3.10.0+git1', null])
    expect(look(['torchrun', 'x.py'], withVersion('triton', version)).advice).toEqual([]);
});

test('Network settings that are slow by themselves are pointed out', () => {
  expect(look(['torchrun', 'x.py'], { env: { NCCL_P2P_DISABLE: '1' } }).advice).toEqual([
    { message: expect.stringContaining('NCCL_P2P_DISABLE=1'), fix: expect.stringContaining('Unset') },
  ]);
});

test('Versions compare by number', () => {
  expect([isOlder('2.9', '2.10'), isOlder('2.10', '2.9'), isOlder('2.6', '2.6.0'), isOlder('2.6.0+cpu', '2.6')]).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
