/** Tells a person how far an evaluation is, and how long it will take. */

/** Between two lines; the last sample of a policy is always told. */
const PAUSE_MS = 5000;

const duration = (seconds: number): string => {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
};

export class Progress {
  private readonly began: number;
  private made = 0;
  private told = Number.NEGATIVE_INFINITY;
  private readonly policies: string[];
  private readonly log: (line: string) => void;
  private readonly now: () => number;

  constructor(policies: string[], log: (line: string) => void, now: () => number) {
    this.policies = policies;
    this.log = log;
    this.now = now;
    this.began = now();
  }

  /** One line about a policy, by its number. */
  say(policy: number, line: string): void {
    this.log(`eval: ${this.policies[policy]} (${policy + 1} of ${this.policies.length}): ${line}`);
  }

  /** A sample has been made; `total` is null as long as nobody knows how many there will be. */
  sample(policy: number, complete: number, total: number | null): void {
    this.made++;
    const now = this.now();
    if (now - this.told < PAUSE_MS && complete !== total) return;
    this.told = now;
    if (total === null) return this.say(policy, `${complete} samples complete`);
    const left = total - complete + total * (this.policies.length - policy - 1);
    const seconds = ((now - this.began) / 1000 / this.made) * left;
    this.say(policy, `sample ${complete} of ${total} complete${left > 0 ? `, about ${duration(seconds)} left` : ''}`);
  }
}
