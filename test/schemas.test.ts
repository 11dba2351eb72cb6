import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderAll } from '../schemas/contract.js';
import { PACKAGE_ROOT } from '../src/package.js';
import { compilePlan } from '../src/plan.js';
import type { FromRank, Run } from '../src/protocol.js';
import { mistakesOf, validateMessage, validateRun } from '../src/validate.js';

const generated = renderAll(PACKAGE_ROOT);

test.each(Object.keys(generated))('%s is what "npm run generate" writes', (path) => {
  expect(readFileSync(join(PACKAGE_ROOT, path), 'utf8')).toBe(generated[path]);
});

test('Generated files do not say where they were generated', () => {
  for (const text of Object.values(generated)) expect(text).not.toContain(PACKAGE_ROOT);
});

test('Every part of every schema has a type of its own', () => {
  // An empty schema accepts anything; a type the generator could not read would become one.
  const visit = (schema: unknown, path: string) => {
    if (typeof schema !== 'object' || schema === null) return;
    const { properties, items } = schema as { properties?: object; items?: unknown };
    const parts = [...Object.entries(properties ?? {}), ...(items ? Object.entries([items].flat()) : [])];
    for (const [name, part] of parts) {
      expect([`${path}.${name}`, Object.keys(part).filter((key) => /^(type|\$ref|anyOf|enum|const)$/.test(key))]).not.toEqual([
        `${path}.${name}`,
        [],
      ]);
      visit(part, `${path}.${name}`);
    }
  };
  for (const [path, text] of Object.entries(generated)) {
    if (!path.endsWith('.json')) continue;
    const schema = JSON.parse(text);
    visit(schema, path);
    for (const [name, definition] of Object.entries(schema.definitions ?? {})) visit(definition, `${path}#${name}`);
  }
});

const plan = compilePlan({ preset: 'paper-1bit' });
const ack: FromRank = { type: 'ack', epoch: 1, planId: plan.planId };

test('Messages are accepted in their own direction only', () => {
  expect(validateMessage(ack, 'fromRank')).toBe(ack);
  expect(() => validateMessage(ack, 'toRank')).toThrow(TypeError);
  const toRank = { type: 'plan', epoch: 1, plan };
  expect(validateMessage(toRank, 'toRank')).toBe(toRank);
  expect(() => validateMessage(toRank, 'fromRank')).toThrow(TypeError);
});

test.each([
  [null, /^it: found null, expected keys with values$/],
  [[], /^it: /],
  [{}, /^type: found nothing, expected a value$/],
  [{ type: ['ack'] }, /^type: found \["ack"\]/],
  [{ ...ack, type: 'exec' }, /^type: found "exec", expected a message of this direction$/],
  [{ ...ack, epoch: -1 }, /^epoch: found -1, expected a whole number >= 0$/],
  [{ ...ack, epoch: 1.5 }, /^epoch: found 1.5, expected a whole number$/],
  [{ ...ack, epoch: 2 ** 53 }, /^epoch: /],
  [{ ...ack, epoch: '1' }, /^epoch: found "1", expected a whole number$/],
  [{ ...ack, epoch: Number.NaN }, /^epoch: /],
  [{ type: 'ack', epoch: 1 }, /^planId: found nothing, expected a value$/],
  [{ ...ack, extra: 1 }, /^extra: found an unknown key/],
  [{ type: 'refuse', epoch: 1, code: 'CFX_NOPE', reason: '' }, /^code: found "CFX_NOPE"/],
])('The message %j is refused with a short reason', (value, reason) => {
  expect(() => validateMessage(value, 'fromRank')).toThrow(reason);
  expect(() => validateMessage(value, 'fromRank')).toThrow(TypeError);
});

const run: Run = {
  protocol: 1,
  version: '0.1.0',
  endpoint: '',
  token: 't',
  shimPath: '/shim',
  sidePath: '',
  adapters: ['xdit'],
  device: '',
  strict: false,
  verify: false,
  agreeTimeoutSeconds: 0.5,
  refusal: null,
  observe: null,
  plan,
};

test('A connection file is accepted with and without a refusal', () => {
  expect(validateRun(run)).toBe(run);
  const refused = { ...run, refusal: { code: 'CFX_FP8_COMMS', reason: 'found --use_fp8_comms' } };
  expect(validateRun(refused)).toBe(refused);
  expect(() => validateRun({ ...run, device: 'cuda' })).toThrow(/^device: found "cuda"/);
  expect(() => validateRun({ ...run, refusal: { code: 'NO', reason: '' } })).toThrow(/^refusal/);
});

test('Plans are checked down to the cell', () => {
  expect(mistakesOf('plan', plan)).toEqual([]);
  const cells = [{ ...plan.cells[0], codec: 'int3', steps: [0] }];
  expect(mistakesOf('plan', { ...plan, cells })).toEqual([
    { path: ['cells', 0, 'steps'], found: '[0]', expected: 'at least 2 of them' },
    { path: ['cells', 0, 'codec'], found: '"int3"', expected: expect.stringContaining('did you mean "int2"?') },
  ]);
});
