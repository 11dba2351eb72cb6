/**
 * The run folder: what a launch needs to attach its ranks, owner-only. `cfx attach` makes a fresh one
 * and removes it; `cfx shim --out DIR` leaves one for inspection, containers and Slurm.
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { ADAPTERS } from './adapter.js';
import type { ErrorCode } from './errors.js';
import { CfxError, ERRORS } from './errors.js';
import { SHIM_PATH, VERSION } from './package.js';
import type { Plan } from './plan.js';
import type { Run } from './protocol.js';
import { PROTOCOL_VERSION } from './protocol.js';

/** What the launched command's environment gets; nothing else of it changes. */
export interface ShimEnvironment {
  CFX_RUN: string;
  PYTHONPATH: string;
}

export interface RunFolder {
  folder: string;
  env: ShimEnvironment;
}

/** A process of the launch in which the shim ran, as it wrote itself down. */
export interface BootedProcess {
  pid: number;
  /** Null: its environment names no rank. */
  rank: number | null;
  /** Whether init_process_group has been called in it. */
  joined: boolean;
  problem?: { code: ErrorCode; reason: string };
}

export interface RunOptions {
  plan: Plan;
  /** Of the control socket; empty or left out where there is none. */
  endpoint?: string;
  sidePath?: string;
  kernelsPath?: string;
  device?: 'cpu' | null;
  strict?: boolean;
  verify?: boolean;
  agreeTimeoutSeconds?: number;
  refusal?: Run['refusal'];
  observe?: Run['observe'];
}

/** The connection file's content, with a fresh secret. */
export const composeRun = (options: RunOptions): Run => ({
  protocol: PROTOCOL_VERSION,
  version: VERSION,
  endpoint: options.endpoint ?? '',
  token: randomBytes(16).toString('hex'),
  shimPath: SHIM_PATH,
  sidePath: options.sidePath ?? '',
  ...(options.kernelsPath ? { kernelsPath: options.kernelsPath } : {}),
  adapters: Object.keys(ADAPTERS),
  device: options.device ?? '',
  strict: options.strict ?? false,
  verify: options.verify ?? false,
  agreeTimeoutSeconds: options.agreeTimeoutSeconds ?? 60,
  refusal: options.refusal ? { code: options.refusal.code, reason: options.refusal.reason } : null,
  observe: options.observe ?? null,
  plan: options.plan,
});

const unusable = (folder: string, why: string, cause?: unknown) =>
  new CfxError('CFX_CONTROL', `the run folder ${folder} ${why}.`, { cause });

/** Someone else's folder, or one that others can enter, would hand them the token and the code that runs. */
const assertPrivate = (folder: string): void => {
  const { mode, uid } = lstatSync(folder);
  const owner = process.getuid?.() ?? uid;
  if (uid !== owner) throw unusable(folder, `belongs to user ${uid}, expected ${owner}`);
  if ((mode & 0o077) !== 0) throw unusable(folder, `has mode ${(mode & 0o777).toString(8)}, expected 700`);
};

/** A fresh folder under `base` (CFX_RUNTIME_DIR, XDG_RUNTIME_DIR or the temporary folder); the name is short for the socket's sake. */
export const makeRunFolder = (base: string): string => {
  try {
    const folder = mkdtempSync(join(resolve(base), 'cfx-'));
    chmodSync(folder, 0o700);
    assertPrivate(folder);
    return folder;
  } catch (cause) {
    if (cause instanceof CfxError) throw cause;
    throw unusable(join(base, 'cfx-XXXXXX'), `cannot be made: ${(cause as Error).message}`, cause);
  }
};

/** Fills the folder (made if it is not there, replaced where it was written before) for one launch. */
export function writeRunTo(path: string, run: Run, oldPythonPath = ''): RunFolder {
  const folder = resolve(path);
  const site = join(folder, 'site');
  const processes = join(folder, 'processes');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    assertPrivate(folder);
    rmSync(processes, { recursive: true, force: true });
    for (const part of [site, processes]) mkdirSync(part, { recursive: true, mode: 0o700 });
    copyFileSync(join(SHIM_PATH, 'bootstrap', 'sitecustomize.py'), join(site, 'sitecustomize.py'));
    const file = join(folder, 'run.json');
    rmSync(file, { force: true });
    writeFileSync(file, `${JSON.stringify(run, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    if (cause instanceof CfxError) throw cause;
    throw unusable(folder, `cannot be written: ${(cause as Error).message}`, cause);
  }
  return { folder, env: { CFX_RUN: folder, PYTHONPATH: oldPythonPath ? `${site}${delimiter}${oldPythonPath}` : site } };
}

const isProblem = (value: unknown): value is BootedProcess['problem'] => {
  const { code, reason } = (value ?? {}) as { code?: unknown; reason?: unknown };
  return typeof code === 'string' && code in ERRORS && typeof reason === 'string';
};

const readProcess = (file: string): BootedProcess | null => {
  try {
    const { pid, rank, joined, problem } = JSON.parse(readFileSync(file, 'utf8'));
    if (!Number.isInteger(pid)) return null;
    return {
      pid,
      rank: Number.isInteger(rank) ? rank : null,
      joined: joined === true,
      ...(isProblem(problem) ? { problem } : {}),
    };
  } catch {
    return null; // half written, or its process died while writing
  }
};

/** Every Python process of the launch that loaded the shim. */
export const readProcesses = (folder: string): BootedProcess[] => {
  const processes = join(folder, 'processes');
  let names: string[];
  try {
    names = readdirSync(processes);
  } catch {
    return [];
  }
  return names.flatMap((name) => (name.endsWith('.json') ? (readProcess(join(processes, name)) ?? []) : []));
};
