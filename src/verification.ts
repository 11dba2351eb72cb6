/** Compares the digests of bases that ranks send at a generation's end: equal keys, equal values. Pure. */

/** A long-running server must not keep every generation's digests. */
const GENERATIONS_KEPT = 4;
const MAX_MISMATCHES = 100;

interface First {
  rank: number;
  digest: string;
  compared: boolean;
}

export interface Verification {
  /** Generations of which at least one key was seen by two ranks. */
  generations: number;
  /** Keys seen by two or more ranks. */
  compared: number;
  mismatches: string[];
  /** Per generation, the first digest of each key. */
  open: Map<string, { counted: boolean; firsts: Map<string, First> }>;
}

export const newVerification = (): Verification => ({ generations: 0, compared: 0, mismatches: [], open: new Map() });

/** `id` tells a generation from one of the same number in a process's earlier life. */
export function compareDigests(
  state: Verification,
  id: string,
  generation: number,
  rank: number,
  digests: { [base: string]: string },
): void {
  let entry = state.open.get(id);
  if (!entry) {
    entry = { counted: false, firsts: new Map() };
    state.open.set(id, entry);
    const oldest = state.open.keys().next();
    if (state.open.size > GENERATIONS_KEPT && !oldest.done) state.open.delete(oldest.value);
  }
  for (const [key, digest] of Object.entries(digests)) {
    const first = entry.firsts.get(key);
    if (!first) {
      entry.firsts.set(key, { rank, digest, compared: false });
      continue;
    }
    if (first.rank === rank) continue;
    if (!first.compared) state.compared++;
    first.compared = true;
    if (!entry.counted) state.generations++;
    entry.counted = true;
    if (first.digest !== digest && state.mismatches.length < MAX_MISMATCHES) {
      state.mismatches.push(
        `generation ${generation}, ${key}: rank ${first.rank} has ${first.digest}, rank ${rank} has ${digest}`,
      );
    }
  }
}
