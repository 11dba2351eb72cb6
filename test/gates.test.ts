/**
 * Gates on the closed loop's error: every policy on small recorded traces of the example models, offline and through
 * the live path's code. A figure may leave its committed baseline by MARGIN either way: worse is a regression, better
 * is worth committing (`npm run build && node test/fixtures/traces/baseline.mjs`).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../src/package.js';
import { compilePlan } from '../src/plan.js';
import type { Policy } from '../src/policy.js';
import { replayTrace } from '../src/replay.js';
import { ensureEnvironment } from '../src/setup.js';
import type { TraceEvaluation } from '../src/tracing.js';

const MARGIN = 0.03;
const FOLDER = join(PACKAGE_ROOT, 'test/fixtures/traces');

interface Gates {
  policies: { [name: string]: Policy };
  errors: { [trace: string]: { [policy: string]: number } };
}

const gates = JSON.parse(readFileSync(join(FOLDER, 'baseline.json'), 'utf8')) as Gates;
const traces = readdirSync(FOLDER, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() && entry.name !== '__pycache__' ? [entry.name] : [],
);
const found = new Map<string, TraceEvaluation>();

beforeAll(async () => {
  const { python } = await ensureEnvironment({ root: PACKAGE_ROOT, env: process.env, log: () => undefined });
  const plans = Object.entries(gates.policies).map(([policy, rules]) => ({ policy, plan: compilePlan(rules) }));
  for (const trace of traces) {
    found.set(trace, await replayTrace({ trace: join(FOLDER, trace), plans, python, env: process.env }));
  }
}, 300_000);

test('Every trace has its baseline, and every baseline its trace', () => {
  expect(Object.keys(gates.errors).sort()).toEqual([...traces].sort());
});

describe.each(traces)('%s', (trace) => {
  const errorOf = (policy: string): number => {
    const row = found.get(trace)?.policies.find((each) => each.policy === policy);
    if (!row) throw new Error(`${policy} was not replayed`);
    return row.relativeError;
  };

  test.each(Object.keys(gates.policies))('The error of %s is that of its baseline', (policy) => {
    const baseline = gates.errors[trace]?.[policy] as number;
    expect(errorOf(policy)).toBeGreaterThanOrEqual(baseline * (1 - MARGIN));
    expect(errorOf(policy)).toBeLessThanOrEqual(baseline * (1 + MARGIN));
  });

  test("The paper's order holds: feedback beats none, a residual beats none, two bits beat one", () => {
    expect(errorOf('paper-1bit')).toBeLessThan(errorOf('open-1bit'));
    expect(errorOf('open-1bit')).toBeLessThan(errorOf('naive-1bit'));
    expect(errorOf('paper-2bit')).toBeLessThan(errorOf('paper-1bit'));
  });

  test("Ours beat the paper's of the same class, and a trellis single levels", () => {
    expect(errorOf('cfx-1bit-fast')).toBeLessThan(errorOf('paper-1bit'));
    expect(errorOf('cfx-2bit-fast')).toBeLessThan(errorOf('paper-2bit'));
    expect(errorOf('cfx-1bit')).toBeLessThan(errorOf('cfx-1bit-fast'));
    expect(errorOf('cfx-2bit')).toBeLessThan(errorOf('cfx-2bit-fast'));
  });
});
