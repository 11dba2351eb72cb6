/** Makes one policy's samples: launches what is missing, watches it, and judges whether it may be compared. */
import { createWriteStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AttachOptions } from './attach.js';
import { attach } from './attach.js';
import { CfxError } from './errors.js';
import type { Provenance, RankMeasures } from './evalfolder.js';
import {
  countComplete,
  keepSamples,
  LAUNCH_LOG,
  readLaunched,
  readMeasures,
  requireSame,
  sampleName,
  writeLaunched,
} from './evalfolder.js';
import { canGoOn, fillIn } from './evalsamples.js';
import type { Summary } from './summary.js';

const LOOK_MS = 500;
const LOG_LINES = 15;

export interface PolicyRun {
  /** The policy's own folder. */
  folder: string;
  provenance: Provenance;
  samplesFile: string;
  /** Passed on to attach(). */
  attach: Pick<
    AttachOptions,
    'policy' | 'device' | 'verify' | 'sidePath' | 'refusal' | 'agreeTimeoutSeconds' | 'helloTimeoutSeconds'
  > &
    Pick<AttachOptions, 'env' | 'cwd' | 'signal'>;
  /** One line for a person. */
  log: (line: string) => void;
  /** Called when the number of complete samples has grown. */
  onSample: (complete: number) => void;
}

/** Complete samples that a launch need not make again. */
function takeUp({ folder, provenance, log }: PolicyRun): { complete: number; done: boolean } {
  const launched = readLaunched(folder);
  if (launched) requireSame(folder, launched, provenance);
  const found = launched ? countComplete(folder) : 0;
  const wanted = provenance.samples?.length ?? null;
  if (launched && (wanted === null ? launched.finished && found > 0 : found >= wanted)) return { complete: found, done: true };
  const complete = canGoOn(provenance.command) ? found : 0;
  if (complete > 0) log(`goes on after ${complete} complete samples`);
  else if (found > 0)
    log(`starts over: ${found} complete samples are made again, for the launch command has no {start} to skip them by`);
  return { complete, done: false };
}

/** Resolves when all samples of the policy are complete; the number of them. */
export async function makeSamples(run: PolicyRun): Promise<number> {
  const { folder, provenance, samplesFile, log, onSample } = run;
  const { complete, done } = takeUp(run);
  if (done) {
    log(`all ${complete} samples are there; nothing is launched`);
    return complete;
  }
  keepSamples(folder, complete);
  writeLaunched(folder, { provenance, finished: false });
  let known = complete;
  const look = () => {
    for (; readMeasures(folder, known) !== null; onSample(known)) known++;
  };
  const looking = setInterval(look, LOOK_MS);
  try {
    const { summary, exitCode } = await launchOnce(run, complete, fillIn(provenance.command, samplesFile, complete));
    look();
    run.attach.signal?.throwIfAborted();
    accept(run, summary, exitCode, known);
  } finally {
    clearInterval(looking);
  }
  writeLaunched(folder, { provenance, finished: true });
  return known;
}

async function launchOnce(run: PolicyRun, firstSample: number, command: string[]) {
  const { folder, provenance, log } = run;
  log('starts the launch; what it prints goes into launch.log');
  const handle = await attach({
    ...run.attach,
    command,
    strict: true, // an uncompressed run must not pass for the policy's
    observe: { folder, firstSample, outputs: true, measureSamples: provenance.measureSamples, record: null },
    stdio: 'pipe',
    log,
  });
  const output = createWriteStream(join(folder, LAUNCH_LOG));
  handle.stdout?.pipe(output, { end: false });
  handle.stderr?.pipe(output, { end: false });
  handle.once('ready', ({ verdict }) => verdict && log('the ranks are attached'));
  const summary = await handle.done;
  await new Promise<void>((resolve) => output.end(resolve));
  return { summary, exitCode: handle.exitCode };
}

/** The end of what the launch printed; of a torchrun that failed, what came before its own report on that. */
function logTail(folder: string): string {
  const text = readFileSync(join(folder, LAUNCH_LOG), 'utf8').trimEnd();
  const lines = text.split('\n');
  const report = lines.findIndex((line) => /elastic\/.*(closing signal|failed \(exitcode)/.test(line));
  const own = report > 0 ? lines.slice(0, report) : lines;
  return text ? `; the end of its output:\n  ${own.slice(-LOG_LINES).join('\n  ')}\n` : '';
}

/** Refuses a launch whose samples are not what the policy's name says, or not all there. */
function accept({ folder, provenance, log }: PolicyRun, summary: Summary, exitCode: number, complete: number): void {
  const wanted = provenance.samples?.length ?? null;
  const all = `All of its output is in ${join(folder, LAUNCH_LOG)}; what is complete is kept.`;
  const refused = summary.ranks.some(({ agreed }) => agreed === false) || summary.ranks.length === 0;
  const [first] = summary.fallbacks;
  if (refused && first)
    throw new CfxError(first.code, `the ranks ran without this policy, so there is nothing to evaluate: ${first.reason}`);
  if (exitCode !== 0) {
    if (wanted === null || complete < wanted)
      throw new CfxError('CFX_EVALUATION', `the launch ended with exit code ${exitCode}${logTail(folder)}`, { fix: all });
    log(`the launch ended with exit code ${exitCode} after its last sample`);
  }
  if (refused) throw new CfxError('CFX_NO_HELLO', 'no rank reported, so there is nothing to evaluate');
  if (complete === 0)
    throw new CfxError('CFX_EVALUATION', `the script made no sample: no pipeline was called to its end${logTail(folder)}`, {
      fix: 'A sample is one call of a diffusers or xDiT pipeline; xDiT’s own rehearsal (prepare_run) does not count.',
    });
  if (wanted !== null && complete !== wanted)
    throw new CfxError('CFX_EVALUATION', `the script made ${complete} samples of ${wanted}`, {
      fix: 'It has to call the pipeline once for each line of {samples}, from line {start} (counted from 0) on.',
    });
}

/** Ranks' figures of the samples 0 … count - 1. */
export const readAllMeasures = (folder: string, count: number): RankMeasures[][] =>
  Array.from({ length: count }, (_, index) => {
    const measures = readMeasures(folder, index);
    if (!measures) throw new CfxError('CFX_EVALUATION', `${join(folder, sampleName(index))} is not complete any more`);
    return measures;
  });
