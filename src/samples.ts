/** The samples that ranks left in a folder (src/observe.ts): which are complete, and their measures. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** `measures.json` of one rank: sums over this rank's sends of the sample, a figure for each step. */
export interface RankMeasures {
  rank: number;
  worldSize: number;
  steps: number;
  /** Of the whole pipeline call, and up to its last denoising step. */
  seconds: number;
  denoisingSeconds: number;
  /** Whether the sends were looked at, which takes time. */
  measured: boolean;
  rawBytes: number;
  wireBytes: number;
  sites: SiteMeasures[];
  /** Some activations of each step, the same ones in every run. */
  sketch: number[][];
}

export interface SiteMeasures {
  transformer: string;
  layer: number;
  role: string;
  collective: string;
  branch: number;
  /** Per step: the codec, ‖x‖², ‖x − y‖² with y what receivers use, ‖x_t − x_{t−1}‖² and x_t · x_{t−1}. */
  codec: string[];
  energy: number[];
  error: number[];
  change: number[];
  dot: number[];
}

export interface Sample {
  number: number;
  folder: string;
  /** By rank. */
  ranks: RankMeasures[];
}

const rankFolders = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => /^rank-\d+$/.test(name))
    .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)));

/** The complete samples from number 0 on, up to the first that is not there or not complete. */
export function readSamples(folder: string): Sample[] {
  const samples: Sample[] = [];
  for (let number = 0; ; number += 1) {
    const path = join(folder, `sample-${String(number).padStart(4, '0')}`);
    if (!existsSync(path)) return samples;
    const files = rankFolders(path).map((rank) => join(path, rank, 'measures.json'));
    if (files.length === 0 || !files.every((file) => existsSync(file))) return samples;
    const ranks = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as RankMeasures);
    if (ranks.length !== ranks[0]?.worldSize) return samples;
    samples.push({ number, folder: path, ranks });
  }
}
