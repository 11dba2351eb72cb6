/** Frames on their way out. zeromq.js throws EBUSY when a send starts while another is pending: one sender, one bounded queue. */
export class Outbox {
  private readonly queue: [id: string, body: Buffer][] = [];
  private readonly send: (id: string, body: Buffer) => Promise<void>;
  private readonly limit: number;
  private sending = false;

  constructor(send: (id: string, body: Buffer) => Promise<void>, limit: number) {
    this.send = send;
    this.limit = limit;
  }

  /** False: the queue is full and the frame was not taken. */
  push(id: string, body: Buffer): boolean {
    if (this.queue.length >= this.limit) return false;
    this.queue.push([id, body]);
    if (!this.sending) void this.drain();
    return true;
  }

  clear(): void {
    this.queue.length = 0;
  }

  private async drain(): Promise<void> {
    this.sending = true;
    for (let next = this.queue.shift(); next; next = this.queue.shift()) {
      try {
        await this.send(...next);
      } catch {
        // A peer that cannot be reached is gone, and so is a closed socket; no launch depends on either.
      }
    }
    this.sending = false;
  }
}
