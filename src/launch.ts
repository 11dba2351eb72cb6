/**
 * Starts the user's command as if cfx were not there: its own stdio, its own exit code, every signal
 * passed on. No pipe and no parent-death signal ties it to us, so that it outlives a killed attach.
 */
import { execFile, spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { CfxError } from './errors.js';

export type Stdio = 'inherit' | 'pipe' | 'ignore';

export interface LaunchOptions {
  cwd?: string;
  env: NodeJS.ProcessEnv;
  stdio?: Stdio;
  /** Pass this process's signals on to the command while it runs. Default true. */
  forwardSignals?: boolean;
}

export interface Launch {
  readonly pid: number;
  readonly stdout: NodeJS.ReadableStream | null;
  readonly stderr: NodeJS.ReadableStream | null;
  /** Rejects when the command cannot be started. */
  readonly started: Promise<void>;
  /** The command's exit code, or 128 + n if signal n ended it. */
  readonly exited: Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
/** The terminal sends these to its whole foreground process group, the command included. */
const FROM_KEYBOARD: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

/** Fields 5, 7 and 8 of /proc/<pid>/stat: process group, terminal, the terminal's foreground group. */
export const isForeground = (stat: string): boolean => {
  // The command's name, field 2, may hold blanks and parentheses; fields are counted after its end.
  const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return terminal !== '0' && group === foreground;
};

const terminalDelivers = (): boolean => {
  if (!process.stdin.isTTY) return false;
  try {
    return isForeground(readFileSync('/proc/self/stat', 'utf8'));
  } catch {
    return true; // no /proc: a command at a terminal is in the foreground as a rule
  }
};

const startError = (error: NodeJS.ErrnoException, name: string, cwd: string | undefined): CfxError => {
  if (cwd !== undefined && !statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) {
    return new CfxError('CFX_USAGE', `the working directory ${cwd} does not exist.`, {
      cause: error,
      fix: 'Name an existing folder.',
    });
  }
  if (error.code === 'ENOENT') {
    return new CfxError('CFX_COMMAND_NOT_FOUND', `"${name}" was not found, or the interpreter its first line names was not.`, {
      cause: error,
    });
  }
  if (error.code === 'EACCES' || error.code === 'ENOEXEC') {
    return new CfxError('CFX_COMMAND_NOT_EXECUTABLE', `"${name}" cannot be executed: ${error.message}.`, { cause: error });
  }
  return new CfxError('CFX_INTERNAL', `"${name}" cannot be started: ${error.message}.`, { cause: error });
};

/** Starts the command; what keeps it from starting rejects both promises. */
export function launch(command: readonly string[], options: LaunchOptions): Launch {
  const [name = '', ...args] = command;
  if (!name) throw new CfxError('CFX_USAGE', 'no command was given; expected one after "--".');
  const { cwd, env, stdio = 'inherit' } = options;
  let child: ReturnType<typeof spawn>;
  try {
    child = spawn(name, args, { cwd, env, stdio: stdio === 'pipe' ? ['ignore', 'pipe', 'pipe'] : stdio });
  } catch (error) {
    throw startError(error as NodeJS.ErrnoException, name, cwd);
  }
  const started = new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    // Later errors are those of a failed kill: the exit event tells the rest.
    child.on('error', (error) => reject(startError(error, name, cwd)));
  });
  const exited = new Promise<number>((resolve, reject) => {
    started.catch(reject);
    child.once('exit', (code, signal) => resolve(signal ? 128 + constants.signals[signal] : (code ?? 0)));
  });
  exited.catch(() => {}); // whoever awaits either promise learns of the failed start
  const kill = (signal: NodeJS.Signals) => void child.kill(signal);
  if (options.forwardSignals ?? true) forwardSignals(kill, exited);
  return { pid: child.pid ?? 0, stdout: child.stdout, stderr: child.stderr, started, exited, kill };
}

function forwardSignals(kill: (signal: NodeJS.Signals) => void, exited: Promise<number>): void {
  const forward = (signal: NodeJS.Signals) => {
    if (!(FROM_KEYBOARD.includes(signal) && terminalDelivers())) kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  const release = () => {
    for (const signal of FORWARDED) process.off(signal, forward);
  };
  exited.then(release, release);
}

/** What a short program prints on stdout; rejects when it cannot run, fails or takes too long. */
export const readOutput = (
  file: string,
  args: string[],
  options: { env: NodeJS.ProcessEnv; timeoutMs: number },
): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(file, args, { env: options.env, timeout: options.timeoutMs, killSignal: 'SIGKILL' }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
