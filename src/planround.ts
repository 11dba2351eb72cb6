/** One plan on its way to the ranks: settled when every rank of the job has answered. Pure bookkeeping. */
import { CfxError } from './errors.js';
import type { Ack, Refuse } from './protocol.js';

interface Member {
  readonly rank: number;
  readonly nonce: string;
  readonly worldSize: number;
}

export class PlanRound {
  readonly epoch: number;
  readonly settled: Promise<void>;
  private readonly planId: string;
  /** Per rank, the process that has to answer and whether it has. */
  private readonly members = new Map<number, { member: Member; acked: boolean }>();
  private resolve!: () => void;
  private reject!: (error: unknown) => void;

  constructor(epoch: number, planId: string, members: Member[]) {
    this.epoch = epoch;
    this.planId = planId;
    this.settled = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.settled.catch(() => {}); // whoever awaits it sees the rejection; nobody has to
    for (const member of members) this.joined(member);
  }

  joined(member: Member): void {
    this.members.set(member.rank, { member, acked: false });
  }

  acknowledged(member: Member, { epoch, planId }: Ack): void {
    const entry = this.members.get(member.rank);
    if (epoch !== this.epoch || planId !== this.planId || entry?.member.nonce !== member.nonce) return;
    entry.acked = true;
    const acked = [...this.members.values()].filter((each) => each.acked);
    // Ranks that have not said hello yet get the plan with their welcome and have to answer too.
    if (acked.length >= member.worldSize) this.resolve();
  }

  refused({ rank }: Member, { epoch, code, reason }: Refuse): void {
    if (epoch === this.epoch)
      this.fail(new CfxError('CFX_PLAN_REFUSED', `rank ${rank} refused epoch ${epoch}: ${code}: ${reason}`));
  }

  left(member: Member): void {
    const entry = this.members.get(member.rank);
    if (entry?.member.nonce !== member.nonce || entry.acked) return;
    this.fail(
      new CfxError('CFX_PLAN_REFUSED', `rank ${member.rank} left before every rank had acknowledged epoch ${this.epoch}.`),
    );
  }

  /** Its successor in the same rank will have to answer. */
  replaced({ rank }: Member): void {
    this.members.delete(rank);
  }

  fail(error: unknown): void {
    this.reject(error);
  }
}
