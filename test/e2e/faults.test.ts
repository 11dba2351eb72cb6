/** What goes wrong in real launches: whose code comes out, who is told, and that nobody compresses alone. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import {
  type Attached,
  childrenOf,
  codes,
  compressedCalls,
  FIXTURES,
  flux,
  isAlive,
  LAUNCH_MS,
  python,
  Scratch,
  until,
} from './fixtures/runs.js';

jest.setTimeout(LAUNCH_MS);

const ULYSSES = ['--ulysses_degree', '2'];
const read = (file: string) => readFileSync(file).toString('base64');

/** What undisturbed launches give: without compression and with 1 bit. */
let references: Scratch;
let [uncompressed, oneBit] = ['', ''];
beforeAll(async () => {
  references = new Scratch();
  const file = (name: string) => references.path(`${name}.safetensors`);
  const plain = await references.unattached(flux({ parallel: ULYSSES, latents: file('plain') }));
  const coded = await references.attach(['--policy', 'paper-1bit'], flux({ parallel: ULYSSES, latents: file('coded') }));
  for (const { code, stderr } of [plain, coded]) if (code !== 0) throw new Error(stderr);
  [uncompressed, oneBit] = [read(file('plain')), read(file('coded'))];
  expect(oneBit).not.toBe(uncompressed);
}, 2 * LAUNCH_MS);
afterAll(() => references.remove());

let scratch: Scratch;
let latents: string;
beforeEach(() => {
  scratch = new Scratch();
  latents = scratch.path('latents.safetensors');
});
afterEach(() => scratch.remove(), 60_000);

test('a rank is killed mid-step: attach ends soon after the launcher, with its code, and nothing is left', async () => {
  const running = scratch.cfx(
    ['attach', '--device', 'cpu', '--policy', 'paper-1bit', '--', ...flux({ parallel: ULYSSES, latents })],
    { env: scratch.watched({ HOLD: '1:3' }) },
  );
  await scratch.marked(running, 'rank-0-begins-3', 'rank-1-begins-3');
  const [torchrun] = childrenOf(running.pid);
  process.kill(Number(scratch.mark('rank-1-begins-3')), 'SIGKILL');
  await until('the launcher to end', () => !isAlive(torchrun!));
  await until('attach to end', () => !isAlive(running.pid), 10_000);
  const { code, stderr } = await running.ended;
  // torchrun's own code for a worker that failed, whatever ended the worker
  expect(code).toBe(1);
  expect(stderr).toMatch(/^cfx: +vanished without a bye: .*1$/m);
  expect(scratch.processes()).toEqual([]);
});

test.each([
  ['before the first step', 1],
  ['mid-run', 3],
])('the orchestrator is killed %s: the launch ends with the same latents and its own code', async (_when, forward) => {
  const code = scratch.path('code');
  const command = ['sh', join(FIXTURES, 'keep_code.sh'), code, ...flux({ parallel: ULYSSES, latents })];
  const running = scratch.cfx(['attach', '--device', 'cpu', '--policy', 'paper-1bit', '--', ...command], {
    env: scratch.watched({ HOLD: `*:${forward}` }),
  });
  await scratch.marked(running, `rank-0-begins-${forward}`, `rank-1-begins-${forward}`);
  running.child.kill('SIGKILL');
  await until('attach to be gone', () => !isAlive(running.pid));
  scratch.go(forward);
  await until('the launch to end', () => existsSync(code));
  expect(readFileSync(code, 'utf8')).toBe('0\n');
  expect(read(latents)).toBe(oneBit);
});

const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port'))));
    });
  });

describe('two nodes', () => {
  const node = (rank: number, port: number) =>
    flux({
      parallel: ULYSSES,
      latents,
      launcher: [
        ...['--nnodes', '2', '--nproc-per-node', '1', '--node-rank', String(rank)],
        ...['--master-addr', '127.0.0.1', '--master-port', String(port)],
      ],
    });
  const expectUncompressed = ({ code, stderr, summary }: Attached, problem: string) => {
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(codes(summary)).toContain(problem);
    expect(compressedCalls(summary)).toBe(0);
    expect(summary.ranks.map(({ agreed }) => agreed)).toEqual([false]);
    expect(stderr).toMatch(new RegExp(`^cfx: ${problem}: `, 'm'));
    expect(stderr).toContain(`cfx: Nothing was compressed, because of ${problem} above.`);
  };

  test('with the same policy: both compress, as on one node', async () => {
    const port = await freePort();
    const options = ['--policy', 'paper-1bit'];
    const both = await Promise.all([0, 1].map((rank) => scratch.attach(options, node(rank, port))));
    for (const [rank, { code, stderr, summary }] of both.entries()) {
      expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
      expect(summary.ranks).toMatchObject([{ rank, worldSize: 2, agreed: true, finished: true }]);
      expect(compressedCalls(summary)).toBeGreaterThan(0);
      expect(codes(summary)).toEqual([]);
      expect(stderr).toContain(`on other nodes: ${1 - rank}\n`);
    }
    expect(read(latents)).toBe(oneBit);
  });

  test('with different policies: no rank compresses, and both nodes say why', async () => {
    const port = await freePort();
    const both = await Promise.all([
      scratch.attach(['--policy', 'paper-1bit'], node(0, port)),
      scratch.attach(['--policy', 'paper-2bit'], node(1, port)),
    ]);
    for (const each of both) expectUncompressed(each, 'CFX_PLAN_MISMATCH');
    expect(read(latents)).toBe(uncompressed);
  });

  test('one of them without cfx: no rank compresses, and the other says why', async () => {
    const port = await freePort();
    const other = scratch.unattached(node(1, port));
    expectUncompressed(
      await scratch.attach(['--policy', 'paper-1bit', '--agree-timeout', '5'], node(0, port)),
      'CFX_NOT_ATTACHED',
    );
    expect((await other).code).toBe(0);
    expect(read(latents)).toBe(uncompressed);
  });

  test('one of them without cfx, --strict: the other ends with 96 before the first step', async () => {
    const port = await freePort();
    const other = scratch.unattached(node(1, port));
    const options = ['--policy', 'paper-1bit', '--agree-timeout', '5', '--strict'];
    const { code, stderr, summary } = await scratch.attach(options, node(0, port), scratch.watched());
    expect(code).toBe(96);
    expect(summary.exitCode).toBe(96);
    expect(stderr).toMatch(/^cfx: CFX_NOT_ATTACHED: rank 1 of 2 /m);
    expect(scratch.mark('rank-0-begins-1')).not.toBeNull();
    expect(scratch.mark('rank-0-ends-1')).toBeNull();
    await scratch.remove(); // what the other node does without its peer is torchrun's own matter
    await other;
  });
});

test('without pyzmq: named, uncompressed, and the code is the child’s', async () => {
  const env = { PYTHONPATH: join(FIXTURES, 'without_zmq') };
  const { code, stderr, summary } = await scratch.attach(['--policy', 'paper-1bit'], flux({ parallel: ULYSSES, latents }), env);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(codes(summary)).toEqual(['CFX_PY_MISSING']);
  expect(summary.ranks).toEqual([]);
  expect(stderr).toMatch(/^cfx: CFX_PY_MISSING: .*zmq/m);
  expect(read(latents)).toBe(uncompressed);
});

test('NaN in an activation of one rank: named, and all ranks act alike', async () => {
  const env = scratch.watched({ SPOIL: '0:3' });
  const command = flux({ parallel: ULYSSES, latents });
  const { code, stderr, summary } = await scratch.attach(['--policy', 'paper-1bit', '--verify'], command, env);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(codes(summary)).toContain('CFX_NON_FINITE');
  expect(stderr).toMatch(/^cfx: fallback {3}CFX_NON_FINITE, /m);
  const [first, second] = summary.ranks.map(({ agreed, rawBytes, wireBytes, steps }) => ({ agreed, rawBytes, wireBytes, steps }));
  expect(first).toEqual(second);
  expect(compressedCalls(summary)).toBeGreaterThan(0);
  expect(summary.verify.mismatches).toEqual([]);
});

describe('found before the launch', () => {
  const child = (...words: string[]) => [python(), '-c', 'print("ran")', ...words];
  const isolated = () => [python(), '-I', '-c', 'print("ran")'];

  test.each([
    ['CFX_FP8_COMMS', () => child('--use_fp8_comms')],
    ['CFX_FP8_COMMS', () => child('--use-fp8-comms')],
    ['CFX_ISOLATED_PYTHON', isolated],
  ])('%s is named and the command runs; with --strict nothing is started', async (problem, command) => {
    const lax = await scratch.attach([], command());
    expect(lax).toMatchObject({ code: 0, stdout: 'ran\n' });
    expect(lax.stderr).toMatch(new RegExp(`^cfx: ${problem}: `, 'm'));
    expect(codes(lax.summary)).toEqual([problem]);
    const strict = await scratch.cfx(['attach', '--strict', '--', ...command()]).ended;
    expect(strict).toMatchObject({ code: 96, stdout: '' });
    expect(strict.stderr).toMatch(new RegExp(`^cfx: ${problem}: `));
  });

  test('what a script hides is missed at the hello: CFX_NO_HELLO, with --strict the launch is ended', async () => {
    const script = (text: string) => {
      writeFileSync(scratch.path('script.sh'), `exec "${python()}" -I -c '${text}'\n`);
      return ['sh', scratch.path('script.sh')];
    };
    const lax = await scratch.attach(['--hello-timeout', '0.2'], script('raise SystemExit(3)'));
    expect(lax.code).toBe(3);
    expect(codes(lax.summary)).toEqual(['CFX_NO_HELLO']);
    const strict = await scratch.attach(['--strict', '--hello-timeout', '0.2'], script('import time; time.sleep(600)'));
    expect(strict).toMatchObject({ code: 96, summary: { exitCode: 96 } });
    expect(strict.stderr).toMatch(/^cfx: CFX_NO_HELLO: /m);
    expect(scratch.processes()).toEqual([]);
  });
});
