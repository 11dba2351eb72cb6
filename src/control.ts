/**
 * The control socket: a ROUTER on ipc in the run folder. Ranks' frames come in, are checked against
 * the state of their sender, and leave as `message` events; whatever is wrong with a frame is counted,
 * never thrown. Sole importer of zeromq. The protocol: schemas/PROTOCOL.md.
 */
import { timingSafeEqual } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Router } from 'zeromq';
import { CfxError } from './errors.js';
import { decodeFrame, encodeFrame } from './frames.js';
import { Outbox } from './outbox.js';
import { PlanRound } from './planround.js';
import type { FromRank, Hello, PlanMessage, ToRank } from './protocol.js';
import { MAX_FRAME_BYTES, MAX_FRAMES_PER_SECOND, PROTOCOL_VERSION } from './protocol.js';
import { validateMessage } from './validate.js';

/** sun_path holds 108 bytes, one of them the terminator. */
const MAX_PATH_BYTES = 107;
const MAX_QUEUE = 1024;
const MAX_IDENTITIES = 4096;

/** One rank process, known by its nonce. */
export interface Peer {
  readonly rank: number;
  readonly nonce: string;
  readonly worldSize: number;
  state: 'attached' | 'running' | 'gone';
}

const TAKES: Record<Peer['state'], readonly FromRank['type'][]> = {
  attached: ['ready', 'ack', 'refuse', 'warn', 'generation', 'telemetry', 'bye'],
  running: ['ack', 'refuse', 'warn', 'generation', 'telemetry', 'verify', 'bye'],
  gone: [],
};

interface Events {
  message: [peer: Peer, message: FromRank];
  /** A frame was refused; the reason is for people. */
  refused: [reason: string];
}

interface Meter {
  second: number;
  frames: number;
}

/** Throws when the folder is too deep for a socket; call it before anything is started. */
export const controlEndpoint = (folder: string): string => {
  const path = join(folder, 'control.sock');
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_PATH_BYTES) return `ipc://${path}`;
  throw new CfxError(
    'CFX_CONTROL',
    `the path of the control socket, ${path}, has ${bytes} bytes; a Unix socket takes at most ${MAX_PATH_BYTES}.`,
    {
      fix: 'Set CFX_RUNTIME_DIR to a folder with a shorter path.',
    },
  );
};

const equalTokens = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class Control extends EventEmitter<Events> {
  readonly endpoint: string;
  /** Frames refused so far, connections cut for their size included. */
  get refusedFrames(): number {
    return this.refusedCount + Math.max(0, this.connections - this.identities.size);
  }
  private readonly token: string;
  private readonly now: () => number;
  private readonly socket = new Router({
    linger: 0,
    maxMessageSize: 2 * MAX_FRAME_BYTES,
    receiveHighWaterMark: 256,
    sendHighWaterMark: MAX_QUEUE,
  });
  private readonly peers = new Map<string, Peer>();
  private readonly meters = new Map<string, Meter>();
  private readonly outbox = new Outbox((id, body) => this.socket.send([Buffer.from(id, 'latin1'), body]), MAX_QUEUE);
  private refusedCount = 0;
  // libzmq drops the connection of a sender of far too large a frame without a word, and the sender
  // connects anew under the same identity: connections beyond identities were cut.
  private connections = 0;
  private readonly identities = new Set<string>();
  private round: PlanRound | null = null;
  private latestPlan: PlanMessage | null = null;
  private loop: Promise<unknown> = Promise.resolve();

  constructor(folder: string, token: string, now: () => number) {
    super();
    this.endpoint = controlEndpoint(folder);
    this.token = token;
    this.now = now;
  }

  async open(): Promise<void> {
    try {
      await this.socket.bind(this.endpoint);
    } catch (cause) {
      this.socket.close();
      throw new CfxError('CFX_CONTROL', `the control socket ${this.endpoint} cannot be opened: ${messageOf(cause)}.`, { cause });
    }
    this.loop = Promise.all([this.receive(), this.watchConnections()]);
  }

  /** Ranks that said hello and have not left. */
  get attached(): Peer[] {
    return [...this.peers.values()].filter(({ state }) => state !== 'gone');
  }

  /** Sends a plan to every rank; resolves when all have acknowledged, rejects when one cannot. */
  async sendPlan(message: PlanMessage, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const body = encodeFrame(message);
    this.round?.fail(
      new CfxError(
        'CFX_PLAN_REFUSED',
        `epoch ${message.epoch} replaced epoch ${this.round.epoch} before every rank had acknowledged it.`,
      ),
    );
    const previous = this.latestPlan;
    this.latestPlan = message;
    const round = new PlanRound(message.epoch, message.plan.planId, this.attached);
    this.round = round;
    for (const [id, { state }] of this.peers) if (state !== 'gone') this.push(id, body);
    const onAbort = () => round.fail(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await round.settled;
    } catch (error) {
      if (this.latestPlan === message) this.latestPlan = previous; // a rank that comes later must not revive it
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      if (this.round === round) this.round = null;
    }
  }

  /** Always lets go of the event loop; a plan round still open is rejected. */
  async close(): Promise<void> {
    this.round?.fail(new CfxError('CFX_PLAN_REFUSED', 'the launch ended before every rank had acknowledged the plan.'));
    this.outbox.clear();
    if (!this.socket.closed) this.socket.close();
    await this.loop;
    await rm(this.endpoint.slice('ipc://'.length), { force: true });
  }

  private async receive(): Promise<void> {
    try {
      for await (const frames of this.socket) this.take(frames);
    } catch (error) {
      if (!this.socket.closed) this.refuse(`the control socket failed: ${messageOf(error)}`);
    }
  }

  private async watchConnections(): Promise<void> {
    // Not by listener: zeromq.js loads its emitter lazily, which fails where modules are loaded twice (jest).
    for await (const { type } of this.socket.events) if (type === 'accept') this.connections++;
  }

  private take(frames: Buffer[]): void {
    const [identity, body] = frames;
    if (!identity || !body || frames.length !== 2) return this.refuse(`a message of ${frames.length - 1} frames`);
    const id = identity.toString('latin1');
    if (this.identities.size < MAX_IDENTITIES) this.identities.add(id);
    const peer = this.peers.get(id);
    try {
      if (peer && peer.state !== 'gone' && this.tooFast(peer)) {
        peer.state = 'gone';
        this.round?.left(peer);
        return this.refuse(`rank ${peer.rank} sent more than ${MAX_FRAMES_PER_SECOND} frames within a second and is cut off`);
      }
      const message = validateMessage(decodeFrame(body), 'fromRank');
      if (!peer) return this.greet(id, identity, message);
      if (!TAKES[peer.state].includes(message.type)) {
        return this.refuse(`rank ${peer.rank} sent ${message.type}, which is out of order when it is ${peer.state}`);
      }
      this.advance(peer, message);
    } catch (error) {
      const name = peer ? `rank ${peer.rank}` : 'an unknown process';
      this.refuse(`${name} sent a frame that is no message: ${messageOf(error)}`);
      if (!peer) this.push(id, encodeFrame({ type: 'welcome', accepted: false, reason: 'this is no hello' } satisfies ToRank));
    }
  }

  private greet(id: string, identity: Buffer, message: FromRank): void {
    const reason = message.type === 'hello' ? this.whyNot(message, identity) : `expected hello, found ${message.type}`;
    this.push(id, encodeFrame({ type: 'welcome', accepted: reason === '', reason } satisfies ToRank));
    if (message.type !== 'hello' || reason !== '') return this.refuse(`a hello was refused: ${reason}`);
    for (const other of this.attached) {
      if (other.rank !== message.rank) continue;
      other.state = 'gone'; // an elastic restart: the same rank in a new process
      this.round?.replaced(other);
    }
    const peer: Peer = { rank: message.rank, nonce: message.nonce, worldSize: message.worldSize, state: 'attached' };
    this.peers.set(id, peer);
    if (this.latestPlan) this.push(id, encodeFrame(this.latestPlan));
    this.round?.joined(peer);
    this.emit('message', peer, message);
  }

  private whyNot(hello: Hello, identity: Buffer): string {
    if (!equalTokens(hello.token, this.token)) return 'the token is not the one of this run';
    if (hello.protocol !== PROTOCOL_VERSION) return `protocol ${hello.protocol}; this orchestrator speaks ${PROTOCOL_VERSION}`;
    if (!identity.equals(Buffer.from(hello.nonce))) return 'the nonce is not the routing id';
    if (hello.rank >= hello.worldSize) return `rank ${hello.rank} in a world of ${hello.worldSize}`;
    return '';
  }

  private advance(peer: Peer, message: FromRank): void {
    if (message.type === 'ready') peer.state = 'running';
    if (message.type === 'bye') {
      peer.state = 'gone';
      this.round?.left(peer);
    }
    if (message.type === 'ack') this.round?.acknowledged(peer, message);
    if (message.type === 'refuse') this.round?.refused(peer, message);
    this.emit('message', peer, message);
  }

  private tooFast({ nonce }: Peer): boolean {
    const second = Math.floor(this.now() / 1000);
    let meter = this.meters.get(nonce);
    if (meter?.second !== second) this.meters.set(nonce, (meter = { second, frames: 0 }));
    return ++meter.frames > MAX_FRAMES_PER_SECOND;
  }

  private refuse(reason: string): void {
    this.refusedCount++;
    this.emit('refused', reason);
  }

  private push(id: string, body: Buffer): void {
    if (!this.outbox.push(id, body)) this.refuse('the send queue is full');
  }
}

export async function openControl(options: { folder: string; token: string; now?: () => number }): Promise<Control> {
  const control = new Control(options.folder, options.token, options.now ?? (() => performance.now()));
  await control.open();
  return control;
}
