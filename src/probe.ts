/** Asks the interpreter that will run the command what it has, without importing any of it. */
import { execFile } from 'node:child_process';
import { CfxError } from './errors.js';
import { findInterpreter, type Interpreter } from './interpreter.js';

export const PROBED = [
  'torch',
  'triton',
  'xfuser',
  'yunchang',
  'diffusers',
  'transformers',
  'pyzmq',
  'msgpack',
  'numpy',
] as const;
export type ProbedDistribution = (typeof PROBED)[number];

export interface Machine {
  python: string;
  version: string;
  implementation: string;
  prefix: string;
  /** Names what compiled modules fit: implementation, version, platform. */
  abi: string;
  distributions: { [name in ProbedDistribution]: string | null };
  /** Of what the shim needs, by distribution name. */
  missing: string[];
  hasUserSitecustomize: boolean;
}

export interface Probe {
  interpreter: Interpreter;
  machine: Machine;
}

const MARK = 'cfx-probe:';

// sys.path[0] is the working directory here, which it is not for the command's own script
const PROGRAM = `
import importlib.util, json, platform, sys, sysconfig
sys.path[:] = [p for p in sys.path if p]
try:
    from importlib.metadata import version
except ImportError:
    version = lambda name: None
def installed(name):
    try:
        return version(name)
    except Exception:
        return None
def found(name):
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:
        return False
print("${MARK}" + json.dumps({
    "python": sys.executable, "version": platform.python_version(), "implementation": sys.implementation.name, "prefix": sys.prefix,
    "abi": "-".join([sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag or "unknown", sysconfig.get_platform()]).replace("/", "_"),
    "distributions": {name: installed(name) for name in sys.argv[1].split(",")},
    "missing": [d for d, m in (("pyzmq", "zmq"), ("msgpack", "msgpack")) if not found(m)],
    "hasUserSitecustomize": found("sitecustomize")}))
`;

const PROBE_TIMEOUT_MS = 60_000;
/** These change what Python finds, so the probe needs them too. */
const isSearchFlag = (flag: string) => /^-[a-zA-Z]*[EIsS][a-zA-Z]*$/.test(flag);

export interface ProbeOptions {
  env: { [name: string]: string | undefined };
  cwd: string;
  python?: string | null;
  signal?: AbortSignal;
}

export async function probe(command: string[], options: ProbeOptions): Promise<Probe> {
  const interpreter = findInterpreter(command, options);
  return { interpreter, machine: await askInterpreter(interpreter, options) };
}

function askInterpreter(interpreter: Interpreter, { env, cwd, signal }: ProbeOptions): Promise<Machine> {
  const [program, ...rest] = interpreter.command as [string, ...string[]];
  const words = [...rest, ...interpreter.flags.filter(isSearchFlag), '-c', PROGRAM, PROBED.join(',')];
  return new Promise((resolve, reject) => {
    execFile(
      program,
      words,
      { env: env as NodeJS.ProcessEnv, cwd, signal, timeout: PROBE_TIMEOUT_MS, maxBuffer: 1 << 22 },
      (error, stdout, stderr) => {
        const line = stdout
          .split('\n')
          .reverse()
          .find((text) => text.startsWith(MARK));
        if (line) resolve(JSON.parse(line.slice(MARK.length)) as Machine);
        else if (error?.name === 'AbortError') reject(error);
        else reject(new CfxError('CFX_PYTHON', describe(interpreter, error, stderr), { cause: error }));
      },
    );
  });
}

function describe(interpreter: Interpreter, error: Error | null, stderr: string): string {
  const name = interpreter.command.join(' ');
  if ((error as NodeJS.ErrnoException | null)?.code === 'ENOENT') return `the interpreter "${name}" is not there`;
  return `the interpreter "${name}" did not answer: ${stderr.trim().split('\n').at(-1) || error?.message || 'no output'}`;
}
