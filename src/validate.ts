/** Validators of everything that comes from outside, compiled from the generated schemas. Sole importer of ajv. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ErrorObject, ValidateFunction } from 'ajv';
import { Ajv } from 'ajv';
import { list, show, unknownName } from './nearest.js';
import { SCHEMAS_PATH } from './package.js';
import type { FromRank, Run, ToRank } from './protocol.js';

/** What is wrong with a value, and where in it. */
export interface Mistake {
  path: (string | number)[];
  found: string;
  expected: string;
}

type SchemaName = 'config' | 'policy' | 'plan' | 'messages' | 'summary' | 'evaluation' | 'benchmark';

const OPTIONS = { verbose: true, discriminator: true, allowUnionTypes: true };
/** A user wants to see all mistakes; a peer gets no work beyond its first. */
const forFiles = new Ajv({ ...OPTIONS, allErrors: true });
const forMessages = new Ajv(OPTIONS);
const compiled = new Map<string, ValidateFunction>();

/** Compiled on first use: a run needs two or three of them. */
function validator(schema: SchemaName, definition?: string): ValidateFunction {
  const key = definition ? `${schema}#/definitions/${definition}` : schema;
  const ajv = schema === 'messages' ? forMessages : forFiles;
  let validate = compiled.get(key);
  if (!validate) {
    if (!ajv.getSchema(schema)) {
      ajv.addSchema(JSON.parse(readFileSync(join(SCHEMAS_PATH, `${schema}.schema.json`), 'utf8')), schema);
    }
    validate = ajv.getSchema(key);
    if (!validate) throw new Error(`schema ${key} is missing`);
    compiled.set(key, validate);
  }
  return validate;
}

const TYPES: { [type: string]: string } = {
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
  string: 'text',
  array: 'a list',
  object: 'keys with values',
};
const typeName = (type: unknown) => TYPES[String(type)] ?? String(type);

function expectation({ keyword, params, parentSchema, data }: ErrorObject): string {
  switch (keyword) {
    case 'enum':
      return typeof data === 'string' ? unknownName(data, params.allowedValues) : `one of ${list(params.allowedValues)}`;
    case 'const':
      return show(params.allowedValue);
    case 'type':
      return [params.type].flat().map(typeName).join(' or ');
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum':
      return `${typeName(parentSchema?.type)} ${params.comparison} ${params.limit}`;
    case 'minItems':
    case 'maxItems':
      return `${keyword === 'minItems' ? 'at least' : 'at most'} ${params.limit} of them`;
    case 'anyOf':
      return alternatives(parentSchema);
    default:
      return keyword;
  }
}

/** A union is described by its own words; a short one by its members. */
function alternatives(schema: ErrorObject['parentSchema']): string {
  const members: { const?: unknown; type?: unknown }[] = schema?.anyOf ?? [];
  const simple = members.every((member) => 'const' in member || member.type === 'null');
  if (simple) return members.map((member) => ('const' in member ? show(member.const) : 'null')).join(' or ');
  return `another form: ${schema?.description ?? 'see the schema'}`;
}

const pathOf = ({ instancePath }: ErrorObject): (string | number)[] =>
  instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));

function mistakesIn(errors: ErrorObject[]): Mistake[] {
  // The members of a union that failed are noise beside the union itself.
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf');
  const inUnion = ({ schemaPath }: ErrorObject) => unions.some((union) => schemaPath.startsWith(`${union.schemaPath}/`));
  return errors
    .filter((error) => !inUnion(error))
    .map((error) => {
      const path = pathOf(error);
      if (error.keyword === 'additionalProperties') {
        const name: string = error.params.additionalProperty;
        return {
          path: [...path, name],
          found: 'an unknown key',
          expected: unknownName(name, Object.keys(error.parentSchema?.properties)),
        };
      }
      if (error.keyword === 'required') {
        return { path: [...path, error.params.missingProperty], found: 'nothing', expected: 'a value' };
      }
      if (error.keyword === 'discriminator') {
        return { path: [...path, error.params.tag], found: show(error.params.tagValue), expected: 'a message of this direction' };
      }
      return { path, found: show(error.data), expected: expectation(error) };
    });
}

export function mistakesOf(schema: Exclude<SchemaName, 'messages'>, value: unknown): Mistake[] {
  const validate = validator(schema);
  return validate(value) ? [] : mistakesIn(validate.errors ?? []);
}

export const describePath = (path: (string | number)[]): string =>
  path.reduce<string>((text, part) => (typeof part === 'number' ? `${text}[${part}]` : text ? `${text}.${part}` : part), '') ||
  'it';

const DIRECTIONS = { fromRank: 'FromRank', toRank: 'ToRank' } as const;

interface Received {
  fromRank: FromRank;
  toRank: ToRank;
}

function accept(value: unknown, definition: string): void {
  const validate = validator('messages', definition);
  if (validate(value)) return;
  const [first] = mistakesIn(validate.errors ?? []);
  throw new TypeError(first ? `${describePath(first.path)}: found ${first.found}, expected ${first.expected}` : 'not a message');
}

/** Returns the message, typed; throws a TypeError with a short reason when it is none of that direction. */
export function validateMessage<D extends keyof Received>(value: unknown, direction: D): Received[D] {
  accept(value, DIRECTIONS[direction]);
  return value as Received[D];
}

export function validateRun(value: unknown): Run {
  accept(value, 'Run');
  return value as Run;
}
