import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sources } from '../src/config.js';
import { CONFIG_NAMES, DEFAULT_CONFIG, resolveConfig } from '../src/config.js';
import { CfxError } from '../src/errors.js';
import { PACKAGE_ROOT } from '../src/package.js';
import { compilePlan } from '../src/plan.js';
import { loadPolicy } from '../src/policy.js';
import { PRESETS } from '../src/preset.js';

let home: string;
let project: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cfx-config-'));
  project = join(home, 'project', 'deep');
  mkdirSync(project, { recursive: true });
});
afterEach(() => rmSync(home, { recursive: true }));

const resolved = (sources: Partial<Sources> = {}) => resolveConfig({ flags: {}, env: {}, cwd: project, home, ...sources });

function write(path: string, text: string): string {
  const file = join(home, path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
  return file;
}

function mistake(sources: Partial<Sources>): string {
  try {
    resolved(sources);
  } catch (error) {
    expect(error).toBeInstanceOf(CfxError);
    expect((error as CfxError).code).toBe('CFX_CONFIG');
    return (error as CfxError).message;
  }
  throw new Error('the configuration was accepted');
}

test('With nothing set, every value is the default', () => {
  const { config, origins } = resolved();
  expect(config).toEqual(DEFAULT_CONFIG);
  expect(new Set(Object.values(origins))).toEqual(new Set(['default']));
  expect(Object.keys(origins)).toEqual(Object.keys(DEFAULT_CONFIG));
});

test('The default policy exists', () => expect(Object.keys(PRESETS)).toContain(DEFAULT_CONFIG.policy));

test('Flags go before the environment, that before the project file, the user file and the default', () => {
  const projectFile = write('project/cfx.config.yaml', 'policy: identity\nstrict: true\nverify: true\nquiet: true\n');
  const userFile = write('.config/cfx/config.json', '{"policy": "off", "agreeTimeoutSeconds": 2.5}');
  const { config, origins } = resolved({
    flags: { policy: 'paper-1bit' },
    env: { CFX_POLICY: 'paper-2bit', CFX_STRICT: '0', CFX_REPORT: '' },
  });
  expect(config).toEqual({
    ...DEFAULT_CONFIG,
    policy: 'paper-1bit',
    strict: false,
    verify: true,
    quiet: true,
    agreeTimeoutSeconds: 2.5,
  });
  expect(origins).toMatchObject({
    policy: 'flag --policy',
    strict: 'env CFX_STRICT',
    verify: `file ${projectFile}`,
    agreeTimeoutSeconds: `file ${userFile}`,
    report: 'default',
  });
});

test('XDG_CONFIG_HOME moves the user file', () => {
  const file = write('xdg/cfx/config.yml', 'device: cpu\n');
  expect(resolved({ env: { XDG_CONFIG_HOME: join(home, 'xdg') } }).origins.device).toBe(`file ${file}`);
});

test('A named file replaces the search upward', () => {
  write('project/cfx.config.json', '{"policy": "identity"}');
  const named = write('elsewhere/other.json', '{"strict": true}');
  for (const sources of [{ flags: { config: '../../elsewhere/other.json' } }, { env: { CFX_CONFIG: named } }]) {
    const { config, origins } = resolved(sources);
    expect(config).toMatchObject({ policy: 'paper-2bit', strict: true });
    expect(origins.strict).toBe(`file ${named}`);
  }
});

test('A policy file is looked for beside the configuration that names it', () => {
  write('project/cfx.config.json', '{"policy": "policies/mine.yaml"}');
  expect(resolved().config.policy).toBe(join(home, 'project/policies/mine.yaml'));
  expect(resolved({ flags: { policy: './mine.yaml' } }).config.policy).toBe('./mine.yaml');
});

test('Text from flags and the environment is read as the type of its key', () => {
  const { config } = resolved({ flags: { helloTimeoutSeconds: '1.5' }, env: { CFX_VERIFY: 'yes', CFX_JSON: 'False' } });
  expect(config).toMatchObject({ helloTimeoutSeconds: 1.5, verify: true, json: false });
});

test('The configuration is frozen', () => expect(Object.isFrozen(resolved().config)).toBe(true));

test('All mistakes in all sources are reported at once, with file and line', () => {
  const file = write(
    'project/cfx.config.json',
    '{\n\t"policy": "paper-1bt",\n\t"strict": "yes",\n\t"polcy": 3,\n\t"agreeTimeoutSeconds": 0,\n\t"device": "gpu"\n}\n',
  );
  const user = write('.config/cfx/config.yaml', 'report: 3\n');
  const message = mistake({ flags: { policy: 'nope', helloTimeoutSeconds: 'soon' }, env: { CFX_STRICT: 'maybe' } });
  expect(message.split('\n').map((line) => line.trim())).toEqual([
    '9 mistakes:',
    'flag --hello-timeout: found "soon"; expected a number',
    'flag --policy: found "nope"; expected a policy file (.json, .yaml) or one of "off", "identity", "stale", "fp8", "int8", "paper-1bit", "paper-2bit", "paper-lowrank32", "paper-lowrank32-int4", "cfx-1bit", "cfx-2bit", "cfx-3bit", "cfx-1bit-fast", "cfx-2bit-fast", "cfx-lowrank"',
    'env CFX_STRICT: found "maybe"; expected true or false',
    `${file}:2: policy: found "paper-1bt"; expected a policy file (.json, .yaml) or one of "off", "identity", "stale", "fp8", "int8", "paper-1bit", "paper-2bit", "paper-lowrank32", "paper-lowrank32-int4", "cfx-1bit", "cfx-2bit", "cfx-3bit", "cfx-1bit-fast", "cfx-2bit-fast", "cfx-lowrank"; did you mean "paper-1bit"?`,
    `${file}:3: strict: found "yes"; expected true or false`,
    expect.stringMatching(/:4: polcy: found an unknown key; expected one of .*; did you mean "policy"\?$/),
    `${file}:5: agreeTimeoutSeconds: found 0; expected a number > 0`,
    `${file}:6: device: found "gpu"; expected "cpu" or null`,
    `${user}:1: report: found 3; expected null or text`,
  ]);
});

test.each([
  ['{"strict": true', /cfx\.config\.json:1: /],
  ['{"strict": true, "strict": false}', /cfx\.config\.json:1: Map keys must be unique/],
  ['[1]', /cfx\.config\.json:1: found \[1\]; expected keys with values/],
])('A file holding %s is refused', (text, expected) => {
  write('project/cfx.config.json', text);
  expect(mistake({})).toMatch(expected);
});

test('A named file that is not there is refused', () => {
  expect(mistake({ flags: { config: 'gone.json' } })).toMatch(/gone\.json cannot be read: ENOENT/);
});

test('Every key has a flag and a variable of its own', () => {
  expect(Object.keys(CONFIG_NAMES)).toEqual(Object.keys(DEFAULT_CONFIG));
  for (const name of ['flag', 'env'] as const) {
    expect(new Set(Object.values(CONFIG_NAMES).map((names) => names[name])).size).toBe(Object.keys(CONFIG_NAMES).length);
  }
});

const EXAMPLES = join(PACKAGE_ROOT, 'examples');
const examples = (ending: string) => readdirSync(EXAMPLES).filter((name) => name.endsWith(ending));

test.each(examples('.config.json'))('The example %s is accepted, and so is the policy it names', (name) => {
  const { config } = resolved({ flags: { config: join(EXAMPLES, name) } });
  const plan = compilePlan(loadPolicy(config.policy, (file) => readFileSync(file, 'utf8')));
  expect(plan.cells.length).toBeGreaterThan(0);
});

test.each(examples('.policy.yaml'))('The example %s compiles', (name) => {
  const policy = loadPolicy(join(EXAMPLES, name), (file) => readFileSync(file, 'utf8'));
  expect(compilePlan(policy).cells.length).toBeGreaterThan(policy.rules?.length ?? 0);
});
