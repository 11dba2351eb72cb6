/** `cfx eval` without ranks: samples, what is kept and refused, figures put together, table, judge. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CfxError } from '../src/errors.js';
import type { Provenance } from '../src/evalfolder.js';
import { countComplete, keepSamples, readLaunched, requireSame, writeLaunched } from '../src/evalfolder.js';
import { checkJudge, judge, readScore } from '../src/evaljudge.js';
import { checkLpipsWeights, type Figures } from '../src/evalmetrics.js';
import { Progress } from '../src/evalprogress.js';
import { assembleEvaluation, median, statistic } from '../src/evalresult.js';
import { checkPlaceholders, fillIn, parseSeeds, readPrompts, samplesOf } from '../src/evalsamples.js';
import { renderTable } from '../src/evaltable.js';
import type { Metrics } from '../src/evaluation.js';
import { runProgram } from '../src/program.js';
import { mistakesOf } from '../src/validate.js';
import { NO_METRICS } from './fixtures/evaluation.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cfx-eval-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const refusal = (act: () => unknown): CfxError => {
  try {
    act();
  } catch (error) {
    return error as CfxError;
  }
  throw new Error('was not refused');
};

describe('samples', () => {
  test('are prompts × seeds, and more seeds leave the first samples as they are', () => {
    const prompts = readPrompts('a red star\r\n\n  a blue circle  \n');
    const few = samplesOf(prompts, parseSeeds('1'));
    expect(few).toEqual([
      { prompt: 'a red star', seed: 1 },
      { prompt: 'a blue circle', seed: 1 },
    ]);
    expect(samplesOf(prompts, parseSeeds('1, 7')).slice(0, 2)).toEqual(few);
  });

  test.each([
    ['1,x', /found "x"/],
    ['', /found ""/],
    ['1.5', /found "1.5"/],
    ['3,3', /twice/],
  ])('The seeds %j are refused', (text, message) => {
    expect(refusal(() => parseSeeds(text)).message).toMatch(message);
  });

  test('Placeholders are filled in wherever they stand, and what nobody would read is refused', () => {
    expect(fillIn(['run', '--samples={samples}', '--skip', '{start}'], '/tmp/s.jsonl', 3)).toEqual([
      'run',
      '--samples=/tmp/s.jsonl',
      '--skip',
      '3',
    ]);
    const none = { prompts: false, seeds: false };
    expect(refusal(() => checkPlaceholders(['run', '{samples}'], none)).fix).toMatch(/--prompts/);
    expect(refusal(() => checkPlaceholders(['run'], { ...none, prompts: true })).message).toMatch(/no \{samples\}/);
    expect(refusal(() => checkPlaceholders(['run'], { ...none, seeds: true })).message).toMatch(/--seeds/);
    expect(refusal(() => checkPlaceholders(['run', '{start}'], none)).message).toMatch(/without \{samples\}/);
    checkPlaceholders(['run'], none);
  });
});

const measures = (rank: number, worldSize = 2) => ({
  ...{ rank, worldSize, steps: 4, seconds: 1 + rank, measured: rank === 0, rawBytes: 100, wireBytes: 10 },
});

const writeMeasures = (sample: number, ...ranks: number[]) => {
  for (const rank of ranks) {
    const inside = join(folder, `sample-000${sample}`, `rank-${rank}`);
    mkdirSync(inside, { recursive: true });
    writeFileSync(join(inside, 'measures.json'), JSON.stringify(measures(rank)));
  }
};

const provenance: Provenance = {
  command: ['torchrun', 'x.py', '{samples}'],
  samples: [{ prompt: 'a', seed: 1 }],
  planId: 'one',
  device: 'cpu',
  measureSamples: 2,
  versions: { cfx: '0.1.0', torch: '2.15.0' },
};

describe("a policy's folder", () => {
  test('A sample is complete when every rank has written its measures; what lies behind a gap does not count', () => {
    writeMeasures(0, 0, 1);
    writeMeasures(1, 0);
    writeMeasures(2, 0, 1);
    expect(countComplete(folder)).toBe(1);
    writeFileSync(join(folder, 'launch.log'), 'kept');
    keepSamples(folder, 1);
    writeMeasures(1, 0, 1);
    expect(countComplete(folder)).toBe(2); // the third is gone, the log is not
    expect(readFileSync(join(folder, 'launch.log'), 'utf8')).toBe('kept');
  });

  test('Samples that were made otherwise are refused, with every difference named', () => {
    writeLaunched(folder, { provenance, finished: false });
    const launched = readLaunched(folder)!;
    requireSame(folder, launched, provenance);
    requireSame(folder, launched, { ...provenance, samples: [...provenance.samples!, { prompt: 'b', seed: 1 }] });
    const other = { ...provenance, planId: 'two', command: ['python'], versions: { cfx: '0.1.0', torch: '2.16.0', triton: '3' } };
    const { message, fix } = refusal(() => requireSame(folder, launched, other));
    for (const part of [/launch command was torchrun x.py \{samples\}, is python/, /plan was "one", is "two"/])
      expect(message).toMatch(part);
    expect(message).toMatch(/torch was 2.15.0, is 2.16.0; triton was not there, is 3/);
    expect(fix).toMatch(/--out/);
    expect(refusal(() => requireSame(folder, launched, { ...provenance, samples: [{ prompt: 'a', seed: 2 }] })).message).toMatch(
      /prompts and seeds/,
    );
    expect(refusal(() => requireSame(folder, launched, { ...provenance, samples: null })).message).toMatch(/prompts and seeds/);
  });
});

function example() {
  const sample = (name: string, index: number, metrics: Partial<Metrics>, identical: boolean) => ({
    index,
    outputs: [{ file: `${name}/${index}.png`, preview: `${name}/${index}.png`, difference: null, frames: 1, shownFrames: 1 }],
    metrics: { ...NO_METRICS, ...metrics },
    identical,
    distance: [0.1 * index, null],
  });
  const curves = { relativeError: [0, 0.2, null, 0.4], sites: [], trajectory: [[0, 1] as [number, number]] };
  const figures: Figures = {
    policies: [
      { folder: 'off', samples: [0, 1, 2].map((index) => sample('off', index, {}, true)), ...curves },
      {
        folder: 'paper-1bit',
        samples: [sample('p', 0, { psnr: 30, ssim: 0.9 }, false), sample('p', 1, { psnr: 33 }, false), sample('p', 2, {}, true)],
        ...curves,
      },
    ],
    changes: [],
    explainedVariance: null,
    differenceGain: 8,
    unavailable: [
      { metric: 'lpips', reason: 'no weights were given' },
      { metric: 'temporalPsnr', reason: 'the outputs are pictures' },
    ],
  };
  const ranks = (wire: number) =>
    [0, 1, 2].map((index) =>
      [0, 1].map((rank) => ({ ...measures(rank), wireBytes: wire, seconds: rank + index, measured: index === 0 })),
    );
  return assembleEvaluation({
    command: ['torchrun', '{samples}'],
    versions: { cfx: '0.1.0' },
    device: 'cpu',
    samples: null,
    figures,
    policies: [
      { name: 'off', planId: 'a', measures: ranks(100), judge: null },
      { name: 'paper-1bit', planId: 'b', measures: ranks(10), judge: { attributes: { shape: 0.5 }, mean: 0.5, all: null } },
    ],
  });
}

describe('the result', () => {
  test('Statistics are over the samples that have a value, seconds over those that were not measured', () => {
    expect(statistic([null, 3, 1])).toEqual({ mean: 2, lowest: 1, highest: 3, samples: 2 });
    expect(statistic([null])).toBeNull();
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([7])]).toEqual([2, 2.5, 7]);
    const policy = example().policies[1]!;
    expect(policy).toMatchObject({ rawBytesPerSample: 200, wireBytesPerSample: 20, ratio: 10, identicalSamples: 1 });
    expect(policy.metrics.psnr).toEqual({ mean: 31.5, lowest: 30, highest: 33, samples: 2 });
    expect(policy.metrics.ssim!.samples).toBe(1);
    expect(policy.seconds).toEqual({ median: 2.5, samples: 2, measured: false }); // the slower rank's, of samples 1 and 2
    expect(policy.distance).toEqual([expect.closeTo(0.1), null]);
  });

  test('It keeps to its schema, and the schema refuses what is none', () => {
    const evaluation = { ...example(), created: '2026-01-01T00:00:00.000Z' };
    expect(mistakesOf('evaluation', JSON.parse(JSON.stringify(evaluation)))).toEqual([]);
    expect(mistakesOf('evaluation', { ...evaluation, worldSize: 1.5, policies: [{}] }).length).toBeGreaterThan(2);
  });

  test('The table has a column for what some policy has, and says why others are missing', () => {
    const lines = renderTable({ ...example(), created: '' }).split('\n');
    expect(lines[3]).toMatch(/^policy +PSNR dB \(lowest\) +SSIM +error +judge +raw +wire +ratio +seconds$/);
    expect(lines[4]).toMatch(/^off +– +– +0.200 +– +200 B +200 B +1.00× +2.50$/);
    expect(lines[5]).toMatch(/^paper-1bit +31.5 \(30.0\) +0.9000 +0.200 +0.500 +200 B +20 B +10.00× +2.50$/);
    expect(lines.join('\n')).toMatch(/median of\n2 samples that were not measured/);
    expect(lines.join('\n')).toContain('Without lpips: no weights were given.');
    expect(lines.join('\n')).not.toContain('temporalPsnr');
  });
});

describe('the judge', () => {
  test('Its output is read whole or from the last line', () => {
    const score = { attributes: { shape: 0.5 }, mean: 0.5, all: 0.25 };
    expect(readScore('{"shape": 0.5, "mean": 0.5, "all": 0.25}')).toEqual(score);
    expect(readScore('loading…\n{"shape": 0.5, "mean": 0.5, "all": 0.25}\n')).toEqual(score);
    expect(readScore('{"mean": 0.5}')).toEqual({ attributes: {}, mean: 0.5, all: null });
    for (const wrong of ['', 'fine', '{"shape": 1}', '{"mean": 40}', '[]']) expect(readScore(wrong)).toBeNull();
  });

  const options = () => ({ cwd: folder, env: process.env });
  const pictures = [{ prompt: 'a star', file: '/p/0.png' }];

  test('It gets the pictures and prompts in a file', async () => {
    const command = 'cp {file} seen.json && echo \'{"mean": 1}\'';
    expect(await judge(folder, pictures, { command, ...options() })).toEqual({ attributes: {}, mean: 1, all: null });
    expect(JSON.parse(readFileSync(join(folder, 'seen.json'), 'utf8'))).toEqual(pictures);
  });

  test('What goes wrong with it is told with its own words', async () => {
    const failing = judge(folder, pictures, { command: 'echo {file} >&2; exit 3', ...options() });
    await expect(failing).rejects.toThrow(/exit code 3:\n {2}.*judged.json/);
    await expect(judge(folder, pictures, { command: 'echo fine # {file}', ...options() })).rejects.toThrow(
      /no \{"mean".*\n {2}fine/,
    );
    expect(refusal(() => checkJudge('judge', true)).message).toMatch(/no \{file\}/);
    expect(refusal(() => checkJudge('judge {file}', false)).fix).toMatch(/--prompts/);
  });
});

test('Progress is told now and then, the last sample of a policy always, and loading is not taken for a sample', () => {
  let now = 0;
  const lines: string[] = [];
  const progress = new Progress(
    ['off', 'paper-1bit'],
    (line) => lines.push(line),
    () => now,
  );
  for (const [complete, pause] of [20_000, 3000, 3000, 3000].entries()) {
    now += pause;
    progress.sample(0, complete + 1, 4);
  }
  now += 30_000;
  progress.sample(1, 1, null);
  now += 7000;
  progress.sample(1, 4, 4);
  expect(lines).toEqual([
    'eval: off (1 of 2): sample 1 of 4 complete, about 2 min left',
    'eval: off (1 of 2): sample 3 of 4 complete, about 32 s left',
    'eval: off (1 of 2): sample 4 of 4 complete, about 29 s left',
    'eval: paper-1bit (2 of 2): 1 samples complete',
    'eval: paper-1bit (2 of 2): sample 4 of 4 complete',
  ]);
});

test('LPIPS weights that are not there are asked for with the command that makes them', () => {
  const { message, fix } = refusal(() => checkLpipsWeights(folder));
  expect(message).toContain(join(folder, 'alexnet.safetensors'));
  expect(fix).toContain('torchvision');
});

describe('the command refuses before anything is started:', () => {
  const refused = async (options: string[], launch = ['true']) => {
    let err = '';
    const io = { env: { PATH: process.env.PATH }, cwd: folder, home: folder, out: () => undefined };
    const code = await runProgram(['eval', ...options, '--', ...launch], { ...io, err: (text) => void (err += text) });
    return `${code} ${err}`;
  };

  test('unknown policies, policies of one name, and mistakes in policy files', async () => {
    expect(await refused(['--policies', 'paper-1bit,paper-2bits'])).toMatch(/^78 .*"paper-2bits".*did you mean "paper-2bit"/);
    for (const name of ['a', 'b']) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, 'x.yaml'), 'preset: paper-1bit\n');
    }
    expect(await refused(['--policies', 'a/x.yaml,b/x.yaml'])).toMatch(/^64 .*two that are called x/);
    writeFileSync(join(folder, 'x.yaml'), 'rules:\n  - codec: int3\n');
    expect(await refused(['--policies', './x.yaml'])).toMatch(/^78 .*x\.yaml:2: .*int3/);
  });

  test('prompts, seeds, weights and a judge that cannot be used', async () => {
    writeFileSync(join(folder, 'empty.txt'), '\n');
    const launch = ['true', '{samples}'];
    expect(await refused(['--prompts', 'none.txt'], launch)).toMatch(/^64 .*none\.txt/);
    expect(await refused(['--prompts', 'empty.txt'], launch)).toMatch(/^64 .*has no prompts/);
    expect(await refused([], launch)).toMatch(/^64 .*there are no prompts/);
    expect(await refused(['--lpips-weights', '.'])).toMatch(/^64 .*alexnet\.safetensors is not there/);
    expect(await refused(['--judge', 'j {file}'])).toMatch(/^64 .*--prompts/);
    expect(await refused(['--measure', '-1'])).toMatch(/^64 .*whole number/);
  });

  test('a launch that cfx does not compress', async () => {
    expect(await refused([], ['true', '--use_fp8_comms'])).toMatch(/^96 .*CFX_FP8_COMMS/);
  });
});
