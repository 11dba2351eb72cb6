/** Unmodified xDiT by both of its doors, through the real command line: same results without loss, fewer bytes with it. */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Prediction } from '../../src/predict.js';
import { mistakesOf } from '../../src/validate.js';
import { codes, compressedCalls, flux, installed, LAUNCH_MS, ROOT, Scratch } from './fixtures/runs.js';

jest.setTimeout(LAUNCH_MS);

let scratch: Scratch;
beforeAll(() => {
  scratch = new Scratch();
});
afterAll(() => scratch.remove());

const STEPS = 4;
/** Of scenes-flux at 256×256: 1,024 image and 32 text tokens. */
const SHAPES = ['--tokens', '1056', '--channels', '256', '--heads', '4', '--layers', '5', '--batch', '1'];

/** What `cfx plan` says that every rank will send. */
async function predicted(
  policy: string,
  { steps = STEPS, ulysses = 2, ring = 1, dtype = 'fp32' },
): Promise<Prediction['perRank']> {
  const run = ['--steps', String(steps), '--ulysses', String(ulysses), '--ring', String(ring), '--dtype', dtype];
  const { code, stdout } = await scratch.cfx(['plan', '--json', '--policy', policy, ...SHAPES, ...run]).ended;
  expect(code).toBe(0);
  return JSON.parse(stdout).prediction.perRank;
}

describe('a pipeline script under torchrun', () => {
  const launch = (name: string, parallel: string[], ranks = 2) =>
    flux({ ranks, parallel, steps: STEPS, latents: scratch.path(`${name}.safetensors`) });
  const latents = (name: string) => readFileSync(scratch.path(`${name}.safetensors`)).toString('base64');

  test('without cfx it gives what the others are compared with', async () => {
    const { code, stderr } = await scratch.unattached(launch('unattached', ['--ulysses_degree', '2']));
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(latents('unattached').length).toBeGreaterThan(80_000);
  });

  test.each(['off', 'identity'])('with the policy "%s" the latents are the same, bit for bit', async (policy) => {
    const { code, stdout, stderr, summary } = await scratch.attach(
      ['--policy', policy],
      launch(policy, ['--ulysses_degree', '2']),
    );
    expect(code).toBe(0);
    expect(stdout).not.toMatch(/^cfx: /m);
    expect(latents(policy)).toBe(latents('unattached'));
    expect(mistakesOf('summary', summary)).toEqual([]);
    expect(summary).toMatchObject({ policy, exitCode: 0, worldSize: 2, generations: 1, steps: STEPS, fallbacks: [] });
    expect(summary.totals.rawBytes).toBe(2 * (await predicted(policy, {})).rawBytes);
    expect(stderr).toMatch(/^cfx: ranks {6}2 of 2 attached, all agreed$/m);
  });

  test.each([
    ['Ulysses 2', 2, 1],
    ['ring 2', 1, 2],
    ['Ulysses 2 × ring 2', 2, 2],
  ])('with 1 bit the bytes are the formula’s and the bases identical: %s', async (name, ulysses, ring) => {
    const ranks = ulysses * ring;
    const parallel = ['--ulysses_degree', String(ulysses), '--ring_degree', String(ring)];
    const { code, stderr, summary } = await scratch.attach(
      ['--policy', 'paper-1bit', '--verify'],
      launch(name.replaceAll(/\W+/g, '-'), parallel, ranks),
    );
    expect(code).toBe(0);
    const { rawBytes, wireBytes, keyframeBytes } = await predicted('paper-1bit', { ulysses, ring });
    expect(summary.ranks.map((rank) => [rank.rank, rank.agreed, rank.finished, rank.rawBytes, rank.wireBytes])).toEqual(
      Array.from({ length: ranks }, (_, rank) => [rank, true, true, rawBytes, wireBytes]),
    );
    expect(keyframeBytes).toBeLessThan(wireBytes);
    expect(summary.totals).toEqual({ rawBytes: ranks * rawBytes, wireBytes: ranks * wireBytes, ratio: rawBytes / wireBytes });
    expect(summary.verify).toMatchObject({ enabled: true, generations: 1, mismatches: [] });
    expect(summary.verify.compared).toBeGreaterThan(0);
    expect(codes(summary)).toEqual([]);
    expect(mistakesOf('summary', summary)).toEqual([]);
    expect(stderr).toContain('cfx: fallbacks  none');
  });

  test('1 bit is lossy: had nothing been compressed, the latents would be the same', () => {
    expect(latents('Ulysses-2')).not.toBe(latents('unattached'));
  });
});

describe('the xdit command', () => {
  const NAME = 'models--black-forest-labs--FLUX.1-dev';
  const REVISION = '0123456789abcdef0123456789abcdef01234567';
  const XDIT_STEPS = 3;

  /** The small model under the name that the runner knows, as a Hugging Face cache holds it. */
  const layOutCache = () => {
    const entry = scratch.path('hub', NAME);
    mkdirSync(join(entry, 'refs'), { recursive: true });
    mkdirSync(join(entry, 'snapshots'));
    writeFileSync(join(entry, 'refs', 'main'), REVISION);
    symlinkSync(join(ROOT, 'examples/models/scenes-flux'), join(entry, 'snapshots', REVISION));
  };
  const launch = (folder: string) => [
    ...[installed('xdit'), '--model', 'FLUX.1-dev', '--ulysses_degree', '2', '--height', '256', '--width', '256'],
    ...['--max_sequence_length', '32', '--num_inference_steps', String(XDIT_STEPS), '--seed', '11'],
    ...['--prompt', 'a large red star above a small blue circle at sunset', '--output_directory', scratch.path(folder)],
  ];
  const picture = (folder: string) => {
    const pictures = readdirSync(scratch.path(folder)).filter((name) => /^flux_1_dev_.*\.png$/.test(name));
    expect(pictures).toHaveLength(1);
    return readFileSync(scratch.path(folder, pictures[0]!)).toString('base64');
  };
  const run = async (policy: string, ...options: string[]) => {
    mkdirSync(scratch.path(policy));
    return scratch.attach(['--policy', policy, ...options], launch(policy), { HF_HOME: scratch.folder });
  };

  beforeAll(layOutCache);

  test('without cfx it gives what the others are compared with', async () => {
    mkdirSync(scratch.path('unattached-picture'));
    const { code, stderr } = await scratch.unattached(launch('unattached-picture'), { HF_HOME: scratch.folder });
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(Buffer.from(picture('unattached-picture'), 'base64').subarray(1, 4).toString()).toBe('PNG');
  });

  test.each(['off', 'identity'])('with the policy "%s" the picture is the same, to the byte', async (policy) => {
    const { code, stderr, summary } = await run(policy);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(summary).toMatchObject({ policy, worldSize: 2, fallbacks: [] });
    expect(summary.totals.rawBytes).toBeGreaterThan(0);
    expect(picture(policy)).toBe(picture('unattached-picture'));
  });

  test('with 1 bit it compresses as predicted, the bases are identical, and stdout stays the command’s', async () => {
    const { code, stdout, summary } = await run('paper-1bit', '--verify');
    expect(code).toBe(0);
    expect(stdout).not.toMatch(/^cfx: /m);
    expect(compressedCalls(summary)).toBeGreaterThan(0);
    const { generations, totals, verify } = summary;
    const { rawBytes, wireBytes } = await predicted('paper-1bit', { steps: XDIT_STEPS, dtype: 'bf16' }); // the runner's own choice
    expect(totals).toMatchObject({ rawBytes: 2 * generations * rawBytes, wireBytes: 2 * generations * wireBytes });
    expect(verify).toMatchObject({ enabled: true, generations, mismatches: [] });
    expect(verify.compared).toBeGreaterThan(0);
    expect(picture('paper-1bit')).not.toBe(picture('unattached-picture'));
  });
});
