/** What a command gets from the outside; only cli.ts makes one from the real process. */
export interface Context {
  readonly env: { [name: string]: string | undefined };
  readonly cwd: string;
  readonly home: string;
  /** What follows `--`, untouched; null: there was no `--`. */
  readonly launch: string[] | null;
  /** Whole text, with its line ends. stdout is for results only. */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** Every line of ours on stderr starts the same way. */
export const logTo = (context: Context) => (line: string) =>
  context.err(
    `${line
      .split('\n')
      .map((each) => (each.startsWith('cfx: ') || each === 'cfx:' ? each : `cfx: ${each}`))
      .join('\n')}\n`,
  );
