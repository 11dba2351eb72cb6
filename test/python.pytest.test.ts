import { spawn } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(__dirname, '..');
const LIMIT_MS = 45 * 60_000;

test(
  'pytest passes on test/python',
  async () => {
    const python = process.env.CFX_TEST_PYTHON;
    if (!python) throw new Error('CFX_TEST_PYTHON is not set: the global set-up did not run');
    const code = await new Promise((resolve, reject) => {
      const pytest = spawn(
        python,
        ['-m', 'pytest', '-c', 'python_shim/pyproject.toml', '-p', 'no:cacheprovider', '-q', 'test/python'],
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
