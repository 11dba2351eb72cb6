/** Ranges as a policy writes them, read into the plan's half-open form. */
import { CfxError } from './errors.js';
import { show } from './nearest.js';
import type { Range } from './plan.js';

export const RANGE_FORMS =
  'a number such as 3, a half-open pair such as [0, 10], or a text such as "0-9" or "10-" (both ends included), not empty';

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Null: not a range, or one that holds nothing. */
export function parseRange(written: unknown): Range | null {
  if (isCount(written)) return [written, written + 1];
  if (Array.isArray(written)) {
    const [from, to, ...rest]: unknown[] = written;
    return isCount(from) && isCount(to) && to > from && rest.length === 0 ? [from, to] : null;
  }
  const match = typeof written === 'string' ? /^\s*(\d+)\s*(?:(-)\s*(\d+)?)?\s*$/.exec(written) : null;
  if (!match) return null;
  const from = Number(match[1]);
  const last = match[3] !== undefined ? Number(match[3]) : from;
  if (match[2] && match[3] === undefined) return isCount(from) ? [from, null] : null;
  return isCount(from) && isCount(last) && last >= from ? [from, last + 1] : null;
}

export function readRange(written: unknown): Range {
  if (written === undefined) return [0, null];
  const range = parseRange(written);
  if (range) return range;
  throw new CfxError('CFX_CONFIG', `found the range ${show(written)}; expected ${RANGE_FORMS}`);
}
