/**
 * Before all tests: the managed Python environment, named to the tests by CFX_TEST_PYTHON. Goes through
 * the built command, because jest's module mapping does not reach a global set-up.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export default function setUp(): void {
  if (process.env.CFX_TEST_PYTHON) return;
  const cli = join(__dirname, '..', '..', 'dist', 'cli.js');
  if (!existsSync(cli)) throw new Error('dist/cli.js is not there: run "npm test", or "npm run build" first');
  const stdout = execFileSync(process.execPath, [cli, 'setup', '--print-python'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  process.env.CFX_TEST_PYTHON = stdout.trim();
}
