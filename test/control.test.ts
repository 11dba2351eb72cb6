import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Dealer } from 'zeromq';
import type { Control, Peer } from '../src/control.js';
import { controlEndpoint, openControl } from '../src/control.js';
import { decodeFrame, encodeFrame } from '../src/frames.js';
import { compilePlan } from '../src/plan.js';
import type { FromRank, Hello, PlanMessage, Telemetry, ToRank } from '../src/protocol.js';
import { MAX_FRAME_BYTES, MAX_FRAMES_PER_SECOND } from '../src/protocol.js';

jest.setTimeout(30_000);

const TOKEN = 'feedfacefeedface';

/** Speaks the rank's side of the protocol, over a real socket. */
class FakeRank {
  readonly dealer: Dealer;
  readonly hello: Hello;
  constructor(endpoint: string, rank: number, overrides: Partial<Hello> = {}) {
    this.hello = {
      type: 'hello',
      protocol: 1,
      token: TOKEN,
      rank,
      worldSize: 2,
      localRank: rank,
      pid: 1000 + rank,
      nonce: `nonce-${rank}`,
      versions: { torch: '2.15.0' },
      patches: ['a.b'],
      planId: '0'.repeat(16),
      ...overrides,
    };
    this.dealer = new Dealer({ linger: 0, routingId: this.hello.nonce, receiveTimeout: 20_000 });
    this.dealer.connect(endpoint);
  }
  send = (message: FromRank | Buffer) => this.dealer.send(Buffer.isBuffer(message) ? message : encodeFrame(message));
  async receive(): Promise<ToRank> {
    const [body] = await this.dealer.receive();
    return decodeFrame(body as Buffer) as ToRank;
  }
  async attach(): Promise<ToRank> {
    await this.send(this.hello);
    return this.receive();
  }
  ready = () => this.send({ type: 'ready', verdict: true, code: '', reason: '', planId: this.hello.planId });
}

const telemetry = (overrides: Partial<Telemetry> = {}): Telemetry => ({
  type: 'telemetry',
  sequence: 1,
  generation: 0,
  step: 0,
  steps: 0,
  sites: [],
  fallbacks: [],
  notes: [],
  baseMemoryBytes: 0,
  dropped: 0,
  refused: 0,
  ...overrides,
});

let folder: string;
let control: Control;
let ranks: FakeRank[];
let clock: number;
let seen: { peer: Peer; message: FromRank }[];
let refusals: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cfx-'));
  [ranks, seen, refusals, clock] = [[], [], [], 0];
  control = await openControl({ folder, token: TOKEN, now: () => clock });
  control.on('message', (peer, message) => seen.push({ peer, message }));
  control.on('refused', (reason) => refusals.push(reason));
});
afterEach(async () => {
  for (const { dealer } of ranks) if (!dealer.closed) dealer.close();
  await control.close();
  rmSync(folder, { recursive: true, force: true });
});

const connect = (rank: number, overrides: Partial<Hello> = {}) => {
  const fake = new FakeRank(control.endpoint, rank, overrides);
  ranks.push(fake);
  return fake;
};
/** Resolves when the condition holds; the test's own limit ends a wait that is in vain. */
const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
};
const planMessage = (epoch: number, preset: 'off' | 'identity' = 'identity'): PlanMessage => ({
  type: 'plan',
  epoch,
  plan: compilePlan({ preset }),
});

test('a rank goes through hello, ready, telemetry and bye', async () => {
  const rank = connect(0);
  expect(await rank.attach()).toEqual({ type: 'welcome', accepted: true, reason: '' });
  await rank.ready();
  await rank.send(telemetry());
  await rank.send({ type: 'verify', generation: 0, digests: { a: 'b' } });
  await rank.send({ type: 'bye', telemetry: telemetry({ sequence: 2 }) });
  await until(() => seen.length === 5);
  expect(seen.map(({ message }) => message.type)).toEqual(['hello', 'ready', 'telemetry', 'verify', 'bye']);
  expect(seen[0]?.peer).toMatchObject({ rank: 0, worldSize: 2, state: 'gone' });
  expect(control.attached).toEqual([]);
  expect(control.refusedFrames).toBe(0);
});

test.each<[string, Partial<Hello>, RegExp]>([
  ['a wrong token', { token: 'feedfacefeedfacf' }, /token/],
  ['a token of another length', { token: 'feed' }, /token/],
  ['another protocol version', { protocol: 2 }, /protocol 2.*speaks 1/],
  ['a rank outside its world', { rank: 2 }, /rank 2 in a world of 2/],
])('%s is refused with a reason', async (_name, overrides, reason) => {
  const welcome = await connect(0, overrides).attach();
  expect(welcome).toMatchObject({ type: 'welcome', accepted: false, reason: expect.stringMatching(reason) });
  expect(control.attached).toEqual([]);
  expect(control.refusedFrames).toBe(1);
});

test('a nonce that is not the routing id is refused', async () => {
  const rank = connect(0);
  await rank.send({ ...rank.hello, nonce: 'another' });
  expect(await rank.receive()).toMatchObject({ accepted: false, reason: expect.stringMatching(/routing id/) });
});

describe('a frame is refused, counted and harmless when it is', () => {
  const cases: [string, (rank: FakeRank) => Promise<void>, RegExp][] = [
    ['no msgpack', (rank) => rank.send(Buffer.from([0xc1])), /not a map/],
    ['an unknown type', (rank) => rank.send(encodeFrame({ type: 'activate' })), /./],
    ['a message with a missing field', (rank) => rank.send(encodeFrame({ type: 'ack', epoch: 1 })), /planId/],
    [
      'a message with an extra field',
      (rank) => rank.send(encodeFrame({ type: 'ack', epoch: 1, planId: 'x', path: '/' })),
      /path/,
    ],
    ['a count that is no integer', (rank) => rank.send(encodeFrame({ ...telemetry(), dropped: 0.5 })), /dropped/],
    ['a second hello', (rank) => rank.send(rank.hello), /out of order/],
    ['what only the orchestrator sends', (rank) => rank.send(encodeFrame({ type: 'welcome', accepted: true, reason: '' })), /./],
    ['a verify before ready', (rank) => rank.send({ type: 'verify', generation: 0, digests: {} }), /out of order/],
    ['larger than a frame may be', (rank) => rank.send(Buffer.alloc(MAX_FRAME_BYTES + 1, 0x80)), /at most/],
    ['in two parts', (rank) => rank.dealer.send([Buffer.from('a'), Buffer.from('b')]), /2 frames/],
  ];
  test.each(cases)('%s', async (_name, send, reason) => {
    const rank = connect(0);
    await rank.attach();
    await send(rank);
    await rank.ready();
    await until(() => seen.some(({ message }) => message.type === 'ready'));
    expect(control.refusedFrames).toBe(1);
    expect(refusals[0]).toMatch(reason);
  });
});

test("a frame beyond the socket's own limit cuts the connection and is counted", async () => {
  const rank = connect(0);
  await rank.attach();
  await rank.send(Buffer.alloc(3 * MAX_FRAME_BYTES));
  await until(() => control.refusedFrames === 1);
  await rank.ready(); // it has connected anew under its old identity
  await until(() => seen.some(({ message }) => message.type === 'ready'));
});

test('anything after bye is out of order', async () => {
  const rank = connect(0);
  await rank.attach();
  await rank.send({ type: 'bye', telemetry: telemetry() });
  await rank.send(telemetry({ sequence: 2 }));
  await until(() => control.refusedFrames === 1);
  expect(seen.map(({ message }) => message.type)).toEqual(['hello', 'bye']);
});

test('a rank that sends too fast is cut off, the others are not', async () => {
  const [flooding, quiet] = [connect(0), connect(1)];
  await flooding.attach();
  await quiet.attach();
  await flooding.ready();
  for (let sequence = 1; sequence <= MAX_FRAMES_PER_SECOND; sequence++) await flooding.send(telemetry({ sequence }));
  await until(() => control.refusedFrames > 0);
  expect(refusals[0]).toMatch(/cut off/);
  await quiet.ready();
  await until(() => seen.at(-1)?.peer.rank === 1 && seen.at(-1)?.message.type === 'ready');
  expect(control.attached.map(({ rank }) => rank)).toEqual([1]);
});

test('as many frames spread over two seconds are taken', async () => {
  const rank = connect(0);
  await rank.attach();
  await rank.ready();
  for (let sequence = 1; sequence <= MAX_FRAMES_PER_SECOND; sequence++) {
    await rank.send(telemetry({ sequence }));
    if (sequence === MAX_FRAMES_PER_SECOND / 2) {
      await until(() => seen.length === 2 + sequence);
      clock += 1000;
    }
  }
  await until(() => seen.length === 2 + MAX_FRAMES_PER_SECOND);
  expect(control.refusedFrames).toBe(0);
});

test("an elastic restart replaces the rank's old process", async () => {
  await connect(0).attach();
  await connect(0, { nonce: 'second-life' }).attach();
  expect(control.attached.map(({ nonce }) => nonce)).toEqual(['second-life']);
});

describe('sendPlan', () => {
  const attachBoth = async () => {
    const both = [connect(0), connect(1)] as const;
    for (const rank of both) await rank.attach();
    return both;
  };
  const answer = async (rank: FakeRank, epoch: number) => {
    const message = (await rank.receive()) as PlanMessage;
    expect(message).toEqual(planMessage(epoch));
    await rank.send({ type: 'ack', epoch, planId: message.plan.planId });
  };

  test('resolves when every rank has acknowledged', async () => {
    const [first, second] = await attachBoth();
    let resolved = false;
    const sent = control.sendPlan(planMessage(1)).then(() => (resolved = true));
    await answer(first, 1);
    await until(() => seen.some(({ message }) => message.type === 'ack'));
    expect(resolved).toBe(false);
    await answer(second, 1);
    await sent;
  });

  test('waits for a rank that says hello later, which gets the plan after its welcome', async () => {
    const first = connect(0);
    await first.attach();
    const sent = control.sendPlan(planMessage(1));
    await answer(first, 1);
    const second = connect(1);
    expect(await second.attach()).toMatchObject({ type: 'welcome', accepted: true });
    await answer(second, 1);
    await sent;
  });

  test('rejects with the reason of the rank that refuses', async () => {
    const [first, second] = await attachBoth();
    const sent = control.sendPlan(planMessage(1));
    sent.catch(() => {});
    await answer(first, 1);
    await second.receive();
    await second.send({ type: 'refuse', epoch: 1, code: 'CFX_NOT_ATTACHED', reason: 'no agreement' });
    await expect(sent).rejects.toMatchObject({
      code: 'CFX_PLAN_REFUSED',
      message: expect.stringMatching(/rank 1.*CFX_NOT_ATTACHED: no agreement/),
    });
  });

  test('a refused plan is not given to a rank that restarts', async () => {
    const [first] = await attachBoth();
    const sent = control.sendPlan(planMessage(1));
    await first.receive();
    await first.send({ type: 'refuse', epoch: 1, code: 'CFX_PLAN_REFUSED', reason: 'no' });
    await expect(sent).rejects.toMatchObject({ code: 'CFX_PLAN_REFUSED' });
    const reborn = connect(0, { nonce: 'second-life' });
    await reborn.attach();
    const next = control.sendPlan(planMessage(2), AbortSignal.timeout(10_000));
    next.catch(() => {});
    expect(await reborn.receive()).toEqual(planMessage(2));
  });

  test('an answer to another epoch or plan does not count', async () => {
    const [first, second] = await attachBoth();
    const abort = new AbortController();
    const sent = control.sendPlan(planMessage(2), abort.signal);
    sent.catch(() => {});
    await answer(first, 2);
    await second.send({ type: 'ack', epoch: 1, planId: planMessage(2).plan.planId });
    await second.send({ type: 'ack', epoch: 2, planId: planMessage(2, 'off').plan.planId });
    await second.send({ type: 'refuse', epoch: 1, code: 'CFX_PLAN_REFUSED', reason: 'late' });
    await until(() => seen.filter(({ peer }) => peer.rank === 1).length === 4);
    abort.abort(new Error('enough'));
    await expect(sent).rejects.toThrow('enough');
  });

  test('rejects when a rank leaves first, and when the launch ends first', async () => {
    const [first] = await attachBoth();
    const sent = control.sendPlan(planMessage(1));
    sent.catch(() => {});
    await first.send({ type: 'bye', telemetry: telemetry() });
    await expect(sent).rejects.toMatchObject({ code: 'CFX_PLAN_REFUSED', message: expect.stringMatching(/rank 0 left/) });
    const again = control.sendPlan(planMessage(2));
    again.catch(() => {});
    await control.close();
    await expect(again).rejects.toMatchObject({ code: 'CFX_PLAN_REFUSED', message: expect.stringMatching(/launch ended/) });
  });

  test('an aborted signal sends nothing', async () => {
    await expect(control.sendPlan(planMessage(1), AbortSignal.abort(new Error('no')))).rejects.toThrow('no');
  });
});

test('a folder whose path is too long for a socket fails early, with a way out', () => {
  expect(() => controlEndpoint(`/${'d'.repeat(93)}`)).not.toThrow();
  expect(() => controlEndpoint(`/${'d'.repeat(94)}`)).toThrow(
    expect.objectContaining({ code: 'CFX_CONTROL', fix: expect.stringMatching(/CFX_RUNTIME_DIR/) }),
  );
  expect(() => controlEndpoint(`/${'é'.repeat(48)}`)).toThrow(/110 bytes/);
});

test('a folder that is not there is a CFX_CONTROL error', async () => {
  await expect(openControl({ folder: join(folder, 'none'), token: TOKEN })).rejects.toMatchObject({ code: 'CFX_CONTROL' });
});

test('close removes the socket and can be repeated', async () => {
  const path = controlEndpoint(folder).slice('ipc://'.length);
  expect(existsSync(path)).toBe(true);
  await control.close();
  await control.close();
  expect(existsSync(path)).toBe(false);
});
