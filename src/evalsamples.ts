/** Pure: which samples an evaluation makes, and how a launch command is told of them. */
import { CfxError } from './errors.js';
import { show } from './nearest.js';

export interface Sample {
  prompt: string;
  seed: number;
}

/** In a launch command: a JSON-lines file of {"prompt", "seed"}, all samples in order. */
export const SAMPLES = '{samples}';
/** In a launch command: how many of them are complete already; the script skips these. */
export const START = '{start}';

const has = (command: string[], placeholder: string) => command.some((word) => word.includes(placeholder));

/** One prompt a line; blank lines do not count. */
export const readPrompts = (text: string): string[] =>
  text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean);

/** Every prompt with the first seed, then every prompt with the second: more seeds leave the samples before them as they are. */
export const samplesOf = (prompts: string[], seeds: number[]): Sample[] =>
  seeds.flatMap((seed) => prompts.map((prompt) => ({ prompt, seed })));

export const jsonLines = (samples: Sample[]): string => samples.map((sample) => `${JSON.stringify(sample)}\n`).join('');

export function parseSeeds(text: string): number[] {
  const seeds = text.split(',').map((seed) => (/^\s*\d+\s*$/.test(seed) ? Number(seed) : Number.NaN));
  const wrong = seeds.findIndex((seed) => !Number.isSafeInteger(seed));
  if (wrong >= 0)
    throw new CfxError('CFX_USAGE', `--seeds: found ${show(text.split(',')[wrong])}; expected whole numbers such as 1,2,3`);
  if (new Set(seeds).size < seeds.length) throw new CfxError('CFX_USAGE', `--seeds: found a number twice in ${show(text)}`);
  return seeds;
}

/** What does not fit together in a launch command and the options about samples; such a run would evaluate something else. */
export function checkPlaceholders(command: string[], { prompts, seeds }: { prompts: boolean; seeds: boolean }): void {
  const refuse = (found: string, fix: string): never => {
    throw new CfxError('CFX_USAGE', found, { fix });
  };
  if (has(command, SAMPLES) && !prompts)
    refuse(`the launch command has ${SAMPLES}, but there are no prompts`, 'Give --prompts FILE, one prompt a line.');
  if (!has(command, SAMPLES) && (prompts || seeds))
    refuse(
      `--${prompts ? 'prompts' : 'seeds'} is given, but the launch command has no ${SAMPLES}, so that nothing would read it`,
      `Put ${SAMPLES} where the script takes the file of its samples (JSON lines of {"prompt", "seed"}), or leave the option out.`,
    );
  if (has(command, START) && !has(command, SAMPLES))
    refuse(
      `the launch command has ${START} without ${SAMPLES}`,
      `Give both: ${START} counts samples of the file ${SAMPLES} names.`,
    );
}

/** Whether an interrupted launch can go on where it ended. */
export const canGoOn = (command: string[]): boolean => has(command, START);

export const fillIn = (command: string[], samplesFile: string, start: number): string[] =>
  command.map((word) => word.replaceAll(SAMPLES, samplesFile).replaceAll(START, String(start)));
