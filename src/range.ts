/** Ranges as a policy writes them, read into the plan's half-open form. */
import { CfxError } from './errors.js';
import type { Range } from './plan.js';
import type { PolicyRange } from './policy.js';

export const RANGE_FORMS = 'a number such as 3, a half-open pair such as [0, 10], or a text such as "0-9" or "10-" (both ends included)';

/** Null: not a range, or one that holds nothing. */
export function parseRange(range: PolicyRange): Range | null {
  let from: number;
  let to: number | null;
  if (typeof range === 'number') [from, to] = [range, range + 1];
  else if (typeof range === 'string') {
    const match = /^\s*(\d+)\s*(?:(-)\s*(\d+)?)?\s*$/.exec(range);
    if (!match) return null;
    from = Number(match[1]);
    to = match[3] !== undefined ? Number(match[3]) + 1 : match[2] ? null : from + 1;
  } else [from, to] = range;
  const valid = Number.isSafeInteger(from) && from >= 0 && (to === null || (Number.isSafeInteger(to) && to > from));
  return valid ? [from, to] : null;
}

export function readRange(range: PolicyRange | undefined): Range {
  if (range === undefined) return [0, null];
  const parsed = parseRange(range);
  if (parsed) return parsed;
  throw new CfxError('CFX_CONFIG', `found the range ${JSON.stringify(range)}; expected ${RANGE_FORMS}, not empty`);
}
