/** The package as it would be installed: what is in it, and its entry as Node reads it. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PACKAGE_ROOT, VERSION } from '../src/package.js';

const packed = (): string[] => {
  const stdout = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: PACKAGE_ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  return files.map(({ path }) => path);
};

describe('The packed files', () => {
  const files = packed();

  test('hold all that runs', () => {
    for (const file of [
      'LICENSE',
      'dist/cli.js',
      'dist/index.js',
      'dist/index.d.ts',
      'python_shim/bootstrap/sitecustomize.py',
      'python_shim/requirements.lock',
      'python_shim/cfx_shim/_contract.py',
      'schemas/config.schema.json',
      'schemas/messages.schema.json',
      'python_shim/cfx_bench/codecs_main.py',
      'schemas/benchmark.schema.json',
      'schemas/PROTOCOL.md',
      'examples/flux_pipeline.py',
    ]) {
      expect(files).toContain(file);
    }
  });

  test('hold no tests, no caches and no sources of what is compiled', () => {
    expect(files.filter((file) => /^(test|src|\.ci|\.build)\/|__pycache__|\.pyc$|^schemas\/.*\.ts$/.test(file))).toEqual([]);
  });

  test('work from another folder: the command, and the entry as an ES module', () => {
    const folder = mkdtempSync(join(tmpdir(), 'cfx-packed-'));
    try {
      for (const file of [...files, 'package.json']) {
        if (!file.startsWith('examples/')) cpSync(join(PACKAGE_ROOT, file), join(folder, file));
      }
      symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(folder, 'node_modules'));
      const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
      expect(node('dist/cli.js', '--version').trim()).toBe(VERSION);
      expect(JSON.parse(node('dist/cli.js', 'plan', '--json', '--policy', 'identity')).plan.policy).toBe('identity');
      const program = "const cfx = await import('compactfusion'); console.log(Object.keys(cfx).sort().join(' '));";
      expect(node('--input-type=module', '-e', program).trim().split(' ')).toEqual(
        expect.arrayContaining(['attach', 'compilePlan', 'defineConfig', 'openPython']),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test('No dependency needs an install script to work', () => {
  const { packages } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package-lock.json'), 'utf8')) as {
    packages: { [path: string]: { hasInstallScript?: boolean; dev?: boolean } };
  };
  const scripted = Object.entries(packages).filter(([, { hasInstallScript, dev }]) => hasInstallScript && !dev);
  // Both load a prebuilt binary that is already in the package, or do without: the tests run with scripts off.
  expect(scripted.map(([path]) => path.replace('node_modules/', '')).sort()).toEqual(['msgpackr-extract', 'zeromq']);
});
