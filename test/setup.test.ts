import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMPLETE, cacheFolder, environmentName, findComplete, putInPlace, pythonOf, withLock } from '../src/cache.js';
import { readPipConfig, translatePipSettings } from '../src/indexes.js';
import { ensureEnvironment } from '../src/setup.js';
import { ensureSide, selectLocked, sideFolder } from '../src/side.js';

const ROOT = join(__dirname, '..');
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cfx-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const program = async (path: string, text: string) => {
  await writeFile(path, text);
  await chmod(path, 0o755);
};

/** A PATH with a Python that is only a shell script, and a uv that makes empty environments and counts its calls. */
async function fakeTools({
  minor = '3.11',
  install = 'exit 0',
} = {}): Promise<{ env: { [name: string]: string }; calls: () => Promise<string[]> }> {
  const bin = join(folder, 'bin');
  const log = join(folder, 'calls');
  await mkdir(bin);
  await writeFile(log, '');
  const python = join(bin, 'python3');
  await program(python, `#!/bin/sh\ncase "$*" in *version_info*) echo ${python}; echo ${minor};; *) exit 1;; esac\n`);
  await program(
    join(bin, 'uv'),
    `#!/bin/sh
echo "$@" >> ${log}
case "$1" in
  --version) echo "uv 0.13.0";;
  venv) for last; do :; done; mkdir -p "$last/bin"; ln -s ${python} "$last/bin/python";;
  pip) ${install};;
esac
`,
  );
  return {
    env: { PATH: `${bin}:/usr/bin:/bin`, CFX_CACHE_DIR: join(folder, 'cache'), HOME: folder },
    calls: async () =>
      (await readFile(log, 'utf8'))
        .trim()
        .split('\n')
        .map((line) => line.split(' ').slice(0, 2).join(' ')),
  };
}

const lock = () => readFile(join(ROOT, 'python_shim/requirements.lock'), 'utf8');

describe('the cache folder', () => {
  test('CFX_CACHE_DIR comes before XDG_CACHE_HOME, which comes before ~/.cache', () => {
    expect(cacheFolder({ CFX_CACHE_DIR: '/a', XDG_CACHE_HOME: '/b', HOME: '/c' })).toBe('/a');
    expect(cacheFolder({ XDG_CACHE_HOME: '/b', HOME: '/c' })).toBe('/b/cfx');
    expect(cacheFolder({ HOME: '/c' })).toBe('/c/.cache/cfx');
  });

  test('Another lock or another Python names another environment', () => {
    expect(environmentName('a', '3.11')).toBe(environmentName('a', '3.11'));
    expect(new Set([environmentName('a', '3.11'), environmentName('b', '3.11'), environmentName('a', '3.12')]).size).toBe(3);
  });

  test('An environment counts only when it is complete and its Python is still there', async () => {
    const environment = join(folder, environmentName('lock', '3.12'));
    await mkdir(join(environment, 'bin'), { recursive: true });
    await symlink(process.execPath, pythonOf(environment));
    expect(await findComplete(folder, 'lock')).toBeNull();
    await writeFile(join(environment, COMPLETE), '{}');
    expect(await findComplete(folder, 'lock')).toBe(environment);
    expect(await findComplete(folder, 'other lock')).toBeNull();
    await rm(pythonOf(environment));
    await symlink(join(folder, 'gone'), pythonOf(environment));
    expect(await findComplete(folder, 'lock')).toBeNull();
  });

  test("Of two that build the same, the second keeps the first one's", async () => {
    for (const name of ['first', 'second']) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, COMPLETE), name);
      await putInPlace(join(folder, name), join(folder, 'target'));
    }
    expect(await readFile(join(folder, 'target', COMPLETE), 'utf8')).toBe('first');
    expect(await readdir(folder)).toEqual(['target']);
  });
});

describe('the lock', () => {
  test('Only one holds it at a time, and it is gone at the end', async () => {
    const path = join(folder, 'lock');
    let holders = 0;
    const waited: string[] = [];
    const work = () =>
      withLock(
        path,
        (holder) => waited.push(holder),
        async () => {
          holders += 1;
          expect(holders).toBe(1);
          await new Promise((resolve) => setTimeout(resolve, 20));
          holders -= 1;
        },
      );
    await Promise.all([work(), work(), work()]);
    expect(waited.length).toBeGreaterThan(0);
    expect(existsSync(path)).toBe(false);
  });

  test('A lock whose holder is dead is taken over', async () => {
    const path = join(folder, 'lock');
    await writeFile(path, JSON.stringify({ pid: 2 ** 30, host: hostname() }));
    await expect(
      withLock(
        path,
        () => undefined,
        async () => 'done',
      ),
    ).resolves.toBe('done');
  });

  test('A lock whose holder lives is waited for, until the signal', async () => {
    const path = join(folder, 'lock');
    await writeFile(path, JSON.stringify({ pid: process.pid, host: hostname() }));
    const stop = new AbortController();
    await expect(
      withLock(
        path,
        () => stop.abort(),
        async () => 'done',
        stop.signal,
      ),
    ).rejects.toThrow(/abort/i);
  });

  test('It is released when the work fails', async () => {
    const path = join(folder, 'lock');
    await expect(
      withLock(
        path,
        () => undefined,
        () => Promise.reject(new Error('broken')),
      ),
    ).rejects.toThrow('broken');
    expect(existsSync(path)).toBe(false);
  });
});

describe('cfx setup', () => {
  test('The first run builds, the second starts no process at all', async () => {
    const { env, calls } = await fakeTools();
    const options = { root: ROOT, env, log: () => undefined };
    const first = await ensureEnvironment(options);
    expect(first).toMatchObject({ created: true, python: join(first.path, 'bin/python') });
    expect(first.path).toBe(join(folder, 'cache', environmentName(await lock(), '3.11')));
    const before = await calls();
    expect(before).toEqual(['--version', 'venv --quiet', 'pip install']);
    expect(await ensureEnvironment({ ...options, env: { ...env, PATH: '' } })).toEqual({ ...first, created: false });
    expect(await calls()).toEqual(before);
  });

  test('Two at once build once', async () => {
    const { env, calls } = await fakeTools({ install: 'sleep 0.2' });
    const options = { root: ROOT, env, log: () => undefined };
    const results = await Promise.all([ensureEnvironment(options), ensureEnvironment(options)]);
    expect(results.map(({ created }) => created).sort()).toEqual([false, true]);
    expect((await calls()).filter((call) => call === 'pip install')).toHaveLength(1);
  });

  test('What an interrupted one left is removed and built again', async () => {
    const { env } = await fakeTools();
    const name = environmentName(await lock(), '3.11');
    const cache = join(folder, 'cache');
    await mkdir(join(cache, `${name}.new-abc`), { recursive: true });
    await mkdir(join(cache, name, 'bin'), { recursive: true });
    await writeFile(join(cache, `${name}.lock`), JSON.stringify({ pid: 2 ** 30, host: hostname() }));
    expect(await ensureEnvironment({ root: ROOT, env, log: () => undefined })).toMatchObject({ created: true });
    expect(await readdir(cache)).toEqual([name]);
  });

  test('A failing installation says what uv said, and leaves nothing that looks finished', async () => {
    const { env } = await fakeTools({ install: 'echo "no matching distribution" >&2; exit 2' });
    const options = { root: ROOT, env, log: () => undefined };
    await expect(ensureEnvironment(options)).rejects.toMatchObject({
      code: 'CFX_SETUP',
      message: expect.stringMatching(/exit code 2[\s\S]*no matching distribution/),
    });
    expect(await findComplete(join(folder, 'cache'), await lock())).toBeNull();
  });

  test('A Python that is too old is named, with what to do', async () => {
    const { env } = await fakeTools({ minor: '3.9' });
    await expect(
      ensureEnvironment({
        root: ROOT,
        env: { ...env, PATH: join(folder, 'bin') },
        log: () => undefined,
        python: join(folder, 'bin/python3'),
      }),
    ).rejects.toMatchObject({
      code: 'CFX_PYTHON',
      message: expect.stringContaining('is 3.9'),
      fix: expect.stringContaining('--python'),
    });
  });

  test('A Python that can make no environments is told apart, with the package to install', async () => {
    const { env } = await fakeTools();
    await rm(join(folder, 'bin/uv'));
    await program(
      join(folder, 'bin/python3'),
      `#!/bin/sh
case "$*" in
  *version_info*) echo $0; echo 3.11;;
  *venv*) echo "ensurepip is not available" >&2; exit 1;;
  *) echo "No module named pip" >&2; exit 1;;
esac
`,
    );
    await expect(
      ensureEnvironment({
        root: ROOT,
        env: { ...env, PATH: `${join(folder, 'bin')}:/bin` },
        log: () => undefined,
        python: join(folder, 'bin/python3'),
      }),
    ).rejects.toMatchObject({ code: 'CFX_SETUP', fix: expect.stringContaining('python3.11-venv') });
  });

  test('The side folder holds only pyzmq and msgpack, with hashes', async () => {
    const { env } = await fakeTools({ install: 'exit 0' });
    const options = { root: ROOT, env, log: () => undefined, python: join(folder, 'bin/python3') };
    expect(await ensureSide(options, 'cpython-311')).toEqual({ path: sideFolder(env, 'cpython-311'), created: true });
    expect(await ensureSide(options, 'cpython-311')).toMatchObject({ created: false });
    const wanted = await readFile(join(sideFolder(env, 'cpython-311'), 'requirements.txt'), 'utf8');
    expect(wanted.match(/^\S+==/gm)).toEqual(['msgpack==', 'pyzmq==']);
    expect(wanted).toMatch(/--hash=sha256:/);
  });
});

describe('the lock file', () => {
  test('It pins the versions seen to work and names no host', async () => {
    const text = await lock();
    for (const pin of [
      'torch==2.15.0',
      'xfuser==0.7.0',
      'diffusers==0.42.1',
      'transformers==5.23.0',
      'pyzmq==',
      'msgpack==',
      'pytest==',
      'pillow==',
      'safetensors==',
    ]) {
      expect(text).toContain(`\n${pin}`);
    }
    expect(text).not.toMatch(/:\/\/|index-url|find-links/);
    for (const entry of selectLocked(text, ['torch', 'pyzmq'])
      .trim()
      .split(/\n(?=\S)/))
      expect(entry).toMatch(/--hash=sha256:[0-9a-f]{64}/);
  });
});

describe('settings made for pip', () => {
  const all = () => true;

  test("They reach uv under uv's names", () => {
    const env = {
      PIP_INDEX_URL: 'https://mirror/simple',
      PIP_EXTRA_INDEX_URL: 'https://a https://b',
      PIP_FIND_LINKS: '/wheels /more',
      PIP_CERT: '/ca.pem',
      PIP_NO_INDEX: 'true',
      PIP_TRUSTED_HOST: 'mirror',
    };
    expect(translatePipSettings(env, {}, all)).toEqual({
      UV_DEFAULT_INDEX: 'https://mirror/simple',
      UV_INDEX: 'https://a https://b',
      UV_FIND_LINKS: '/wheels,/more',
      SSL_CERT_FILE: '/ca.pem',
      UV_NO_INDEX: '1',
      UV_INSECURE_HOST: 'mirror',
    });
  });

  test('What is set for uv itself wins', () => {
    expect(translatePipSettings({ PIP_INDEX_URL: 'https://pip', UV_DEFAULT_INDEX: 'https://uv' }, {}, all)).toEqual({});
    expect(translatePipSettings({ PIP_INDEX_URL: 'https://pip', UV_INDEX_URL: 'https://uv' }, {}, all)).toEqual({});
  });

  test('A find-links folder that is not there is left out, as pip does', () => {
    expect(translatePipSettings({ PIP_FIND_LINKS: '/gone https://wheels' }, {}, () => false)).toEqual({
      UV_FIND_LINKS: 'https://wheels',
    });
  });

  test("pip's own configuration is read, below the environment", () => {
    const listing =
      "global.index-url='https://configured'\nglobal.extra-index-url='\\nhttps://a\\nhttps://b'\n:env:.cert='/x'\ninstall.index-url='https://install'\n";
    expect(readPipConfig(listing)).toEqual({ PIP_INDEX_URL: 'https://install', PIP_EXTRA_INDEX_URL: 'https://a https://b' });
    expect(translatePipSettings({ PIP_INDEX_URL: 'https://env' }, readPipConfig(listing), all)).toMatchObject({
      UV_DEFAULT_INDEX: 'https://env',
      UV_INDEX: 'https://a https://b',
    });
  });
});
