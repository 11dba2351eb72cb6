/** Tells a person how far an evaluation is, and how long it will take. */

/** Between two lines; the last sample of a policy is always told. */
const PAUSE_MS = 5000;

const duration = (seconds: number): string => {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
};

/** A mean that grows value by value. */
class Mean {
  private sum = 0;
  private count = 0;
  add(value: number): void {
    this.sum += value;
    this.count++;
  }
  or(other: number): number {
    return this.count > 0 ? this.sum / this.count : other;
  }
}

export class Progress {
  private readonly policies: string[];
  private readonly log: (line: string) => void;
  private readonly now: () => number;
  /** From a launch to its first sample: frameworks and models are loaded. */
  private readonly firsts = new Mean();
  private readonly others = new Mean();
  private policy = -1;
  private since: number;
  private told = Number.NEGATIVE_INFINITY;

  constructor(policies: string[], log: (line: string) => void, now: () => number) {
    this.policies = policies;
    this.log = log;
    this.now = now;
    this.since = now();
  }

  /** One line about a policy, by its number. */
  say(policy: number, line: string): void {
    this.log(`eval: ${this.policies[policy]} (${policy + 1} of ${this.policies.length}): ${line}`);
  }

  /** A sample has been made; `total` is null as long as nobody knows how many there will be. */
  sample(policy: number, complete: number, total: number | null): void {
    const now = this.now();
    (policy === this.policy ? this.others : this.firsts).add(now - this.since);
    [this.policy, this.since] = [policy, now];
    if (now - this.told < PAUSE_MS && complete !== total) return;
    this.told = now;
    if (total === null) return this.say(policy, `${complete} samples complete`);
    const launches = this.policies.length - policy - 1;
    const first = this.firsts.or(0);
    const left = launches * first + (total - complete + launches * (total - 1)) * this.others.or(first);
    this.say(policy, `sample ${complete} of ${total} complete${left > 0 ? `, about ${duration(left / 1000)} left` : ''}`);
  }
}
