/**
 * Codecs on recorded activations (`cfx eval --trace`): what the offline replay says of each site, and the figures made
 * of it. Pure.
 */
import type { Collective, Role } from './adapter.js';

interface TraceSite {
  sample: number;
  rank: number;
  transformer: string;
  layer: number;
  role: Role;
  collective: Collective;
  branch: number;
}

/** One site of the trace under one plan; lists have an entry for each step. */
export interface ReplayedSite extends TraceSite {
  codec: string[];
  /** ‖x‖², and ‖x − y‖² with y what a receiver uses, over all peers' blocks. */
  energy: number[];
  error: number[];
  blocks: number;
  tokens: number;
  channels: number;
  /** To one peer, over all steps; flag blocks apart. */
  rawBytes: number;
  wireBytes: number;
  encodeSeconds: number;
  decodeSeconds: number;
}

/** What the activations of one site are like (python_shim/cfx_eval/signal.py). */
export interface SignalSite extends TraceSite {
  relativeChange: (number | null)[];
  cosine: (number | null)[];
  continuation: (number | null)[];
  kurtosis: (number | null)[];
  rotatedKurtosis: (number | null)[];
}

/** Means over sites and steps. */
export interface SignalRow {
  role: Role;
  sites: number;
  /**
   * ‖x_t − x_{t−1}‖ / ‖x_t‖
   * @fraction
   */
  relativeChange: number | null;
  /**
   * Of x_t and x_{t−1}.
   * @fraction
   */
  cosine: number | null;
  /**
   * Cosine of successive changes, x_t − x_{t−1} and x_{t−1} − x_{t−2}.
   * @fraction
   */
  continuation: number | null;
  /**
   * Of what the paper's 1-bit loop codes, E[x⁴] / E[x²]²: 3 for a Gaussian.
   * @fraction
   */
  kurtosis: number | null;
  /**
   * The same after a randomised Hadamard transform.
   * @fraction
   */
  rotatedKurtosis: number | null;
  /**
   * Mean over sites, for each step.
   * @fraction
   */
  relativeChangePerStep: (number | null)[];
}

export interface TraceError {
  role: Role;
  /**
   * Mean over this role's sites and all steps but the first.
   * @fraction
   */
  relativeError: number;
}

export interface TracePolicy {
  policy: string;
  planId: string;
  /**
   * ‖x − y‖ / ‖x‖, mean over all sites and all steps but the first.
   * @fraction
   */
  relativeError: number;
  roles: TraceError[];
  /**
   * Mean over sites, for each step, the first included.
   * @fraction
   */
  relativeErrorPerStep: number[];
  /** To one peer over all sites and steps, keyframes included, flag blocks apart; raw in the trace's own type. */
  rawBytes: number;
  wireBytes: number;
  /** @fraction */
  ratio: number;
  /**
   * Of the offline replay on one thread, all sites and steps.
   * @fraction
   */
  encodeSeconds: number;
  /** @fraction */
  decodeSeconds: number;
}

export interface TraceEvaluation {
  format: 1;
  created: string;
  trace: string;
  version: string;
  steps: number;
  sites: number;
  signal: SignalRow[];
  policies: TracePolicy[];
}

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const meanOf = (lists: (number | null)[][]): number | null => {
  const values = lists.flat().filter((value) => value !== null);
  return values.length > 0 ? mean(values) : null;
};

const relative = (energy: number, error: number): number => (energy > 0 ? Math.sqrt(error / energy) : 0);
const errorsOf = ({ energy, error }: ReplayedSite): number[] => energy.map((value, step) => relative(value, error[step]!));

const byRole = <S extends TraceSite>(sites: S[]): [Role, S[]][] =>
  [...new Set(sites.map(({ role }) => role))].map((role) => [role, sites.filter((site) => site.role === role)]);

const perStep = (lists: (number | null)[][]): (number | null)[] =>
  Array.from({ length: Math.max(0, ...lists.map(({ length }) => length)) }, (_, step) =>
    meanOf(lists.map((list) => [list[step] ?? null])),
  );

export const summariseSignal = (sites: SignalSite[]): SignalRow[] =>
  byRole(sites).map(([role, own]) => ({
    role,
    sites: own.length,
    relativeChange: meanOf(own.map((site) => site.relativeChange)),
    cosine: meanOf(own.map((site) => site.cosine)),
    continuation: meanOf(own.map((site) => site.continuation)),
    kurtosis: meanOf(own.map((site) => site.kurtosis)),
    rotatedKurtosis: meanOf(own.map((site) => site.rotatedKurtosis)),
    relativeChangePerStep: perStep(own.map((site) => site.relativeChange)),
  }));

export function summariseReplay(policy: string, planId: string, sites: ReplayedSite[]): TracePolicy {
  const later = (own: ReplayedSite[]) => mean(own.flatMap((site) => errorsOf(site).slice(1)));
  const total = (key: 'rawBytes' | 'wireBytes' | 'encodeSeconds' | 'decodeSeconds') =>
    sites.reduce((sum, site) => sum + site[key], 0);
  const [rawBytes, wireBytes] = [total('rawBytes'), total('wireBytes')];
  return {
    policy,
    planId,
    relativeError: later(sites),
    roles: byRole(sites).map(([role, own]) => ({ role, relativeError: later(own) })),
    relativeErrorPerStep: perStep(sites.map(errorsOf)) as number[],
    rawBytes,
    wireBytes,
    ratio: rawBytes / wireBytes,
    encodeSeconds: total('encodeSeconds'),
    decodeSeconds: total('decodeSeconds'),
  };
}

const fixed = (value: number | null, digits: number): string => (value === null ? '–' : value.toFixed(digits));

function table(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

/** For a person to read. */
export function renderTrace({ trace, steps, sites, signal, policies }: TraceEvaluation): string {
  const roles = policies[0]?.roles.map(({ role }) => role) ?? [];
  return [
    `${trace}: ${sites} sites, ${steps} steps`,
    '',
    'activations, mean over sites and steps',
    ...table([
      ['role', 'change/norm', 'cosine', 'continuation', 'kurtosis', 'rotated'],
      ...signal.map((row) => [
        row.role,
        fixed(row.relativeChange, 3),
        fixed(row.cosine, 4),
        fixed(row.continuation, 2),
        fixed(row.kurtosis, 1),
        fixed(row.rotatedKurtosis, 1),
      ]),
    ]),
    '',
    'relative error in closed loop, mean over sites and all steps but the first; bytes to one peer, keyframes included',
    ...table([
      ['policy', 'error', ...roles, 'raw MB', 'wire MB', 'ratio', 'encode s', 'decode s'],
      ...policies.map((each) => [
        each.policy,
        fixed(each.relativeError, 4),
        ...each.roles.map(({ relativeError }) => fixed(relativeError, 4)),
        fixed(each.rawBytes / 1e6, 2),
        fixed(each.wireBytes / 1e6, 2),
        fixed(each.ratio, 2),
        fixed(each.encodeSeconds, 2),
        fixed(each.decodeSeconds, 2),
      ]),
    ]),
    '',
  ].join('\n');
}
