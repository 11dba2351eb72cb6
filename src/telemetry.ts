/**
 * Folds the ranks' messages into a summary. Telemetry is cumulative per process, so that the newest
 * one stands for all before it; processes of the same rank (elastic restarts) add up. No I/O, no clock.
 */
import type { Plan } from './plan.js';
import type { Fallback, FromRank, SiteCounters, Telemetry } from './protocol.js';
import type { RankSummary, Summary } from './summary.js';
import type { Verification } from './verification.js';
import { compareDigests, newVerification } from './verification.js';

/** What a warning list may grow to per process; a peer must not fill our memory. */
const MAX_WARNINGS = 64;

/** One process of a rank. */
interface Life {
  rank: number;
  order: number;
  worldSize: number;
  pid: number;
  versions: { [name: string]: string };
  patches: string[];
  agreed: boolean | null;
  generations: number;
  finished: boolean;
  telemetry: Telemetry | null;
  peakBaseBytes: number;
  /** Problems told once, by warn or by a negative verdict. */
  warnings: Fallback[];
}

/** All that has been heard of one launch. */
export interface Tally {
  /** Plans by epoch; what was never put in force is in it too. */
  plans: Map<number, Plan>;
  epoch: number;
  lives: Map<string, Life>;
  verify: Verification | null;
}

export interface Sender {
  readonly rank: number;
  readonly nonce: string;
}

export const newTally = (plan: Plan, verify: boolean): Tally => ({
  plans: new Map([[0, plan]]),
  epoch: 0,
  lives: new Map(),
  verify: verify ? newVerification() : null,
});

const addWarning = (life: Life, code: Fallback['code'], reason: string): void => {
  if (life.warnings.length >= MAX_WARNINGS) return;
  if (life.warnings.some((known) => known.code === code && known.reason === reason)) return;
  life.warnings.push({ code, reason, count: 1 });
};

const takeTelemetry = (life: Life, telemetry: Telemetry): void => {
  if (life.telemetry && telemetry.sequence < life.telemetry.sequence) return;
  life.telemetry = telemetry;
  life.peakBaseBytes = Math.max(life.peakBaseBytes, telemetry.baseMemoryBytes);
};

/** Adds one message to the tally. */
export function foldMessage(tally: Tally, { rank, nonce }: Sender, message: FromRank): void {
  if (message.type === 'hello') {
    const order = [...tally.lives.values()].filter((life) => life.rank === rank).length;
    const { worldSize, pid, versions, patches } = message;
    tally.lives.set(nonce, {
      rank,
      order,
      worldSize,
      pid,
      versions,
      patches,
      agreed: null,
      generations: 0,
      finished: false,
      telemetry: null,
      peakBaseBytes: 0,
      warnings: [],
    });
    return;
  }
  const life = tally.lives.get(nonce);
  if (!life) return;
  switch (message.type) {
    case 'ready':
      life.agreed = message.verdict;
      if (!message.verdict) addWarning(life, message.code || 'CFX_NOT_ATTACHED', message.reason);
      return;
    case 'telemetry':
      return takeTelemetry(life, message);
    case 'bye':
      life.finished = true;
      return takeTelemetry(life, message.telemetry);
    case 'generation':
      if (message.phase === 'end') life.generations++;
      if (tally.plans.has(message.epoch)) tally.epoch = Math.max(tally.epoch, message.epoch);
      return;
    case 'verify':
      if (tally.verify)
        compareDigests(tally.verify, `${life.order}:${message.generation}`, message.generation, rank, message.digests);
      return;
    case 'warn':
      return addWarning(life, message.code, message.reason);
    case 'ack':
    case 'refuse':
      return;
  }
}

/** Plain text order, the same on every machine. */
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const ROLE_ORDER = 'qkvo';
const layerOf = (site: string): number => Number(/\.(\d+)$/.exec(site)?.[1] ?? -1);
const compareSites = (a: SiteCounters, b: SiteCounters): number =>
  compareText(a.site.replace(/\.\d+$/, ''), b.site.replace(/\.\d+$/, '')) ||
  layerOf(a.site) - layerOf(b.site) ||
  ROLE_ORDER.indexOf(a.role) - ROLE_ORDER.indexOf(b.role) ||
  compareText(a.collective, b.collective) ||
  compareText(a.codec, b.codec);

const COUNTS = ['calls', 'compressed', 'keyframes', 'rawBytes', 'wireBytes'] as const;

const sumSites = (all: SiteCounters[]): SiteCounters[] => {
  const sums = new Map<string, SiteCounters>();
  for (const site of all) {
    const key = [site.site, site.role, site.collective, site.codec].join('\n');
    const sum = sums.get(key);
    if (!sum) sums.set(key, { ...site });
    else for (const count of COUNTS) sum[count] += site[count];
  }
  return [...sums.values()].sort(compareSites);
};

const sumFallbacks = (all: Fallback[]): Fallback[] => {
  const sums = new Map<string, Fallback>();
  for (const fallback of all) {
    const key = `${fallback.code}\n${fallback.reason}`;
    const sum = sums.get(key);
    if (!sum) sums.set(key, { ...fallback });
    else sum.count += fallback.count;
  }
  return [...sums.values()].sort((a, b) => b.count - a.count || compareText(a.code, b.code) || compareText(a.reason, b.reason));
};

/** A problem that a process both warned of and counts is reported with its count. */
const fallbacksOf = (life: Life): Fallback[] => {
  const counted = life.telemetry?.fallbacks ?? [];
  const isCounted = ({ code, reason }: Fallback) => counted.some((each) => each.code === code && each.reason === reason);
  return [...counted, ...life.warnings.filter((warning) => !isCounted(warning))];
};

const sum = <T>(items: T[], value: (item: T) => number): number => items.reduce((total, item) => total + value(item), 0);
const largest = <T>(items: T[], value: (item: T) => number): number =>
  items.reduce((most, item) => Math.max(most, value(item)), 0);

const summarizeRank = (lives: Life[]): RankSummary => {
  const latest = lives.reduce((a, b) => (b.order > a.order ? b : a));
  const sites = lives.flatMap((life) => life.telemetry?.sites ?? []);
  return {
    rank: latest.rank,
    worldSize: latest.worldSize,
    pid: latest.pid,
    versions: latest.versions,
    agreed: latest.agreed,
    patches: latest.patches,
    rawBytes: sum(sites, (site) => site.rawBytes),
    wireBytes: sum(sites, (site) => site.wireBytes),
    baseMemoryBytes: largest(lives, (life) => life.peakBaseBytes),
    generations: sum(lives, (life) => life.generations),
    steps: sum(lives, (life) => life.telemetry?.steps ?? 0),
    finished: latest.finished,
    telemetryDropped: sum(lives, (life) => life.telemetry?.dropped ?? 0),
  };
};

export interface Ending {
  exitCode: number | null;
  /** Frames that the control socket refused. */
  refusedFrames: number;
  /** Problems that no rank could tell of. */
  fallbacks: Fallback[];
}

export function summarize(tally: Tally, { exitCode, refusedFrames, fallbacks }: Ending): Summary {
  const lives = [...tally.lives.values()];
  const rankNumbers = [...new Set(lives.map(({ rank }) => rank))].sort((a, b) => a - b);
  const ranks = rankNumbers.map((rank) => summarizeRank(lives.filter((life) => life.rank === rank)));
  const plan = tally.plans.get(tally.epoch) as Plan;
  const [rawBytes, wireBytes] = [sum(ranks, (rank) => rank.rawBytes), sum(ranks, (rank) => rank.wireBytes)];
  return {
    planId: plan.planId,
    policy: plan.policy,
    epoch: tally.epoch,
    exitCode,
    worldSize: largest(lives, ({ worldSize }) => worldSize),
    ranks,
    generations: largest(ranks, ({ generations }) => generations),
    steps: largest(ranks, ({ steps }) => steps),
    sites: sumSites(lives.flatMap((life) => life.telemetry?.sites ?? [])),
    totals: { rawBytes, wireBytes, ratio: wireBytes > 0 ? rawBytes / wireBytes : null },
    fallbacks: sumFallbacks([...fallbacks, ...lives.flatMap(fallbacksOf)]),
    notes: [...new Set(lives.flatMap((life) => life.telemetry?.notes ?? []))],
    baseMemoryBytes: largest(ranks, ({ baseMemoryBytes }) => baseMemoryBytes),
    verify: {
      enabled: tally.verify !== null,
      generations: tally.verify?.generations ?? 0,
      compared: tally.verify?.compared ?? 0,
      mismatches: [...(tally.verify?.mismatches ?? [])],
    },
    refusedFrames: refusedFrames + sum(lives, (life) => life.telemetry?.refused ?? 0),
    droppedFrames: sum(ranks, ({ telemetryDropped }) => telemetryDropped),
  };
}
