/**
 * Types and tables of src/ → JSON schemas for editors and validators, and `_contract.py` for the shim.
 * Everything generated comes from here, as text keyed by its path in the package.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as TJS from 'typescript-json-schema';
import { renderPython } from './python.js';

export type Schema = { [key: string]: unknown };

/** Our numbers are counts, from 0 to the largest integer that both languages keep exact. */
const COUNT = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER };

const isObject = (value: unknown): value is Schema => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Two rewrites: `number` means a count unless its type, or a list or table around it, carries `@fraction`; a union of
 * messages becomes `oneOf` with a discriminator, for which validators report one mistake and not one for each member.
 */
function refine(value: unknown, inFractions = false): unknown {
  if (Array.isArray(value)) return value.map((item) => refine(item, inFractions));
  if (!isObject(value)) return value;
  const { fraction, ...schema } = value;
  const real = inFractions || fraction !== undefined;
  const refined: Schema = Object.fromEntries(Object.entries(schema).map(([key, item]) => [key, refine(item, real)]));
  const types = [refined.type].flat();
  if (types.includes('number') && !real && refined.enum === undefined) {
    const counted = types.map((type) => (type === 'number' ? 'integer' : type));
    return { ...refined, type: counted.length === 1 ? counted[0] : counted, ...COUNT, ...pick(refined, 'minimum', 'maximum') };
  }
  const members = refined.anyOf;
  if (Array.isArray(members) && members.length > 1 && members.every((member) => isObject(member) && '$ref' in member)) {
    const { anyOf: _, ...rest } = refined;
    return { ...rest, type: 'object', discriminator: { propertyName: 'type' }, required: ['type'], oneOf: members };
  }
  return refined;
}

const pick = (schema: Schema, ...keys: string[]): Schema =>
  Object.fromEntries(keys.filter((key) => key in schema).map((key) => [key, schema[key]]));

const json = (schema: unknown) => `${JSON.stringify(schema, null, 2)}\n`;

/** Every generated file of the package at `root`. */
export function renderAll(root: string): { [path: string]: string } {
  const program = TJS.getProgramFromFiles(
    ['config', 'policy', 'protocol', 'summary', 'evaluation', 'benchmark'].map((name) => join(root, 'src', `${name}.ts`)),
    // Under nodenext the generator would name definitions by absolute path.
    { module: 'esnext', moduleResolution: 'bundler', target: 'es2022', strict: true, skipLibCheck: true, types: ['node'] },
    root,
  );
  const generator = TJS.buildGenerator(program, {
    required: true,
    noExtraProps: true,
    strictNullChecks: true,
    ref: true,
    validationKeywords: ['fraction'],
  });
  if (!generator) throw new Error('the types in src/ do not compile');
  const one = (type: string, title: string) => {
    const schema = refine(generator.getSchemaForSymbol(type)) as Schema;
    return { $schema: schema.$schema, title, ...schema };
  };
  const { $schema, definitions } = refine(generator.getSchemaForSymbols(['FromRank', 'ToRank', 'Run'])) as {
    $schema: string;
    definitions: Schema;
  };

  return {
    'schemas/config.schema.json': json(one('RawConfig', 'cfx configuration')),
    'schemas/policy.schema.json': json(one('Policy', 'cfx policy')),
    'schemas/plan.schema.json': json(one('Plan', 'cfx plan')),
    'schemas/summary.schema.json': json(one('Summary', 'cfx summary of a run')),
    'schemas/evaluation.schema.json': json(one('Evaluation', 'cfx evaluation of policies')),
    'schemas/benchmark.schema.json': json(one('CodecBenchmark', 'cfx benchmark of codecs')),
    'schemas/messages.schema.json': json({ $schema, title: 'cfx messages and connection file', definitions }),
    'python_shim/cfx_shim/_contract.py': renderPython(
      JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version,
      definitions,
      ['Run', 'Plan', 'Welcome', 'PlanMessage'],
    ),
  };
}
