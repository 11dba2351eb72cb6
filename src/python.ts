/**
 * A Python session driven from here, over pythonia; only this file imports it, and only when a session
 * is opened. What pythonia does badly is kept away from callers: it starts Python at import with this
 * process's environment, crashes on a missing interpreter and on NaN, never settles a call to a dead
 * Python, and keeps Node alive. Values cross as JSON text, never as pythonia's own numbers.
 */
import type { ChildProcess } from 'node:child_process';
import { CfxError } from './errors.js';
import { readOutput } from './launch.js';
import { SESSION_SOURCE } from './pysession.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface OpenPythonOptions {
  /** The interpreter. Default "python3". */
  python?: string;
  /** Its environment. Default: this process's. */
  env?: NodeJS.ProcessEnv;
  /** How long one call may take; one that takes longer ends the session. Default 600. */
  timeoutSeconds?: number;
}

export interface PythonSession {
  readonly pid: number;
  /**
   * Runs statements in a namespace that lasts as long as the session; `values` are bound in it first.
   * Resolves with what they assigned to `result`, as plain data: numbers that JSON or JavaScript cannot
   * hold exactly (NaN, infinities, integers beyond 2^53) arrive as strings.
   */
  run(source: string, values?: { [name: string]: Json }): Promise<Json>;
  /** Ends Python; afterwards nothing of the session keeps Node from exiting. Can be repeated. */
  close(): Promise<void>;
}

/** The parts of pythonia in use; its own types leave them out. */
interface Pythonia {
  com: { proc: ChildProcess | null; start(): void };
  builtins: {
    eval(source: string): Promise<{ run(source: string, values: string): Promise<string> }>;
    exec(source: string, scope: unknown): Promise<unknown>;
  };
  python: { exit(): void };
}

const START_SECONDS = 60;
const TERM_MS = 2000;
/** pythonia has one interpreter per Node process. */
let isOpen = false;
let loaded: Pythonia | null = null;

const pythonError = (message: string, fix?: string, cause?: unknown) => new CfxError('CFX_PYTHON', message, { fix, cause });

async function checkInterpreter(python: string, env: NodeJS.ProcessEnv): Promise<void> {
  let version: string;
  try {
    const program = 'import sys; print("%d.%d" % sys.version_info[:2])';
    version = (await readOutput(python, ['-c', program], { env, timeoutMs: START_SECONDS * 1000 })).trim();
  } catch (cause) {
    throw pythonError(
      `"${python}" cannot be run as a Python interpreter: ${(cause as Error).message.split('\n')[0]}.`,
      undefined,
      cause,
    );
  }
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (!(major === 3 && minor >= 10)) throw pythonError(`"${python}" is Python ${version}; expected 3.10 or newer.`);
}

/** pythonia reads the environment when it is imported and when it starts Python, and from nowhere else. */
async function startPython(python: string, env: NodeJS.ProcessEnv): Promise<Pythonia> {
  const saved = { ...process.env };
  const replace = (next: NodeJS.ProcessEnv) => {
    for (const name of Object.keys(process.env)) delete process.env[name];
    Object.assign(process.env, next);
  };
  // Its time-out is off, since ours ends the session; with DEBUG it would log every call on stdout.
  const { DEBUG: _debug, ...rest } = env;
  replace({ ...rest, PYTHON_BIN: python, REQ_TIMEOUT: '0' });
  try {
    if (loaded) loaded.com.start();
    else loaded = ((await import('pythonia')) as unknown as { default: Pythonia }).default;
  } finally {
    replace(saved);
  }
  return loaded;
}

const later = (ms: number, act: () => void): (() => void) => {
  const timer = setTimeout(act, ms);
  return () => clearTimeout(timer);
};

class Session implements PythonSession {
  readonly pid: number;
  private readonly process: ChildProcess;
  private readonly pythonia: Pythonia;
  private readonly timeoutMs: number;
  private readonly exited: Promise<void>;
  /** Rejects when the session is over, for the reason of its end. */
  private readonly over: Promise<never>;
  private end!: (reason: CfxError) => void;
  private ended = false;
  private scope: Awaited<ReturnType<Pythonia['builtins']['eval']>> | null = null;

  constructor(pythonia: Pythonia, timeoutSeconds: number) {
    this.pythonia = pythonia;
    this.process = pythonia.com.proc as ChildProcess;
    this.pid = this.process.pid ?? 0;
    this.timeoutMs = timeoutSeconds * 1000;
    this.over = new Promise((_, reject) => {
      this.end = (reason) => {
        this.ended = true;
        reject(reason);
      };
    });
    this.over.catch(() => {});
    const killWithNode = () => void this.process.kill('SIGKILL');
    process.once('exit', killWithNode);
    this.exited = new Promise((resolve) => {
      this.process.once('exit', (code, signal) => {
        process.off('exit', killWithNode);
        this.end(
          pythonError(
            `Python ended with ${signal ?? `code ${code}`} in the middle of a session.`,
            'See its output above; open a new session.',
          ),
        );
        if (pythonia.com.proc === this.process) pythonia.python.exit();
        isOpen = false;
        resolve();
      });
    });
    // A write to a Python that is just dying would otherwise be an unhandled error event.
    this.process.on('error', () => {});
  }

  async prepare(): Promise<this> {
    this.scope = await this.bounded(START_SECONDS * 1000, async () => {
      const scope = await this.pythonia.builtins.eval('{"__name__": "__cfx_session__"}');
      await this.pythonia.builtins.exec(SESSION_SOURCE, scope);
      return scope;
    });
    return this;
  }

  async run(source: string, values: { [name: string]: Json } = {}): Promise<Json> {
    const { scope } = this;
    if (!scope || this.ended) throw pythonError('the Python session is closed.', 'Open a new one.');
    const text = await this.bounded(this.timeoutMs, () => scope.run(source, JSON.stringify(values)));
    const { error, result } = JSON.parse(text) as { error?: string; result?: Json };
    if (error !== undefined) throw pythonError(error.trim(), 'Correct the Python code of the call.');
    return result ?? null;
  }

  async close(): Promise<void> {
    this.end(pythonError('the Python session is closed.', 'Open a new one.'));
    if (this.pythonia.com.proc === this.process) this.pythonia.python.exit();
    const cancel = later(TERM_MS, () => this.process.kill('SIGKILL'));
    await this.exited;
    cancel();
  }

  private async bounded<T>(ms: number, call: () => Promise<T>): Promise<T> {
    const cancel = later(ms, () => {
      this.end(pythonError(`a Python call took longer than ${ms / 1000} s; the session was ended.`, 'Raise timeoutSeconds.'));
      this.process.kill('SIGKILL');
    });
    const called = call();
    called.catch(() => {}); // it may fail after the session's end has been told
    try {
      return await Promise.race([called, this.over]);
    } finally {
      cancel();
    }
  }
}

export async function openPython(options: OpenPythonOptions = {}): Promise<PythonSession> {
  const { python = 'python3', env = process.env, timeoutSeconds = 600 } = options;
  if (isOpen) throw pythonError('a Python session is open already; one is possible at a time.', 'Close it first.');
  isOpen = true;
  let session: Session | null = null;
  try {
    await checkInterpreter(python, env);
    session = new Session(await startPython(python, env), timeoutSeconds);
    return await session.prepare();
  } catch (error) {
    await session?.close();
    isOpen = false;
    throw error;
  }
}
