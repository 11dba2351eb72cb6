/** Pure: what `cfx doctor` knows, and its text. */
import { ADAPTERS, type AdapterName, TORCH_SINCE, TRITON_SINCE } from './adapter.js';
import type { Detection } from './detect.js';
import { PATCHES } from './patches.js';
import type { Probe } from './probe.js';

export interface Diagnosis {
  cfx: string;
  node: string;
  platform: string;
  command: string[];
  probe: Probe | null;
  probeProblem: string | null;
  detection: Detection;
  sidePath: string;
  managedPython: string | null;
  /** Adapter to the symbols it would replace; an adapter that would be refused is not in it. */
  patches: { [adapter: string]: readonly string[] };
}

/** Without a command the question is about the interpreter alone. */
export const plannedPatches = (probe: Probe | null): Diagnosis['patches'] =>
  Object.fromEntries(
    Object.entries(ADAPTERS)
      .filter(([, { distribution }]) => probe?.machine.distributions[distribution as 'xfuser'])
      .map(([name]) => [name, PATCHES[name as AdapterName]]),
  );

const row = (name: string, value: string) => `  ${name.padEnd(16)}${value}`;

function describeInterpreter({ probe, probeProblem, sidePath }: Diagnosis): string[] {
  if (!probe) return [row('interpreter', probeProblem ?? 'unknown')];
  const { interpreter, machine } = probe;
  const expected: { [name: string]: string } = {
    torch: `expected >=${TORCH_SINCE}`,
    triton: `expected >=${TRITON_SINCE}`,
  };
  for (const { distribution, since, before } of Object.values(ADAPTERS))
    expected[distribution] = `expected >=${since},<${before}`;
  return [
    row(
      'interpreter',
      `${machine.python} (${machine.implementation} ${machine.version})${interpreter.certain ? '' : ', a guess: the command does not say'}`,
    ),
    ...Object.entries(machine.distributions).map(([name, version]) =>
      row(name, `${version ?? 'not installed'}${expected[name] ? ` (${expected[name]})` : ''}`),
    ),
    ...(machine.hasUserSitecustomize
      ? [row('sitecustomize', 'the environment has one of its own; it still runs, after that of cfx')]
      : []),
    ...(sidePath ? [row('side folder', sidePath)] : []),
  ];
}

function describeFindings({ refusals, warnings, advice }: Detection): string[] {
  const lines = [
    ...refusals.map(({ code, message, fix }) => `  ${code}: ${message}.\n    Fix: ${fix}`),
    ...warnings.map(({ code, message, fix }) => `  possibly ${code}: ${message}.\n    Fix: ${fix}`),
    ...advice.map(({ message, fix }) => `  note: ${message}.\n    ${fix}`),
  ];
  return ['problems', ...(lines.length > 0 ? lines : ['  none found'])];
}

export function renderDiagnosis(diagnosis: Diagnosis): string {
  const { cfx, node, platform, command, managedPython, patches, detection } = diagnosis;
  const symbols = Object.entries(patches).flatMap(([name, list]) => [
    `  adapter ${name}`,
    ...list.map((symbol) => `    ${symbol}`),
  ]);
  return `${[
    'versions',
    row('cfx', cfx),
    row('node', `${node}, ${platform}`),
    row('command', command.join(' ') || "none given: asking PATH's python3"),
    ...describeInterpreter(diagnosis),
    row('cfx setup', managedPython ?? 'not done (only the demo and the tests need it)'),
    "would be patched, in each rank's memory only",
    ...(symbols.length > 0 ? symbols : ['  nothing: no supported framework is installed there']),
    ...describeFindings(detection),
  ].join('\n')}\n`;
}
