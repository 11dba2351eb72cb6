import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findInterpreter, readPythonArguments } from '../src/interpreter.js';
import { PROBED, probe } from '../src/probe.js';

let folder: string;
let env: { PATH: string };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cfx-test-'));
  for (const name of ['path', 'venv', 'outer']) await mkdir(join(folder, name));
  for (const name of ['path/python3', 'venv/python', 'venv/python3.12']) await program(name, '#!/bin/sh\n');
  env = { PATH: join(folder, 'path') };
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const program = async (name: string, text: string) => {
  await writeFile(join(folder, name), text);
  await chmod(join(folder, name), 0o755);
};
const find = (...command: string[]) => findInterpreter(command, { env, cwd: folder });
const inFolder = (name: string) => [join(folder, name)];

describe('the interpreter of a command', () => {
  test('python by its path, with a relative one taken from the working directory', () => {
    expect(find(join(folder, 'venv/python'), 'x.py')).toMatchObject({
      command: inFolder('venv/python'),
      certain: true,
      launcher: false,
    });
    expect(find('venv/python3.12', 'x.py')).toMatchObject({ command: inFolder('venv/python3.12') });
    expect(find('python3', 'x.py')).toMatchObject({ command: inFolder('path/python3'), certain: true });
  });

  test('torchrun, xdit and accelerate by the first line of their scripts', async () => {
    for (const name of ['torchrun', 'xdit', 'accelerate']) {
      await program(`path/${name}`, `#!${join(folder, 'venv/python')} -s\nimport sys\n`);
      expect(find(name, '--flag')).toEqual({
        command: inFolder('venv/python'),
        flags: ['-s'],
        certain: true,
        launcher: true,
        notFound: null,
        dropsEnvironment: false,
      });
    }
  });

  test('Scripts that go through /bin/sh because their path is long', async () => {
    await program('path/torchrun', `#!/bin/sh\n'''exec' ${join(folder, 'venv/python')} "$0" "$@"\n' '''\n`);
    expect(find('torchrun')).toMatchObject({ command: inFolder('venv/python'), certain: true });
    await program('path/torchrun', `#!/bin/sh\n'''exec' "${join(folder, 'venv/python')}" "$0" "$@"\n' '''\n`);
    expect(find('torchrun')).toMatchObject({ command: inFolder('venv/python'), certain: true });
  });

  test('Scripts that find Python beside themselves, through a link too', async () => {
    await program('venv/xdit', `#!/bin/sh\n'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"\n' '''\n`);
    await symlink(join(folder, 'venv/xdit'), join(folder, 'path/xdit'));
    expect(find('xdit', '--model', 'm')).toMatchObject({ command: inFolder('venv/python'), certain: true, launcher: true });
  });

  test('#!/usr/bin/env python3 goes through PATH', async () => {
    await program('path/torchrun', '#!/usr/bin/env python3\n');
    expect(find('torchrun')).toMatchObject({ command: inFolder('path/python3'), certain: true });
  });

  test('env: its variables, its PATH, and that -i empties the environment', async () => {
    expect(find('env', 'A=1', '-u', 'B', 'python3', 'x.py')).toMatchObject({
      command: inFolder('path/python3'),
      dropsEnvironment: false,
    });
    expect(find('env', `PATH=${join(folder, 'venv')}`, 'python', 'x.py')).toMatchObject({ command: inFolder('venv/python') });
    expect(find('env', '-i', 'python3', 'x.py')).toMatchObject({ dropsEnvironment: true });
  });

  test('What chooses an environment by itself is asked itself', () => {
    expect(find('uv', 'run', '--with', 'x', 'python', '-u', 'x.py')).toMatchObject({
      command: ['uv', 'run', '--with', 'x', 'python'],
      flags: ['-u'],
    });
    expect(find('conda', 'run', '-n', 'e', 'torchrun', 'x.py')).toMatchObject({
      command: ['conda', 'run', '-n', 'e', 'python'],
      launcher: true,
    });
  });

  test('What only wraps a command is looked through', () => {
    expect(find('nice', '-n', '5', join(folder, 'venv/python'), 'x.py')).toMatchObject({
      command: inFolder('venv/python'),
      certain: true,
    });
  });

  test("A command that does not say is answered with PATH's python3, as a guess", async () => {
    await program('run.sh', '#!/bin/bash\npython3 x.py\n');
    expect(find('./run.sh')).toMatchObject({ command: inFolder('path/python3'), certain: false });
    expect(find('./run.sh').notFound).toBeNull();
    expect(find('not-there')).toMatchObject({ command: inFolder('path/python3'), certain: false, notFound: 'not-there' });
  });

  test('A named interpreter replaces the search', () => {
    expect(findInterpreter(['./run.sh'], { env, cwd: folder, python: '/p' })).toMatchObject({ command: ['/p'], certain: true });
  });

  test('torch.distributed.run as a module is a launcher, another module is not', () => {
    expect(find('python3', '-m', 'torch.distributed.run', 'x.py').launcher).toBe(true);
    expect(find('python3', '-u', '-m', 'x').launcher).toBe(false);
  });

  test("Python's own options end at the script", () => {
    expect(readPythonArguments(['-u', '-W', 'error', '-I', 'x.py', '-S'])).toEqual({ flags: ['-u', '-W', '-I'], module: null });
    expect(readPythonArguments(['-um', 'pkg', '-S'])).toEqual({ flags: [], module: 'pkg' });
    expect(readPythonArguments(['-c', 'code', '-S'])).toEqual({ flags: [], module: null });
  });
});

describe('asking it', () => {
  const python = () => {
    if (!process.env.CFX_TEST_PYTHON) throw new Error('CFX_TEST_PYTHON is not set: the global set-up did not run');
    return process.env.CFX_TEST_PYTHON;
  };
  const options = () => ({ env: process.env, cwd: folder });

  test('The managed environment answers with the pinned versions, in under the time that importing torch takes', async () => {
    const { machine } = await probe([join(dirname(python()), 'torchrun'), 'x.py'], options());
    expect(machine).toMatchObject({
      python: python(),
      implementation: 'cpython',
      missing: [],
      distributions: { torch: '2.15.0', xfuser: '0.7.0', diffusers: '0.42.1' },
    });
    expect(Object.keys(machine.distributions)).toEqual([...PROBED]);
    expect(machine.abi).toMatch(/^cpython-3\d+-.*linux/);
  });

  test('What cannot be found is named as missing', async () => {
    const { machine } = await probe([python(), '-S', 'x.py'], options());
    expect(machine.missing).toEqual(['pyzmq', 'msgpack']);
  });

  test("The user's own sitecustomize is seen, and may print", async () => {
    await writeFile(join(folder, 'sitecustomize.py'), 'print("{ not JSON")\n');
    const { machine } = await probe([python(), 'x.py'], { ...options(), env: { ...process.env, PYTHONPATH: folder } });
    expect(machine.hasUserSitecustomize).toBe(true);
  });

  test('Files in the working directory are not taken for what is installed', async () => {
    await writeFile(join(folder, 'zmq.py'), '');
    const { machine } = await probe([python(), '-S', 'x.py'], options());
    expect(machine.missing).toContain('pyzmq');
  });

  test('A missing interpreter and one that fails are named', async () => {
    await expect(probe([join(folder, 'none/python'), 'x.py'], options())).rejects.toMatchObject({
      code: 'CFX_PYTHON',
      message: expect.stringContaining('none/python'),
    });
    await program('venv/python3.9', '#!/bin/sh\necho "broken installation" >&2\nexit 3\n');
    await expect(probe(['venv/python3.9', 'x.py'], options())).rejects.toMatchObject({
      code: 'CFX_PYTHON',
      message: expect.stringContaining('broken installation'),
    });
  });
});
