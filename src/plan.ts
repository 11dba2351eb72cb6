/**
 * The plan: what every rank does, as plain data. Cells are read in order and the first that matches
 * wins; a call that no cell matches is left to the framework, uncompressed.
 */
import { createHash } from 'node:crypto';
import type { Collective, Role } from './adapter.js';
import { COLLECTIVES, ROLES } from './adapter.js';
import type { BaseDtype, CodecName, KeyframeCodec, Statistics } from './codec.js';
import { CODECS, choosesStatistics } from './codec.js';
import { CfxError } from './errors.js';
import type { Policy, Rule } from './policy.js';
import { PRESETS } from './preset.js';
import { readRange } from './range.js';

/** Half-open range; `null` as the end means "to the last". */
export type Range = [number, number | null];

export interface Cell {
  steps: Range;
  layers: Range;
  roles: Role[];
  collectives: Collective[];
  /** `off` leaves the matching tensors to the framework. */
  codec: CodecName | 'off';
  /** 0: code the tensor itself. 1: its difference to the base. 2: its difference to a prediction from the base's trend. */
  residualOrder: 0 | 1 | 2;
  /** With a base: the sender's follows the decoded value (true) or the exact one (false). */
  feedback: boolean;
  /** What keyframes are sent in; "identity" is the tensor's own dtype. */
  keyframeCodec: KeyframeCodec;
  /** What bases are kept in; "native" is the tensor's own dtype. */
  baseDtype: BaseDtype;
  /** What channel scales and the predictor's coefficients are taken from. */
  statistics: Statistics;
}

export interface Plan {
  /** First 16 hex digits of the SHA-256 of the canonical JSON of all other fields. */
  planId: string;
  /** The preset or file it came from. */
  policy: string;
  /**
   * The first this many steps of a generation are sent whole (keyframes).
   * @minimum 1
   */
  warmupSteps: number;
  /** @maxItems 256 */
  cells: Cell[];
}

/** JSON with sorted keys and no white space: equal values give equal text. */
const canonicalJson = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
};

export const planIdOf = ({ policy, warmupSteps, cells }: Omit<Plan, 'planId'>): string =>
  createHash('sha256').update(canonicalJson({ policy, warmupSteps, cells })).digest('hex').slice(0, 16);

/** Listed in the table's own order, so that the order a user wrote does not change the plan's id. */
const ordered = <T>(all: readonly T[], chosen: readonly T[] = all): T[] => all.filter((item) => chosen.includes(item));

const compileRule = (rule: Rule, forAll: Policy): Cell => {
  const exact = rule.codec === 'off' || CODECS[rule.codec].exact;
  const residualOrder = rule.residualOrder ?? (exact ? 0 : 1);
  const feedback = rule.feedback ?? true;
  const chooses = rule.codec !== 'off' && choosesStatistics(rule.codec, residualOrder, feedback);
  return {
    steps: readRange(rule.steps),
    layers: readRange(rule.layers),
    roles: ordered(ROLES, rule.roles),
    collectives: ordered(COLLECTIVES, rule.collectives),
    codec: rule.codec,
    residualOrder,
    feedback,
    keyframeCodec: rule.keyframeCodec ?? 'identity',
    // an exact codec keeps no base, or what it is to give back exactly
    baseDtype: exact ? 'native' : (rule.baseDtype ?? forAll.baseDtype ?? 'native'),
    statistics: chooses ? (rule.statistics ?? forAll.statistics ?? 'exact') : 'exact',
  };
};

/** The same policy always gives the same plan, id included. */
export function compilePlan(policy: Policy): Plan {
  const preset = policy.preset ?? 'off';
  const body = {
    policy: policy.name ?? (policy.rules?.length ? 'custom' : preset),
    warmupSteps: policy.warmupSteps ?? 1,
    cells: [...(policy.rules ?? []), ...PRESETS[preset].rules].map((rule) => compileRule(rule, policy)),
  };
  return { planId: planIdOf(body), ...body };
}

const inRange = (index: number, [from, to]: Range) => index >= from && (to === null || index < to);

/** The cell that decides for one call; null leaves it to the framework. */
export const cellFor = (plan: Plan, step: number, layer: number, role: Role, collective: Collective): Cell | null =>
  plan.cells.find(
    (cell) =>
      inRange(step, cell.steps) &&
      inRange(layer, cell.layers) &&
      cell.roles.includes(role) &&
      cell.collectives.includes(collective),
  ) ?? null;

/** Checks what a schema cannot: that ranges hold something and that the id is the content's. */
export function assertPlan(plan: Plan): Plan {
  for (const [index, { steps, layers }] of plan.cells.entries()) {
    for (const [from, to] of [steps, layers]) {
      if (to !== null && to <= from) {
        throw new CfxError('CFX_PLAN_REFUSED', `cell ${index} of plan ${plan.planId} has the empty range [${from}, ${to})`);
      }
    }
  }
  const found = planIdOf(plan);
  if (found !== plan.planId) {
    throw new CfxError('CFX_PLAN_REFUSED', `the plan is named ${plan.planId}, but its content hashes to ${found}`);
  }
  return plan;
}
