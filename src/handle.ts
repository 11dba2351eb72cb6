/** A launch that runs attached: its events, its summary so far, its policy, its end. */
import { EventEmitter } from 'node:events';
import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AttachEvents, AttachOptions } from './attach.js';
import type { Control, Peer } from './control.js';
import { channelProblems, explainSilence } from './diagnosis.js';
import type { ErrorCode } from './errors.js';
import { CfxError, ERRORS } from './errors.js';
import type { Launch } from './launch.js';
import { endRunProcesses } from './orphans.js';
import type { Plan } from './plan.js';
import { compilePlan } from './plan.js';
import type { Policy } from './policy.js';
import type { Fallback, FromRank } from './protocol.js';
import { plainLine, renderJson } from './report.js';
import { ReportFile } from './reportfile.js';
import type { BootedProcess } from './shim.js';
import { readProcesses } from './shim.js';
import type { Summary } from './summary.js';
import type { Tally } from './telemetry.js';
import { foldMessage, summarize } from './telemetry.js';

/** How long processes get after TERM before they are killed. */
const TERM_MS = 5000;

/** What an attached launch is made of, all of it started. */
interface Parts {
  options: AttachOptions;
  /** Reads a policy as the launch's own was read. */
  readPolicy: (policy: string | Policy) => Policy;
  folder: string;
  control: Control;
  command: Launch;
  tally: Tally;
}

export class AttachHandle extends EventEmitter<AttachEvents> {
  /** Resolves when the launch has ended and nothing of it is left. */
  readonly done: Promise<Summary>;
  private readonly parts: Parts;
  private readonly report: ReportFile | null;
  private readonly said = new Set<string>();
  private readonly helloTimer: NodeJS.Timeout;
  private epoch = 0;
  private messages = 0;
  private failure: CfxError | null = null;
  private exit: number | null = null;
  private ending: Promise<void> | null = null;
  private processes: BootedProcess[] = [];

  constructor(parts: Parts) {
    super();
    this.parts = parts;
    const { options, control } = parts;
    this.report = options.report ? new ReportFile(resolve(options.cwd ?? '.', options.report)) : null;
    control.on('message', (peer, message) => this.take(peer, message));
    control.on('refused', (reason) => this.say('CFX_CONTROL', reason, 'The frame was dropped; the launch is not affected.'));
    const helloSeconds = options.helloTimeoutSeconds ?? 120;
    this.helloTimer = setTimeout(() => this.checkHello(helloSeconds), Math.min(helloSeconds * 1000, 2 ** 31 - 1));
    if (options.refusal) this.say(options.refusal.code, options.refusal.reason, options.refusal.fix);
    const onAbort = () => void this.end();
    options.signal?.addEventListener('abort', onAbort, { once: true });
    this.done = this.finish().finally(() => options.signal?.removeEventListener('abort', onAbort));
    this.done.catch(() => {}); // it is the caller's to await
    if (options.signal?.aborted) onAbort();
  }

  get pid(): number {
    return this.parts.command.pid;
  }
  /** Standard output and error with stdio "pipe", null otherwise. */
  get stdout(): NodeJS.ReadableStream | null {
    return this.parts.command.stdout;
  }
  get stderr(): NodeJS.ReadableStream | null {
    return this.parts.command.stderr;
  }
  /** What the process that attached should exit with: the command's own code, or 96 or 97. Known when `done` has resolved. */
  get exitCode(): number {
    if (this.exit === null)
      throw new CfxError('CFX_USAGE', 'the launch still runs and has no exit code.', { fix: 'Await done first.' });
    return this.exit;
  }

  /** What has been heard so far. */
  summary(): Summary {
    const { tally, control, options } = this.parts;
    const ending = { exitCode: this.exit, refusedFrames: control.refusedFrames, fallbacks: [] };
    const heard = summarize(tally, ending);
    const known = new Set(heard.fallbacks.map(({ code }) => code));
    const { refusal } = options;
    const more: Fallback[] =
      refusal && !known.has(refusal.code) ? [{ code: refusal.code, reason: refusal.reason, count: 1 }] : [];
    const silent = this.exit !== null && heard.ranks.length === 0 && more.length === 0;
    more.push(...(silent ? explainSilence(this.processes) : channelProblems(this.processes)));
    return more.length === 0 ? heard : summarize(tally, { ...ending, fallbacks: more });
  }

  /** Takes effect at the next generation; resolves when every rank has acknowledged, rejects when one cannot. */
  async setPolicy(policy: string | Policy, { signal }: { signal?: AbortSignal } = {}): Promise<Plan> {
    signal?.throwIfAborted();
    const plan = compilePlan(this.parts.readPolicy(policy));
    if (this.exit !== null || this.ending) throw new CfxError('CFX_PLAN_REFUSED', 'the launch has ended.');
    const epoch = ++this.epoch;
    this.parts.tally.plans.set(epoch, plan);
    await this.parts.control.sendPlan({ type: 'plan', epoch, plan }, signal);
    return plan;
  }

  /** Ends the launch and resolves with its summary. An abort ends the wait, not the ending. */
  async stop({ signal }: { signal?: AbortSignal } = {}): Promise<Summary> {
    void this.end();
    if (!signal) return this.done;
    signal.throwIfAborted();
    const aborted = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    );
    return Promise.race([this.done, aborted]);
  }

  private end(): Promise<void> {
    this.ending ??= (async () => {
      const { command, folder } = this.parts;
      command.kill('SIGTERM');
      const grace = new AbortController();
      const patience = sleep(TERM_MS, undefined, { signal: grace.signal }).catch(() => {});
      const obeyed = await Promise.race([command.exited.then(() => true), patience.then(() => false)]);
      grace.abort();
      await endRunProcesses(folder, { exitMs: 0, termMs: obeyed ? TERM_MS : 0 });
      command.kill('SIGKILL');
    })();
    return this.ending;
  }

  private take({ rank, nonce }: Peer, message: FromRank): void {
    this.messages++;
    foldMessage(this.parts.tally, { rank, nonce }, message);
    switch (message.type) {
      case 'hello': {
        const { type: _type, token: _token, ...hello } = message;
        this.emit('hello', hello);
        return;
      }
      case 'ready':
        if (!message.verdict) this.problem(message.code || 'CFX_NOT_ATTACHED', message.reason);
        this.emit('ready', { rank, ...message });
        return;
      case 'warn':
        this.say(message.code, message.reason);
        this.emit('warn', { rank, ...message });
        return;
      case 'generation':
        if (message.phase === 'end') this.writeReport();
        this.emit('generation', { rank, ...message });
        return;
      case 'telemetry':
        for (const { code, reason } of message.fallbacks) this.say(code, reason);
        this.emit('step', { rank, generation: message.generation, step: message.step, steps: message.steps });
        return;
      case 'verify':
        this.writeReport();
        return;
      default:
        return;
    }
  }

  /** Said once, loudly; without it compression would be missing silently. */
  private say(code: ErrorCode, reason: string, fix: string = ERRORS[code].fix): void {
    const line = plainLine(`${code}: ${reason.replace(/\.?$/, '.')} ${fix}`);
    if (this.said.has(line) || this.said.size >= 100) return;
    this.said.add(line);
    this.parts.options.log?.(line);
  }

  /** Keeps the launch from compressing; ends it when the user asked for all or nothing. */
  private problem(code: ErrorCode, reason: string): void {
    this.say(code, reason);
    if (!this.parts.options.strict || this.failure) return;
    this.failure = new CfxError(code, reason);
    void this.end();
  }

  private checkHello(seconds: number): void {
    if (this.parts.tally.lives.size > 0) return;
    const processes = readProcesses(this.parts.folder);
    // A process that loaded cfx and has no process group yet may be loading its model.
    const silent = processes.length === 0 || channelProblems(processes).length > 0;
    if (!silent) return;
    for (const { code, reason } of explainSilence(processes)) this.problem(code, `after ${seconds} s: ${reason}`);
  }

  private writeReport(): Promise<void> {
    if (!this.report) return Promise.resolve();
    return this.report.write(renderJson(this.summary())).catch((error) => {
      this.say(
        'CFX_CONTROL',
        `the report cannot be written: ${error.message}`,
        'Name a file in a folder that exists and is writable.',
      );
    });
  }

  private async finish(): Promise<Summary> {
    const { command, control, folder } = this.parts;
    const code = await command.exited;
    clearTimeout(this.helloTimer);
    await this.ending;
    const left = await endRunProcesses(folder, { exitMs: 1000, termMs: TERM_MS });
    if (left.length > 0) this.say('CFX_CONTROL', `ended ${left.length} processes that the launch left behind`, '');
    await this.drain();
    await control.close();
    this.processes = readProcesses(folder);
    this.exit = this.judge(code);
    await this.writeReport();
    rmSync(folder, { recursive: true, force: true });
    this.emit('exit', this.exit);
    return this.summary();
  }

  /** Frames that a rank sent just before its end are still on their way. */
  private async drain(): Promise<void> {
    for (let quiet = 0, seen = this.messages; quiet < 25 && this.parts.control.attached.length > 0; quiet++) {
      await sleep(20);
      if (seen !== this.messages) [quiet, seen] = [0, this.messages];
    }
  }

  private judge(code: number): number {
    const { tally, options } = this.parts;
    const silence = tally.lives.size === 0 && !options.refusal ? explainSilence(this.processes) : [];
    for (const { code: problem, reason } of silence) this.say(problem, reason);
    if (this.failure) return this.failure.exitCode;
    if (options.strict && code === 0 && silence[0]) return ERRORS[silence[0].code].exit;
    const [mismatch] = tally.verify?.mismatches ?? [];
    if (!mismatch) return code;
    this.say('CFX_VERIFY', mismatch);
    return code === 0 ? ERRORS.CFX_VERIFY.exit : code;
  }
}
