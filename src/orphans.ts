/**
 * Ends what a launch left behind. A process belongs to a run when the environment it was started with
 * names the run's folder; nothing else is ever touched.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const belongs = (pid: number, entry: string): boolean => {
  try {
    const { uid } = statSync(`/proc/${pid}`);
    if (uid !== process.getuid?.()) return false;
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(entry);
  } catch {
    return false; // ended in the meantime, or not ours to read
  }
};

/** A zombie's environment is empty, so that one that waits for its parent is not found. */
export const findRunProcesses = (folder: string): number[] => {
  const entry = Buffer.from(`CFX_RUN=${folder}`).toString('latin1');
  let names: string[];
  try {
    names = readdirSync('/proc');
  } catch {
    return []; // no /proc on this system: the launcher's own cleaning has to do
  }
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && belongs(pid, entry));
};

const send = (folder: string, signal: NodeJS.Signals): number[] => {
  const pids = findRunProcesses(folder);
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // ended in the meantime
    }
  }
  return pids;
};

const allGone = async (folder: string, withinMs: number): Promise<boolean> => {
  for (let waited = 0; ; waited += 50) {
    if (findRunProcesses(folder).length === 0) return true;
    if (waited >= withinMs) return false;
    await sleep(50);
  }
};

export interface Grace {
  /** For processes that are about to end by themselves. */
  exitMs: number;
  /** Between TERM and KILL. */
  termMs: number;
}

/** Leaves no process of the run; returns those that had to be told. */
export async function endRunProcesses(folder: string, grace: Grace): Promise<number[]> {
  if (await allGone(folder, grace.exitMs)) return [];
  const told = send(folder, 'SIGTERM');
  if (await allGone(folder, grace.termMs)) return told;
  // A process may be started between a look and the kill, hence the repetition.
  for (let round = 0; round < 20; round++) {
    send(folder, 'SIGKILL');
    if (await allGone(folder, 100)) break;
  }
  return told;
}
