/**
 * One policy's folder in an evaluation: what is complete in it, and what it was made with. The layout of the samples
 * is observe.ts's.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CfxError } from './errors.js';
import type { Sample } from './evalsamples.js';

/** What samples that are compared with each other have in common. */
export interface Provenance {
  /** The launch command with its placeholders. */
  command: string[];
  /** Null: the launch command chooses its samples. */
  samples: Sample[] | null;
  planId: string;
  device: 'cpu' | null;
  measureSamples: number;
  /** Of cfx and of what the interpreter has. */
  versions: { [name: string]: string };
}

/** launch.json in a policy's folder. */
export interface Launched {
  provenance: Provenance;
  /** A launch has ended well, with all samples that it makes. */
  finished: boolean;
}

const LAUNCHED = 'launch.json';
export const LAUNCH_LOG = 'launch.log';

export const sampleName = (index: number): string => `sample-${String(index).padStart(4, '0')}`;

/** A file that is whole or not there. */
export function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** Ranks' figures of one complete sample, by rank; null: it is not complete. */
export function readMeasures(folder: string, index: number): RankMeasures[] | null {
  const sample = join(folder, sampleName(index));
  const read = (rank: number) => JSON.parse(readFileSync(join(sample, `rank-${rank}`, 'measures.json'), 'utf8')) as RankMeasures;
  try {
    const first = read(0);
    return [first, ...Array.from({ length: first.worldSize - 1 }, (_, other) => read(other + 1))];
  } catch {
    return null; // a rank has not come to its end, or died while writing
  }
}

/** measures.json of a rank, as far as an evaluation reads it; the shim's observe.py writes it. */
export interface RankMeasures {
  rank: number;
  worldSize: number;
  steps: number;
  seconds: number;
  measured: boolean;
  rawBytes: number;
  wireBytes: number;
}

export function countComplete(folder: string): number {
  let count = 0;
  while (readMeasures(folder, count) !== null) count++;
  return count;
}

export function readLaunched(folder: string): Launched | null {
  try {
    return JSON.parse(readFileSync(join(folder, LAUNCHED), 'utf8')) as Launched;
  } catch {
    return null;
  }
}

export const writeLaunched = (folder: string, launched: Launched): void =>
  writeWhole(join(folder, LAUNCHED), `${JSON.stringify(launched, null, 2)}\n`);

/** Makes the folder and removes every sample from `kept` on: an interrupted one holds files of some ranks. */
export function keepSamples(folder: string, kept: number): void {
  mkdirSync(folder, { recursive: true });
  const names = readdirSync(folder).filter((name) => /^sample-\d+$/.test(name));
  for (const name of names) if (Number(name.slice(7)) >= kept) rmSync(join(folder, name), { recursive: true, force: true });
}

const differing = (was: Provenance, is: Provenance): string[] => {
  const text = (value: unknown) =>
    Array.isArray(value) && typeof value[0] === 'string' ? value.join(' ') : JSON.stringify(value);
  const names = { command: 'launch command', planId: 'plan', device: 'device', measureSamples: '--measure' } as const;
  const plain = (Object.keys(names) as (keyof typeof names)[])
    .filter((key) => text(was[key]) !== text(is[key]))
    .map((key) => `${names[key]} was ${text(was[key])}, is ${text(is[key])}`);
  const versions = [...new Set([...Object.keys(was.versions), ...Object.keys(is.versions)])]
    .filter((name) => was.versions[name] !== is.versions[name])
    .map((name) => `${name} was ${was.versions[name] ?? 'not there'}, is ${is.versions[name] ?? 'not there'}`);
  const before = was.samples ?? [];
  const grown = before.every(({ prompt, seed }, index) => {
    const now = is.samples?.[index];
    return now?.prompt === prompt && now.seed === seed;
  });
  const samples = grown && (was.samples === null) === (is.samples === null) ? [] : ['the prompts and seeds are others'];
  return [...plain, ...versions, ...samples];
};

/** Refuses to mix samples that were made differently. Samples may be added behind those that are there. */
export function requireSame(folder: string, launched: Launched, provenance: Provenance): void {
  const differences = differing(launched.provenance, provenance);
  if (differences.length === 0) return;
  throw new CfxError('CFX_USAGE', `${folder} holds samples that were made differently: ${differences.join('; ')}`, {
    fix: 'Name another folder with --out, or remove that one.',
  });
}
