/** How `cfx eval` makes a policy's samples: launches of played ranks, interrupted, resumed, refused. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CfxError } from '../src/errors.js';
import { countComplete, readLaunched } from '../src/evalfolder.js';
import type { PolicyRun } from '../src/evalrun.js';
import { makeSamples } from '../src/evalrun.js';
import type { Sample } from '../src/evalsamples.js';

// Node processes start slowly on a busy machine.
jest.setTimeout(60_000);

const FAKE_RANK = join(__dirname, 'fixtures', 'fake-rank.mjs');
const SAMPLES: Sample[] = [1, 2, 3].map((seed) => ({ prompt: 'a star', seed }));
let base: string;
let lines: string[];
let counts: number[];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'cfxv-'));
  lines = [];
  counts = [];
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

type Act = { [name: string]: unknown };
const HELLO: Act[] = [{ fork: 2 }, { booted: { joined: true } }, { hello: {} }];
const BEGIN: Act[] = [...HELLO, { ready: {} }];
const END: Act = { bye: 100 };
const ranks = (...acts: Act[]) => [process.execPath, FAKE_RANK, JSON.stringify(acts)];
const WITH_SAMPLES = ['{samples}', '{start}'];

interface Overrides extends Partial<Omit<PolicyRun['provenance'], 'command'>> {
  signal?: AbortSignal;
}

const run = (command: string[], { signal, ...provenance }: Overrides = {}): PolicyRun => ({
  folder: join(base, 'off'),
  provenance: { command, samples: SAMPLES, planId: 'p', device: null, measureSamples: 1, versions: {}, ...provenance },
  samplesFile: join(base, 'samples.jsonl'),
  attach: { policy: 'off', env: { ...process.env, CFX_RUNTIME_DIR: base }, signal },
  log: (line) => lines.push(line),
  onSample: (complete) => counts.push(complete),
});
const make = (command: string[], overrides?: Overrides) => makeSamples(run(command, overrides));
const refusal = (command: string[], overrides?: Overrides): Promise<CfxError> =>
  make(command, overrides).then(
    () => Promise.reject(new Error('was not refused')),
    (error) => error,
  );
const launchOf = (sample: number) =>
  JSON.parse(readFileSync(join(base, 'off', `sample-000${sample}`, 'rank-1', 'measures.json'), 'utf8')).launch;

test('A launch makes all samples, is told of them, and is not started again', async () => {
  const command = [...ranks(...BEGIN, { samples: 3 }, { print: 'hello from a rank\n' }, END), ...WITH_SAMPLES];
  expect(await make(command)).toBe(3);
  expect(counts).toEqual([1, 2, 3]);
  expect(launchOf(2)).toEqual([join(base, 'samples.jsonl'), '0']);
  expect(readLaunched(join(base, 'off'))).toMatchObject({ finished: true, provenance: { command } });
  expect(readFileSync(join(base, 'off', 'launch.log'), 'utf8')).toContain('hello from a rank');
  rmSync(join(base, 'off', 'launch.log'));
  expect(await make(command)).toBe(3);
  expect(lines.at(-1)).toMatch(/all 3 samples are there; nothing is launched/);
  expect(existsSync(join(base, 'off', 'launch.log'))).toBe(false);
});

test('What was interrupted goes on where it ended, if the launch can be told to', async () => {
  const interruption = new AbortController();
  const waiting = [...ranks(...BEGIN, { samples: 2 }, { sleep: 60_000 }), ...WITH_SAMPLES];
  const interrupted = make(waiting, { signal: interruption.signal });
  interrupted.catch(() => undefined);
  while (countComplete(join(base, 'off')) < 2) await sleep(20);
  interruption.abort('SIGINT');
  await expect(interrupted).rejects.toBe('SIGINT');
  expect(readLaunched(join(base, 'off'))).toMatchObject({ finished: false });

  const command = [...ranks(...BEGIN, { samples: 3 }, END), ...WITH_SAMPLES];
  expect((await refusal(command)).message).toMatch(/made differently: launch command was .*60000.*, is /);
  expect(countComplete(join(base, 'off'))).toBe(2);
});

test('Samples that are complete are kept over a failed launch, and only the others are made', async () => {
  // the played ranks do not know which launch they are: how many samples there are decides when they fail
  const failing = [...ranks(...BEGIN, { samples: 1 }, { print: 'out of memory\n' }, { exit: 3 }), ...WITH_SAMPLES];
  const { code, message, fix } = await refusal(failing);
  expect(code).toBe('CFX_EVALUATION');
  expect(message).toMatch(/exit code 3; the end of its output:\n[\s\S]*out of memory/);
  expect(fix).toContain('launch.log');
  expect((await refusal(failing)).message).toMatch(/exit code 3/);
  expect(lines.join('\n')).toMatch(/goes on after 1 complete samples/);
  expect(launchOf(0)[1]).toBe('0');
});

test('Without {start} an incomplete run starts over, and says so', async () => {
  const failing = [...ranks(...BEGIN, { samples: 1 }, END), '{samples}'];
  expect((await refusal(failing)).message).toMatch(/made 1 samples of 3/);
  expect((await refusal(failing)).message).toMatch(/made 1 samples of 3/);
  expect(lines.join('\n')).toMatch(/starts over: 1 complete samples are made again, .*\{start\}/);
});

test('A launch without {samples} decides itself how many there are', async () => {
  const command = ranks(...BEGIN, { samples: 2 }, END);
  expect(await make(command, { samples: null })).toBe(2);
  expect(await make(command, { samples: null })).toBe(2);
  expect(lines.at(-1)).toMatch(/nothing is launched/);
});

test('A failure after the last sample loses nothing', async () => {
  expect(await make([...ranks(...BEGIN, { samples: 3 }, { exit: 1 }), ...WITH_SAMPLES])).toBe(3);
  expect(lines.join()).toMatch(/exit code 1 after its last sample/);
});

test.each<[string, Act[], string, RegExp]>([
  ['no pipeline call', [...BEGIN, END], 'CFX_EVALUATION', /made no sample/],
  ['too many calls', [...BEGIN, { samples: 5 }, END], 'CFX_EVALUATION', /made 5 samples of 3/],
  [
    'ranks that fall back',
    [...HELLO, { ready: { verdict: false, code: 'CFX_PLAN_MISMATCH', reason: 'rank 1 has another plan' } }, { samples: 3 }, END],
    'CFX_PLAN_MISMATCH',
    /nothing to evaluate: rank 1 has another plan/,
  ],
  ['no ranks at all', [{ print: 'hello\n' }], 'CFX_NO_HELLO', /nothing to evaluate/],
])('A launch with %s is no evaluation', async (_, acts, code, message) => {
  expect(await refusal([...ranks(...acts), ...WITH_SAMPLES])).toMatchObject({ code, message: expect.stringMatching(message) });
});
