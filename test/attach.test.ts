import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AttachOptions } from '../src/attach.js';
import type { AttachHandle } from '../src/handle.js';
import type { Policy } from '../src/policy.js';
import type { Summary } from '../src/summary.js';
import { mistakesOf } from '../src/validate.js';
import { type Act, base, fakeRanks, finish, GOOD, handle, lines, once, start, text } from './fixtures/launches.js';

// Node processes start slowly on a busy machine.
jest.setTimeout(60_000);

const runFolders = () => readdirSync(base).filter((name) => name.startsWith('cfx-'));

test('a launch of two ranks ends with its totals, and nothing of it is left', async () => {
  const summary = await finish(fakeRanks({ fork: 2 }, ...GOOD));
  expect(summary).toMatchObject({
    exitCode: 0,
    worldSize: 2,
    policy: 'test',
    generations: 1,
    steps: 2,
    fallbacks: [],
    totals: { rawBytes: 4000, wireBytes: 400, ratio: 10 },
    baseMemoryBytes: 64,
    refusedFrames: 0,
  });
  expect(summary.ranks.map(({ rank, agreed, finished }) => [rank, agreed, finished])).toEqual([
    [0, true, true],
    [1, true, true],
  ]);
  expect(mistakesOf('summary', summary)).toEqual([]);
  expect(lines).toEqual([]);
  expect(runFolders()).toEqual([]);
  expect(handle!.exitCode).toBe(0);
});

test('events tell of each rank as it goes', async () => {
  const seen: string[] = [];
  const running = await start(fakeRanks({ fork: 2 }, ...GOOD));
  running.on('hello', ({ rank }) => seen.push(`hello ${rank}`));
  running.on('ready', ({ rank, verdict }) => seen.push(`ready ${rank} ${verdict}`));
  running.on('step', ({ rank, step }) => seen.push(`step ${rank} ${step}`));
  running.on('generation', ({ rank, phase, generation }) => seen.push(`generation ${rank} ${phase} ${generation}`));
  running.on('exit', (code) => seen.push(`exit ${code}`));
  await running.done;
  expect(seen.filter((line) => line.includes(' 1')).sort()).toEqual([
    'generation 1 begin 0',
    'generation 1 end 0',
    'hello 1',
    'ready 1 true',
    'step 1 2',
  ]);
  expect(seen.at(-1)).toBe('exit 0');
});

test('the command gets its own environment, its folder and the site folder, and nothing else of ours', async () => {
  const command = fakeRanks({ env: 'CFX_RUN' }, { env: 'PYTHONPATH' }, { env: 'MINE' }, { env: 'CFX_POLICY' });
  const running = await start(command, { stdio: 'pipe', env: { PYTHONPATH: '/mine', MINE: 'yes' } });
  const [run, pythonPath, ...others] = (await text(running.stdout)).trim().split('\n');
  expect(run).toMatch(new RegExp(`^${base}/cfx-`));
  expect(pythonPath).toBe(`${run}/site:/mine`);
  expect(others).toEqual(['yes', '<unset>']);
});

describe('the exit code', () => {
  test("is the command's own", async () => expect(await finish(['sh', '-c', 'exit 37'])).toMatchObject({ exitCode: 37 }));
  test('is 128 + n for signal n', async () =>
    expect(await finish(['sh', '-c', 'kill -KILL $$'])).toMatchObject({ exitCode: 137 }));
  test("is the command's own with --strict when the command failed by itself", async () => {
    expect(await finish(['sh', '-c', 'exit 37'], { strict: true })).toMatchObject({ exitCode: 37 });
  });
});

test.each([
  ['CFX_COMMAND_NOT_FOUND', ['no-such-command'], {}],
  ['CFX_CONFIG', ['true'], { policy: 'no-such-preset' }],
  ['CFX_FP8_COMMS', ['true'], { strict: true, refusal: { code: 'CFX_FP8_COMMS', reason: 'found it' } }],
  ['CFX_CONTROL', ['true'], { env: { CFX_RUNTIME_DIR: '/no/such/folder' } }],
  ['CFX_CONTROL', ['true'], { env: { CFX_RUNTIME_DIR: `/tmp/${'d'.repeat(100)}` } }],
] as [string, string[], Partial<AttachOptions>][])('%s: nothing is started, nothing is left', async (code, command, options) => {
  const marker = join(base, 'started');
  const guarded = command[0] === 'true' ? ['touch', marker] : command;
  await expect(start(guarded, options)).rejects.toMatchObject({ code });
  expect(existsSync(marker)).toBe(false);
  expect(runFolders()).toEqual([]);
});

describe('a refusal known before the launch', () => {
  const refusal = { code: 'CFX_FP8_COMMS', reason: 'the command has --use_fp8_comms' } as const;
  test('lets the launch run, says so once, and stands in the summary', async () => {
    const summary = await finish(fakeRanks({ fork: 2 }, { hello: {} }, { ready: { verdict: false, ...refusal } }, { bye: 0 }), {
      refusal,
    });
    expect(summary).toMatchObject({ exitCode: 0, fallbacks: [{ ...refusal, count: 2 }] });
    expect(lines).toEqual([expect.stringMatching(/^CFX_FP8_COMMS: the command has --use_fp8_comms\. Drop --use_fp8_comms/)]);
  });
  test('stands in it even if no rank said anything', async () => {
    expect(await finish(['true'], { refusal })).toMatchObject({ fallbacks: [{ ...refusal, count: 1 }] });
    expect(lines).toHaveLength(1);
  });
});

describe('ranks that do not agree', () => {
  const acts = [
    { fork: 2 },
    { hello: {} },
    { ready: { verdict: false, code: 'CFX_NOT_ATTACHED', reason: 'rank 3 is without cfx' } },
  ];
  test('run on uncompressed, and it is said once', async () => {
    expect(await finish(fakeRanks(...acts, { bye: 0 }))).toMatchObject({
      exitCode: 0,
      fallbacks: [{ code: 'CFX_NOT_ATTACHED', count: 2 }],
    });
    expect(lines).toEqual([expect.stringMatching(/^CFX_NOT_ATTACHED: rank 3 is without cfx\. Start every rank/)]);
  });
  test('are ended with --strict, exit code 96', async () => {
    const summary = await finish(fakeRanks(...acts, { sleep: 60_000 }), { strict: true });
    expect(summary.exitCode).toBe(96);
    expect(runFolders()).toEqual([]);
  });
});

describe('a launch of which no rank says hello', () => {
  test('is told apart: no Python with the shim', async () => {
    expect(await finish(['true'])).toMatchObject({
      exitCode: 0,
      fallbacks: [{ code: 'CFX_NO_HELLO', reason: expect.stringMatching(/no Python process/) }],
    });
    expect(lines).toEqual([expect.stringMatching(/^CFX_NO_HELLO: no Python process/)]);
  });
  test('is told apart: the shim, but no process group', async () => {
    const { fallbacks } = await finish(fakeRanks({ booted: {} }));
    expect(fallbacks).toEqual([
      { code: 'CFX_NO_HELLO', reason: expect.stringMatching(/none called torch\.distributed/), count: 1 },
    ]);
  });
  test('is told apart: a channel that could not be opened', async () => {
    const problem = { code: 'CFX_PY_MISSING', reason: 'no module named zmq' };
    const { fallbacks } = await finish(fakeRanks({ fork: 2 }, { booted: { rank: 0, problem } }));
    expect(fallbacks).toEqual([{ ...problem, count: 2 }]);
    expect(lines).toEqual([expect.stringMatching(/^CFX_PY_MISSING: no module named zmq\. Run "cfx setup --side"/)]);
  });
  test('fails with --strict when it has ended well', async () => {
    expect(await finish(['true'], { strict: true })).toMatchObject({ exitCode: 96 });
  });
  test('is ended with --strict after the time for it', async () => {
    const summary = await finish(fakeRanks({ sleep: 60_000 }), { strict: true, helloTimeoutSeconds: 0.3 });
    expect(summary.exitCode).toBe(96);
    expect(lines[0]).toMatch(/^CFX_NO_HELLO: after 0\.3 s: no Python process/);
  });
  test('is not ended while a process that loaded the shim may still be loading its model', async () => {
    const note = '{"pid":1,"rank":0,"joined":false}';
    const command = [
      'sh',
      '-c',
      `echo '${note}' > "$CFX_RUN/processes/1.json"; exec "$0" "$@"`,
      ...fakeRanks({ sleep: 1500 }, ...GOOD),
    ];
    expect(await finish(command, { strict: true, helloTimeoutSeconds: 1 })).toMatchObject({ exitCode: 0, worldSize: 1 });
  });
});

describe('verify', () => {
  const acts = (digest: string, ...end: Act[]) =>
    fakeRanks({ fork: 2 }, { hello: {} }, { ready: {} }, { verify: digest }, { bye: 1 }, ...end);
  test('with equal digests passes', async () => {
    expect(await finish(acts('same'), { verify: true })).toMatchObject({
      exitCode: 0,
      verify: { enabled: true, compared: 1, mismatches: [] },
    });
  });
  test('with different ones fails a launch that ended well', async () => {
    const summary = await finish(acts('of rank RANK'), { verify: true });
    expect(summary).toMatchObject({
      exitCode: 97,
      verify: { compared: 1, mismatches: [expect.stringMatching(/of rank 0|of rank 1/)] },
    });
    expect(lines).toEqual([expect.stringMatching(/^CFX_VERIFY: generation 0, base/)]);
  });
  test("never hides the command's own failure", async () => {
    expect(await finish(acts('of rank RANK', { exit: 5 }), { verify: true })).toMatchObject({ exitCode: 5 });
  });
});

describe('the report', () => {
  test("is there at a generation's end, before the launch has ended, and final afterwards", async () => {
    const report = join(base, 'report.json');
    const running = await start(
      fakeRanks({ hello: {} }, { ready: {} }, { telemetry: 100 }, { generation: 0 }, { sleep: 60_000 }),
      { report },
    );
    while (!existsSync(report)) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({
      exitCode: null,
      generations: 1,
      totals: { rawBytes: 1000 },
    });
    const summary = await running.stop();
    expect(JSON.parse(readFileSync(report, 'utf8'))).toEqual(summary);
    expect(readdirSync(base)).toEqual(['report.json']);
  });
  test('that cannot be written is said, and costs the launch nothing', async () => {
    expect(await finish(fakeRanks(...GOOD), { report: join(base, 'none', 'report.json') })).toMatchObject({ exitCode: 0 });
    expect(lines).toEqual([expect.stringMatching(/^CFX_CONTROL: the report cannot be written: .*ENOENT/)]);
  });
});

describe('setPolicy', () => {
  const NEXT: Policy = { name: 'next', preset: 'off' };
  const acts = (answer: object, ...after: Act[]) =>
    fakeRanks({ fork: 2 }, { hello: {} }, { ready: {} }, { answerPlan: answer }, ...after);
  const bothReady = async (running: AttachHandle) => {
    let ready = 0;
    await new Promise<void>((resolve) => running.on('ready', () => ++ready === 2 && resolve()));
  };

  test('resolves when every rank has acknowledged, and is in force when a generation ran with it', async () => {
    const running = await start(acts({}, { generation: 1 }, { bye: 1 }));
    await bothReady(running);
    const plan = await running.setPolicy(NEXT);
    expect(await running.done).toMatchObject({ epoch: 1, planId: plan.planId, policy: 'next' });
  });
  test('rejects with the reason of a rank that cannot, and the plan in force stays', async () => {
    const running = await start(acts({ refuseOn: 1 }, { generation: 0 }, { bye: 1 }));
    await bothReady(running);
    await expect(running.setPolicy(NEXT)).rejects.toMatchObject({
      code: 'CFX_PLAN_REFUSED',
      message: expect.stringMatching(/rank 1 .*not this one/),
    });
    expect(await running.done).toMatchObject({ epoch: 0, policy: 'test' });
  });
  test('rejects when the launch ends first, or has ended', async () => {
    const running = await start(fakeRanks({ hello: {} }, { ready: {} }, { sleep: 60_000 }));
    await once('ready');
    const change = running.setPolicy(NEXT);
    change.catch(() => {});
    await running.stop();
    await expect(change).rejects.toMatchObject({ code: 'CFX_PLAN_REFUSED' });
    await expect(running.setPolicy(NEXT)).rejects.toMatchObject({ code: 'CFX_PLAN_REFUSED' });
  });
  test('rejects when its signal aborts, and for a policy that is wrong', async () => {
    const running = await start(fakeRanks({ hello: {} }, { ready: {} }, { sleep: 60_000 }));
    await once('ready');
    const abort = new AbortController();
    const change = running.setPolicy(NEXT, { signal: abort.signal });
    abort.abort(new Error('changed my mind'));
    await expect(change).rejects.toThrow('changed my mind');
    await expect(running.setPolicy('no-such-preset')).rejects.toMatchObject({ code: 'CFX_CONFIG' });
  });
});

test('a summary at any time is complete', async () => {
  const running = await start(fakeRanks({ hello: {} }, { sleep: 60_000 }));
  const early: Summary = running.summary();
  expect(early).toMatchObject({ exitCode: null, ranks: [], fallbacks: [] });
  expect(mistakesOf('summary', early)).toEqual([]);
  await once('hello');
  expect(running.summary()).toMatchObject({ worldSize: 1, ranks: [{ rank: 0, agreed: null }] });
});
