/** Why ranks did not attach, from what the launch's Python processes wrote down. Pure. */
import type { Fallback } from './protocol.js';
import type { BootedProcess } from './shim.js';

const noHello = (reason: string): Fallback => ({ code: 'CFX_NO_HELLO', reason, count: 1 });

/** Problems that processes wrote down because they could not open their channel, equal ones added up. */
export function channelProblems(processes: readonly BootedProcess[]): Fallback[] {
  const problems = new Map<string, Fallback>();
  for (const { problem } of processes) {
    if (!problem) continue;
    const key = `${problem.code}\n${problem.reason}`;
    const known = problems.get(key);
    if (known) known.count++;
    else problems.set(key, { ...problem, count: 1 });
  }
  return [...problems.values()];
}

/** For a launch of which no rank said hello: what can be said about it, most telling first. */
export function explainSilence(processes: readonly BootedProcess[]): Fallback[] {
  if (processes.length === 0) {
    return [
      noHello(
        'no Python process of the launch loaded cfx: Python was started with -I, -S or -E, without the environment, or not at all on this host.',
      ),
    ];
  }
  const problems = channelProblems(processes);
  if (problems.length > 0) return problems;
  const joined = processes.filter((each) => each.joined).sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
  if (joined.length === 0) {
    return [
      noHello(
        `${processes.length} Python ${processes.length === 1 ? 'process' : 'processes'} loaded cfx, but none called torch.distributed.init_process_group: there are no ranks.`,
      ),
    ];
  }
  const names = joined.map(({ rank, pid }) => (rank === null ? `process ${pid}` : `rank ${rank}`));
  return [
    noHello(`${names.slice(0, 8).join(', ')}${names.length > 8 ? ', …' : ''} joined a process group, but no hello arrived.`),
  ];
}
