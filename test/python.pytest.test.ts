import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

const ROOT = join(__dirname, '..');
const LIMIT_MS = 45 * 60_000;
// files go to workers one by one, in their order; a worker takes 1.6 GB
const WORKERS = ['-n', String(Math.min(4, availableParallelism())), '--dist', 'loadfile', '--no-loadscope-reorder'];

test(
  'pytest passes on test/python',
  async () => {
    const python = process.env.CFX_TEST_PYTHON;
    if (!python) throw new Error('CFX_TEST_PYTHON is not set: the global set-up did not run');
    const code = await new Promise((resolve, reject) => {
      const pytest = spawn(
        python,
        ['-m', 'pytest', '-c', 'python_shim/pyproject.toml', '-p', 'no:cacheprovider', '-q', ...WORKERS, 'test/python'],
        {
          cwd: ROOT,
          stdio: ['ignore', 'inherit', 'inherit'],
        },
      );
      pytest.on('error', reject);
      pytest.on('close', resolve);
    });
    expect(code).toBe(0);
  },
  LIMIT_MS,
);
