/**
 * Configuration: what a user sets, from where, and what is in force. Order: flag, environment
 * (`CFX_*`), configuration file, default. All mistakes are reported at once, with file and line.
 */
import { dirname, resolve } from 'node:path';
import { findConfigFiles, readConfigFile } from './configfile.js';
import type { Document } from './document.js';
import { locate, refuse } from './document.js';
import { show } from './nearest.js';
import { expectedPolicy, isPolicyFile } from './preset.js';
import type { Mistake } from './validate.js';
import { mistakesOf } from './validate.js';

/** What a user may write in `cfx.config.json` (the schema is generated from this type). */
export interface RawConfig {
  /** Lets an editor check this file. */
  $schema?: string;
  /** A preset's name, or the path of a policy file (.json, .yaml), relative to this file. Default "paper-2bit". */
  policy?: string;
  /** Fail before the first step instead of running uncompressed. Default false. */
  strict?: boolean;
  /** Compare digests of all bases between ranks at each generation's end. Default false. */
  verify?: boolean;
  /** Print no proof block at the end. Default false. */
  quiet?: boolean;
  /** Print machine-readable output as well. Default false. */
  json?: boolean;
  /** Write the summary of the run to this file, relative to the working directory; null: nowhere. Default null. */
  report?: string | null;
  /** "cpu" lets xDiT run on a CPU with gloo; null leaves the device alone. Default null. */
  device?: 'cpu' | null;
  /** The Python interpreter that runs the command; null: found from the command. Default null. */
  python?: string | null;
  /**
   * How long a rank waits for the other ranks in the agreement, in seconds. Default 60.
   * @fraction
   * @exclusiveMinimum 0
   */
  agreeTimeoutSeconds?: number;
  /**
   * How long the launch may go without any rank reporting, in seconds. Default 120.
   * @fraction
   * @exclusiveMinimum 0
   */
  helloTimeoutSeconds?: number;
}

/** What is in force, every value filled in. Frozen. */
export type Config = Readonly<Required<Omit<RawConfig, '$schema'>>>;

export const DEFAULT_CONFIG: Config = Object.freeze({
  policy: 'paper-2bit',
  strict: false,
  verify: false,
  quiet: false,
  json: false,
  report: null,
  device: null,
  python: null,
  agreeTimeoutSeconds: 60,
  helloTimeoutSeconds: 120,
});

export type ConfigKey = keyof Config;

/** Each key's name on the command line and in the environment. */
export const CONFIG_NAMES: { readonly [K in ConfigKey]: { flag: string; env: string } } = {
  policy: { flag: '--policy', env: 'CFX_POLICY' },
  strict: { flag: '--strict', env: 'CFX_STRICT' },
  verify: { flag: '--verify', env: 'CFX_VERIFY' },
  quiet: { flag: '--quiet', env: 'CFX_QUIET' },
  json: { flag: '--json', env: 'CFX_JSON' },
  report: { flag: '--report', env: 'CFX_REPORT' },
  device: { flag: '--device', env: 'CFX_DEVICE' },
  python: { flag: '--python', env: 'CFX_PYTHON' },
  agreeTimeoutSeconds: { flag: '--agree-timeout', env: 'CFX_AGREE_TIMEOUT' },
  helloTimeoutSeconds: { flag: '--hello-timeout', env: 'CFX_HELLO_TIMEOUT' },
};

/** Types a configuration written in TypeScript or JavaScript; returns it as it is. */
export const defineConfig = (raw: RawConfig): RawConfig => raw;

export type Origins = { [K in ConfigKey]: string };

export interface Resolved {
  config: Config;
  /** Where each value came from: "flag --policy", "env CFX_POLICY", "file <path>" or "default". */
  origins: Origins;
}

export interface Sources {
  /** As given on the command line; `config` names a file that replaces the search for one. */
  flags: { [K in ConfigKey]?: unknown } & { config?: string | undefined };
  env: { readonly [name: string]: string | undefined };
  cwd: string;
  home: string;
}

/** One place that values come from, checked. */
interface Layer {
  values: { [key: string]: unknown };
  origin: (key: ConfigKey) => string;
  mistakes: string[];
}

const KEYS = Object.keys(DEFAULT_CONFIG) as ConfigKey[];
const WORDS: { [word: string]: boolean } = {
  1: true,
  true: true,
  yes: true,
  on: true,
  0: false,
  false: false,
  no: false,
  off: false,
};

/** Text from a flag or the environment, as the type the key has; what cannot be read stays text, for the schema to refuse. */
function fromText(key: ConfigKey, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const kind = typeof DEFAULT_CONFIG[key];
  if (kind === 'boolean') return WORDS[value.toLowerCase()] ?? value;
  if (kind === 'number') return value.trim() !== '' && Number.isFinite(Number(value)) ? Number(value) : value;
  return value;
}

function mistakesIn(raw: unknown): Mistake[] {
  const policy = isTable(raw) ? raw.policy : undefined;
  const expected = typeof policy === 'string' ? expectedPolicy(policy) : null;
  const unknown = expected === null ? [] : [{ path: ['policy'], found: show(policy), expected }];
  return [...mistakesOf('config', raw), ...unknown];
}

function textLayer(kind: 'flag' | 'env', given: { readonly [name: string]: unknown }): Layer {
  const nameOf = (key: ConfigKey) => `${kind} ${CONFIG_NAMES[key][kind]}`;
  const textOf = (key: ConfigKey) => given[kind === 'flag' ? key : CONFIG_NAMES[key].env];
  // An empty variable is an unset one.
  const set = KEYS.filter((key) => textOf(key) !== undefined && !(kind === 'env' && textOf(key) === ''));
  const values = Object.fromEntries(set.map((key) => [key, fromText(key, textOf(key))]));
  const mistakes = mistakesIn(values).map(
    ({ path, found, expected }) => `${nameOf(path[0] as ConfigKey)}: found ${found}; expected ${expected}`,
  );
  return { values, origin: nameOf, mistakes };
}

const isTable = (value: unknown): value is { [key: string]: unknown } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function fileLayer(document: Document): Layer {
  const raw = document.value ?? {};
  const values = isTable(raw) ? { ...raw } : {};
  // A policy file named in a configuration file lies beside that file, wherever cfx is started.
  if (typeof values.policy === 'string' && isPolicyFile(values.policy)) {
    values.policy = resolve(dirname(document.file), values.policy);
  }
  return { values, origin: () => `file ${document.file}`, mistakes: locate(document, mistakesIn(raw)) };
}

/** The value of every key and where it came from; all mistakes in all sources as one error. */
export function resolveConfig({ flags, env, cwd, home }: Sources): Resolved {
  const files = findConfigFiles({ named: flags.config ?? (env.CFX_CONFIG || undefined), env, cwd, home });
  const layers = [textLayer('flag', flags), textLayer('env', env), ...files.map(readConfigFile).map(fileLayer)];
  const mistakes = layers.flatMap((layer) => layer.mistakes);
  if (mistakes.length > 0) refuse(mistakes);

  const origins = Object.fromEntries(KEYS.map((key) => [key, 'default'])) as Origins;
  const values: { [key: string]: unknown } = { ...DEFAULT_CONFIG };
  for (const key of KEYS) {
    const layer = layers.find((candidate) => candidate.values[key] !== undefined);
    if (!layer) continue;
    origins[key] = layer.origin(key);
    values[key] = layer.values[key];
  }
  return { config: Object.freeze(values) as unknown as Config, origins };
}
