/** Runs a program to its end, outside whatever Python environment this process was started in. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { CfxError } from './errors.js';

export interface Outcome {
  code: number | null;
  stdout: string;
  tail: string[];
}

export function runProgram(
  command: string[],
  o: { env: { [name: string]: string | undefined }; signal?: AbortSignal },
  options: { env?: object; onLine?: (line: string) => void } = {},
): Promise<Outcome> {
  const outer = { ...o.env };
  // what points Python at another environment must not leak into the one being made
  for (const name of ['PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', 'CONDA_PREFIX', 'CFX_RUN']) delete outer[name];
  const env: NodeJS.ProcessEnv = { ...outer, ...options.env };
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'], signal: o.signal });
    const outcome: Outcome = { code: null, stdout: '', tail: [] };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text));
    createInterface({ input: child.stderr }).on('line', (line) => {
      outcome.tail = [...outcome.tail.slice(-14), line];
      options.onLine?.(line);
    });
    child.on('error', (error: NodeJS.ErrnoException) =>
      error.name === 'AbortError' ? reject(error) : resolve({ ...outcome, tail: [...outcome.tail, error.message] }),
    );
    child.on('close', (code) => resolve({ ...outcome, code }));
  });
}

export const failure = (what: string, { code, stdout, tail }: Outcome, fix?: string) =>
  new CfxError(
    'CFX_SETUP',
    `${what} failed${code === null ? '' : ` with exit code ${code}`}: ${[stdout.trim(), ...tail].filter(Boolean).join('\n  ')}`,
    { fix },
  );

/** Where a Python program of ours looks for modules, and who hears the lines it prints on stderr. */
interface PythonOptions {
  path?: string;
  onLine?: (line: string) => void;
  signal?: AbortSignal;
}

/** Runs a Python program of ours to its end and gives its stdout. */
export async function runPython(
  command: string[],
  env: { [name: string]: string | undefined },
  options: PythonOptions = {},
): Promise<string> {
  const { path, onLine, signal } = options;
  const outcome = await runProgram(command, { env, signal }, { env: path ? { PYTHONPATH: path } : {}, onLine });
  const [, first, second] = command;
  if (outcome.code !== 0) throw failure(first === '-m' ? second! : first!, outcome);
  return outcome.stdout;
}
