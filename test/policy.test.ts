import { readFileSync } from 'node:fs';
import { CfxError } from '../src/errors.js';
import { compilePlan } from '../src/plan.js';
import { loadPolicy, PRESETS } from '../src/policy.js';

const load = (text: string, file = 'dir/mine.yaml') => loadPolicy(file, () => text);

function mistakes(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(CfxError);
    expect((error as CfxError).code).toBe('CFX_CONFIG');
    return (error as CfxError).message.split('\n').map((line) => line.trim());
  }
  throw new Error('the policy was accepted');
}

test.each(Object.keys(PRESETS))('The preset %s is found by its name and compiles', (name) => {
  const policy = loadPolicy(name, () => {
    throw new Error('a preset reads no file');
  });
  expect(compilePlan(policy).policy).toBe(name);
});

test('An unknown preset names those that exist, and the nearest', () => {
  expect(mistakes(() => loadPolicy('paper-2bits', String))).toEqual([
    'policy: found "paper-2bits"; expected a policy file (.json, .yaml) or one of "off", "identity", "stale", "fp8", "int8", "paper-1bit", "paper-2bit", "paper-lowrank32", "paper-lowrank32-int4", "cfx-1bit", "cfx-2bit", "cfx-3bit", "cfx-1bit-fast", "cfx-2bit-fast", "cfx-lowrank"; did you mean "paper-2bit"?',
  ]);
});

test('A policy file is named after itself, unless it says otherwise', () => {
  expect(load('preset: paper-1bit').name).toBe('mine.yaml');
  expect(load('name: best\npreset: paper-1bit').name).toBe('best');
});

test('JSON and YAML say the same', () => {
  const yaml = load('preset: off\nrules:\n  - {steps: 2-, roles: [k, v], codec: binary}\n');
  const json = load('{"preset": "off", "rules": [{"steps": "2-", "roles": ["k", "v"], "codec": "binary"}]}');
  expect(json).toEqual(yaml);
});

test('All mistakes are reported at once, each with its line', () => {
  const text = [
    '# a policy',
    'preset: paper-3bit',
    'warmupSteps: 0',
    'rules:',
    '  - steps: "5-3"',
    '    codec: int3',
    '    roles: []',
    '  - steps: [1, 2, 3]',
    '    layer: 2',
    '    residualOrder: 3',
    '  - codec: binary',
    '    layers: 1.5',
  ].join('\n');
  expect(mistakes(() => load(text)).map((line) => line.replace('dir/mine.yaml:', ''))).toEqual([
    '10 mistakes:',
    expect.stringMatching(/^2: preset: found "paper-3bit"; expected one of .*; did you mean "paper-1bit"\?$/),
    '3: warmupSteps: found 0; expected a whole number >= 1',
    expect.stringMatching(/^5: rules\[0\]\.steps: found "5-3"; expected a number such as 3/),
    expect.stringMatching(/^6: rules\[0\]\.codec: found "int3"; .*; did you mean "int2"\?$/),
    '7: rules[0].roles: found []; expected at least 1 of them',
    expect.stringMatching(/^8: rules\[1\]\.codec: found nothing; expected a value$/),
    expect.stringMatching(/^8: rules\[1\]\.steps: found \[1,2,3\]/),
    expect.stringMatching(/^9: rules\[1\]\.layer: found an unknown key; .*; did you mean "layers"\?$/),
    expect.stringMatching(/^10: rules\[1\]\.residualOrder: found 3; expected one of 0, 1, 2$/),
    expect.stringMatching(/^12: rules\[2\]\.layers: found 1\.5/),
  ]);
});

test('What the schema cannot say: skip needs a base, a prediction needs feedback', () => {
  const rules = '[{codec: skip, residualOrder: 0}, {codec: skip}, {codec: lm1, residualOrder: 2, feedback: false}]';
  expect(mistakes(() => load(`rules: ${rules}`)).map((line) => line.replace('dir/mine.yaml:', ''))).toEqual([
    '2 mistakes:',
    '1: rules[0].residualOrder: found 0; expected 1 or 2, for skip leaves the base as it is',
    '1: rules[2].feedback: found false; expected true, for residualOrder is 2',
  ]);
});

test('Bases in 8 bits need feedback, whoever asked for them', () => {
  const refused = (text: string) => mistakes(() => load(text))[0];
  const expected = 'dir/mine.yaml:1: rules[0].feedback: found false; expected true, for baseDtype is int8';
  const rule = 'codec: int2, feedback: false';
  expect(refused(`rules: [{${rule}, baseDtype: int8}]`)).toBe(expected);
  expect(refused(`rules: [{${rule}}]\nbaseDtype: int8`)).toBe(expected);
  for (const text of [
    `rules: [{${rule}, baseDtype: native}]\nbaseDtype: int8`,
    `rules: [{${rule}, residualOrder: 0, baseDtype: int8}]`,
  ])
    expect(load(text).rules).toHaveLength(1);
  expect(refused('preset: paper-1bit\nbaseDtype: int4')).toBe(
    'dir/mine.yaml:2: baseDtype: found "int4"; expected one of "int8", "native"; did you mean "int8"?',
  );
});

test('Only codecs with channel scales, a base and feedback can do with other statistics than exact ones', () => {
  const found = (rule: string) => mistakes(() => load(`rules: [{${rule}}]`))[0];
  const expected =
    'expected "exact", for only binary, int2, lm1 to lm4, tcq1 to tcq3 and ternary with a base and feedback choose';
  for (const rule of [
    'codec: int8',
    'codec: lowrank_r32',
    'codec: lm1, residualOrder: 0',
    'codec: int2, feedback: false',
    'codec: stale',
  ])
    expect(found(`${rule}, statistics: previous`)).toBe(`dir/mine.yaml:1: rules[0].statistics: found "previous"; ${expected}`);
  for (const codec of ['binary', 'int2', 'lm1', 'lm2', 'lm3', 'lm4', 'tcq1', 'tcq2', 'tcq3', 'ternary'])
    expect(load(`rules: [{codec: ${codec}, statistics: sampled}]`).rules).toHaveLength(1);
  expect(found('codec: lm2, statistics: last')).toBe(
    'dir/mine.yaml:1: rules[0].statistics: found "last"; expected one of "exact", "previous", "sampled"',
  );
});

test('A policy without any effect is refused', () => {
  expect(mistakes(() => load('warmupSteps: 2'))).toEqual([
    'dir/mine.yaml:1: found neither "preset" nor "rules"; expected at least one of them',
  ]);
  expect(mistakes(() => load(''))).toEqual(['dir/mine.yaml:1: found null; expected keys with values']);
});

test('A policy file that cannot be read says why', () => {
  expect(mistakes(() => loadPolicy('./gone.yaml', (file) => readFileSync(file, 'utf8')))[0]).toMatch(
    /^policy file \.\/gone\.yaml cannot be read: ENOENT/,
  );
});
