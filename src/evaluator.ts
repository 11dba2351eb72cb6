/** An evaluation from its options to its result: every policy's samples, their figures, the judge. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CfxError } from './errors.js';
import type { Provenance, RankMeasures } from './evalfolder.js';
import { writeWhole } from './evalfolder.js';
import type { JudgeOptions } from './evaljudge.js';
import { judge } from './evaljudge.js';
import type { Figures } from './evalmetrics.js';
import { workOutFigures } from './evalmetrics.js';
import { Progress } from './evalprogress.js';
import { assembleEvaluation } from './evalresult.js';
import type { PolicyRun } from './evalrun.js';
import { makeSamples, readAllMeasures } from './evalrun.js';
import type { Sample } from './evalsamples.js';
import { jsonLines } from './evalsamples.js';
import type { Evaluation, JudgeScore } from './evaluation.js';
import type { Plan } from './plan.js';
import type { Policy } from './policy.js';

export interface EvaluatedPolicy {
  policy: Policy;
  plan: Plan;
  /** In the evaluation's folder. */
  folder: string;
}

export interface EvaluatorOptions {
  folder: string;
  /** The uncompressed run first. */
  policies: EvaluatedPolicy[];
  /** Null: the launch command chooses. */
  samples: Sample[] | null;
  provenance: Omit<Provenance, 'planId' | 'samples'>;
  attach: Omit<PolicyRun['attach'], 'policy' | 'device'>;
  /** The interpreter that works out figures. */
  python: string;
  lpipsWeights: string | null;
  judge: Pick<JudgeOptions, 'command' | 'cwd'> | null;
  env: { [name: string]: string | undefined };
  log: (line: string) => void;
  signal: AbortSignal;
  /** Milliseconds, of a clock that never goes back. */
  now: () => number;
}

export async function evaluate(options: EvaluatorOptions): Promise<Omit<Evaluation, 'created'>> {
  const { folder, policies, samples, log, env, signal } = options;
  mkdirSync(folder, { recursive: true });
  const samplesFile = join(folder, 'samples.jsonl');
  if (samples) writeWhole(samplesFile, jsonLines(samples));
  const counts = await makeAll(options, samplesFile);
  const measures = policies.map((policy) => readAllMeasures(join(folder, policy.folder), counts));
  requireComparable(options, measures);
  log('eval: working out the metrics');
  const figures = await workOutFigures({
    ...{ python: options.python, folder, lpipsWeights: options.lpipsWeights, env, signal },
    policies: policies.map((policy) => policy.folder),
    samples: counts,
    onLine: throttled(log, options.now),
  });
  const scores = await judgeAll(options, figures);
  return assembleEvaluation({
    ...{ command: options.provenance.command, versions: options.provenance.versions, device: options.provenance.device },
    ...{ samples, figures },
    policies: policies.map(({ plan }, index) => ({
      name: plan.policy,
      planId: plan.planId,
      measures: measures[index] as RankMeasures[][],
      judge: scores[index] ?? null,
    })),
  });
}

/** How many samples every policy has. */
async function makeAll(options: EvaluatorOptions, samplesFile: string): Promise<number> {
  const { policies, samples, provenance, log } = options;
  const progress = new Progress(
    policies.map(({ plan }) => plan.policy),
    log,
    options.now,
  );
  const counts: number[] = [];
  for (const [number, { policy, plan, folder }] of policies.entries()) {
    options.signal.throwIfAborted();
    const total = samples?.length ?? counts[0] ?? null;
    counts.push(
      await makeSamples({
        folder: join(options.folder, folder),
        provenance: { ...provenance, samples, planId: plan.planId },
        samplesFile,
        attach: { ...options.attach, policy, device: provenance.device, signal: options.signal },
        log: (line) => progress.say(number, line),
        onSample: (complete) => progress.sample(number, complete, total),
      }),
    );
  }
  const [first = 0] = counts;
  const other = counts.findIndex((count) => count !== first);
  if (other >= 0)
    throw new CfxError(
      'CFX_EVALUATION',
      `${policies[other]!.plan.policy} made ${counts[other]} samples, the uncompressed run ${first}: they cannot be compared one by one`,
      { fix: 'Let the script make the same samples in every run; all that were made are kept.' },
    );
  return first;
}

function requireComparable({ policies }: EvaluatorOptions, measures: RankMeasures[][][]): void {
  const shape = (of: RankMeasures[][]) => of.map(([rank]) => `${rank!.steps} steps on ${rank!.worldSize} ranks`);
  const expected = shape(measures[0]!);
  for (const [number, of] of measures.entries()) {
    const at = shape(of).findIndex((found, index) => found !== expected[index]);
    if (at >= 0)
      throw new CfxError(
        'CFX_EVALUATION',
        `sample ${at} of ${policies[number]!.plan.policy} took ${shape(of)[at]}, of the uncompressed run ${expected[at]}`,
        { fix: 'Policies are compared on the same topology and steps.' },
      );
  }
  const sent = measures[0]!.flat().reduce((bytes, { rawBytes }) => bytes + rawBytes, 0);
  if (sent === 0)
    throw new CfxError('CFX_EVALUATION', 'no tensor crossed ranks in a way that cfx knows, so no policy can make a difference', {
      fix: 'Launch several ranks with Ulysses or ring attention; "cfx attach --policy identity -- <command>" shows what is sent.',
    });
}

async function judgeAll(options: EvaluatorOptions, figures: Figures): Promise<(JudgeScore | null)[]> {
  const { folder, samples, log, env, signal } = options;
  if (!options.judge || !samples) return [];
  const scores: JudgeScore[] = [];
  for (const policy of figures.policies) {
    log(`eval: the judge looks at ${policy.folder}`);
    const pictures = policy.samples.flatMap(({ index, outputs }) =>
      outputs.map(({ file }) => ({ prompt: samples[index]!.prompt, file: join(folder, file) })),
    );
    scores.push(await judge(join(folder, policy.folder), pictures, { ...options.judge, env, signal }));
  }
  return scores;
}

/** Lets a line through now and then. */
function throttled(log: (line: string) => void, now: () => number): (line: string) => void {
  let told = now();
  return (line) => {
    if (now() - told < 5000) return;
    told = now();
    log(`eval: ${line}`);
  };
}
