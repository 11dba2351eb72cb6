/** Ctrl-C, SIGTERM and SIGHUP end the programs that a command has started, and then the command. */
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** `run` with a signal that aborts when this process is told to end; then `log` gets `message`, and the code is 128 + n. */
export async function interruptible(
  run: (signal: AbortSignal) => Promise<number>,
  log: (line: string) => void,
  message: string,
): Promise<number> {
  const interruption = new AbortController();
  const interrupt = (name: NodeJS.Signals) => interruption.abort(name);
  for (const name of SIGNALS) process.on(name, interrupt);
  try {
    return await run(interruption.signal);
  } catch (error) {
    if (!interruption.signal.aborted) throw error;
    log(message);
    return 128 + constants.signals[interruption.signal.reason as NodeJS.Signals];
  } finally {
    for (const name of SIGNALS) process.off(name, interrupt);
  }
}
