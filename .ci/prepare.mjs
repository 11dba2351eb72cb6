// All set-up that a clean clone needs, before `npm test` and `npm run demo`: dependencies, build, managed
// Python environment. Node's own modules only, since nothing else is installed yet. Each part is skipped
// when what it depends on has not changed; everything is said on stderr.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);
const NODE_SINCE = 20;

const say = (line) => process.stderr.write(`prepare: ${line}\n`);

function fail(message, code = 1) {
  say(message);
  process.exit(code || 1);
}

function run(what, command, args) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: ['inherit', 2, 2] });
  if (error) fail(`${what} could not start: ${error.message}`);
  if (status !== 0) fail(`${what} failed (${signal ?? `exit code ${status}`}); see the output above`, status);
}

const hashOf = (texts) => {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(text).update('\0');
  return hash.digest('hex');
};

/** Runs `work` unless the stamp says that it was done for the same `key`. The stamp is written last. */
function once(stamp, key, what, work) {
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return;
  const started = Date.now();
  say(what);
  work();
  writeFileSync(stamp, key);
  say(`done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

const major = Number(process.versions.node.split('.')[0]);
if (major < NODE_SINCE) fail(`found Node ${process.versions.node}; expected ${NODE_SINCE} or newer. Install a newer Node.`);

const lock = readFileSync(at('package-lock.json'));
once(at('node_modules', '.cfx-lock'), hashOf([lock, String(major)]), 'installing the npm dependencies', () => {
  // No dependency needs an install script: the native parts come with their binaries.
  const args = ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund'];
  const npm = process.env.npm_execpath;
  if (npm?.endsWith('.js')) run('npm ci', process.execPath, [npm, ...args]);
  else run('npm ci', 'npm', args);
});

const sources = [...filesBelow(at('src')), at('tsconfig.json'), at('package.json')];
const sourcesKey = hashOf([lock, ...sources.flatMap((file) => [file.slice(root.length), readFileSync(file)])]);
once(at('dist', '.built'), sourcesKey, 'compiling TypeScript', () => {
  // Built aside and moved, so that a failed build leaves the old one and no file outlives its source.
  const fresh = at('.build', 'dist');
  rmSync(fresh, { recursive: true, force: true });
  run('the TypeScript compiler', process.execPath, [at('node_modules', 'typescript', 'bin', 'tsc'), '--outDir', fresh]);
  chmodSync(join(fresh, 'cli.js'), 0o755);
  rmSync(at('dist'), { recursive: true, force: true });
  renameSync(fresh, at('dist'));
});

// npm links the bins of dependencies, not the package's own: `npx cfx` is to work in the checkout too.
for (const name of ['cfx', 'compactfusion']) {
  const link = at('node_modules', '.bin', name);
  if (!existsSync(link)) {
    rmSync(link, { force: true });
    symlinkSync(join('..', '..', 'dist', 'cli.js'), link);
  }
}

run('cfx setup', process.execPath, [at('dist', 'cli.js'), 'setup']);
