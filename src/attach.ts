/**
 * Starts an attached launch: run folder, control socket, command. The command line is a thin user of
 * this; what happens from then on is in handle.ts.
 */
import { accessSync, constants, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import type { Control } from './control.js';
import { controlEndpoint, openControl } from './control.js';
import type { ErrorCode } from './errors.js';
import { CfxError } from './errors.js';
import { AttachHandle } from './handle.js';
import { kernelsFolder } from './kernels.js';
import type { Stdio } from './launch.js';
import { launch } from './launch.js';
import type { Observe } from './observe.js';
import { compilePlan } from './plan.js';
import type { Policy } from './policy.js';
import { loadPolicy } from './policy.js';
import type { GenerationEvent, Hello, Ready, Telemetry, Warn } from './protocol.js';
import { composeRun, makeRunFolder, writeRunTo } from './shim.js';
import { newTally } from './telemetry.js';

export interface AttachOptions {
  /** The launch command and its arguments. */
  command: string[];
  /** A preset's name, a policy file, or a policy. Default "paper-2bit". */
  policy?: string | Policy;
  /** Fail instead of running uncompressed. */
  strict?: boolean;
  /** Compare digests of all bases between the ranks at each generation's end. */
  verify?: boolean;
  device?: 'cpu' | null;
  /** Where to write the summary as JSON, at each generation's end and at the launch's. */
  report?: string | null;
  cwd?: string;
  /** The command's environment. Default: this process's. */
  env?: NodeJS.ProcessEnv;
  /** Found before the launch: no rank compresses, for this reason. */
  refusal?: { code: ErrorCode; reason: string; fix?: string } | null;
  /** A folder with pyzmq and msgpack, for an environment without them. */
  sidePath?: string;
  /** What ranks keep of the run, for evaluations. */
  observe?: Observe | null;
  agreeTimeoutSeconds?: number;
  helloTimeoutSeconds?: number;
  /** Takes problems as they are met, one line each, every distinct one once. */
  log?: (line: string) => void;
  /** Ends the launch when it aborts. */
  signal?: AbortSignal;
  stdio?: Stdio;
  /** Pass this process's signals on to the command. Default true. */
  forwardSignals?: boolean;
}

type Told<M> = { rank: number } & Omit<M, 'type'>;

export interface AttachEvents {
  hello: [Told<Omit<Hello, 'token' | 'rank'>>];
  ready: [Told<Ready>];
  step: [Told<Pick<Telemetry, 'generation' | 'step' | 'steps'>>];
  generation: [Told<GenerationEvent>];
  warn: [Told<Warn>];
  /** The exit code, as in the summary. */
  exit: [exitCode: number];
}

const readPolicy = (policy: string | Policy, cwd: string | undefined): Policy =>
  typeof policy === 'string' ? loadPolicy(policy, (file) => readFileSync(resolve(cwd ?? '.', file), 'utf8')) : policy;

const isWritable = (folder: string): boolean => {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** CFX_RUNTIME_DIR has to work; XDG_RUNTIME_DIR is often set and not there. */
const runtimeFolder = ({ CFX_RUNTIME_DIR, XDG_RUNTIME_DIR }: NodeJS.ProcessEnv): string =>
  CFX_RUNTIME_DIR || (XDG_RUNTIME_DIR && isWritable(XDG_RUNTIME_DIR) ? XDG_RUNTIME_DIR : tmpdir());

/** Starts the command with cfx in it; resolves when it runs, rejects when it cannot be started. */
export async function attach(options: AttachOptions): Promise<AttachHandle> {
  options.signal?.throwIfAborted();
  const plan = compilePlan(readPolicy(options.policy ?? 'paper-2bit', options.cwd));
  if (options.strict && options.refusal)
    throw new CfxError(options.refusal.code, options.refusal.reason, { fix: options.refusal.fix });
  const env = options.env ?? process.env;
  const folder = makeRunFolder(runtimeFolder(env));
  let control: Control | null = null;
  try {
    const run = composeRun({ ...options, plan, endpoint: controlEndpoint(folder), kernelsPath: kernelsFolder(env) });
    const shim = writeRunTo(folder, run, env.PYTHONPATH);
    control = await openControl({ folder, token: run.token });
    const { cwd, stdio, forwardSignals } = options;
    const command = launch(options.command, { cwd, stdio, forwardSignals, env: { ...env, ...shim.env } });
    await command.started;
    return new AttachHandle({
      options,
      readPolicy: (policy) => readPolicy(policy, options.cwd),
      folder,
      control,
      command,
      tally: newTally(plan, options.verify ?? false),
    });
  } catch (error) {
    await control?.close();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
