/** Who may import whom, as data; a broken rule is reported with the offending line. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { PACKAGE_ROOT } from '../src/package.js';

// TypeScript

/** No node: module but node:crypto, no clock, no npm package, and no value from a file that is not pure. */
const PURE =
  'adapter benchjob benchmark benchresult benchtable codec detect errors evalresult evalsamples evaltable evaluation nearest observe patches plan planlist predict preset protocol range report summary telemetry tracing verification';

/** Each dependency and each dangerous module has its owners. */
const OWNERS: { [specifier: string]: string } = {
  ajv: 'validate',
  commander:
    'program preparation commands/attach commands/bench commands/demo commands/doctor commands/eval commands/plan commands/record commands/report commands/setup commands/shim',
  '@observablehq/plot': 'plot',
  linkedom: 'plot',
  'msgpackr/index-no-eval': 'frames',
  pythonia: 'python',
  yaml: 'document',
  zeromq: 'control',
  'node:child_process': 'launch probe subprocess',
};

/** Files that only the named ones may import: the command line uses the core, never the other way round. */
const USERS: { [file: string]: RegExp } = {
  cli: /^$/,
  program: /^(cli|commands\/\w+)$/,
  config: /^(index|preparation|commands\/\w+)$/,
  preparation: /^commands\/\w+$/,
  'commands/': /^program$/,
};

// Python

/** A file imports only from lower levels. */
const LEVELS = [
  '_contract hooks',
  'schema plan patching progress forwards agreement codecs/*',
  'channel base_store state telemetry predictor measures',
  'kernels/* statistics',
  'observe cpu/*',
  'coding',
  'messages',
  'calls proof',
  'collectives',
  'adapters/*',
  'session',
  'boot',
];
/** Adapters, kernels and the CPU's may build on each other; codecs only on files that are no codec. */
const SIBLINGS = /^adapters\/|^codecs\/_|^kernels\/|^cpu\//;

/** What each file may import beyond the standard library. */
const EXTERNAL: { [module: string]: RegExp } = {
  torch:
    /^(codecs\/|kernels(\/|$)|cpu\/(launch|arguments)|adapters\/|base_store|state|statistics|predictor|measures|observe|coding|messages|proof|calls|collectives|forwards|session)/,
  numpy: /^(codecs\/|cpu\/|observe$)/,
  // what compiles the CPU's kernels, and what loads them; neither is needed to run
  numba: /^cpu\/(vectors|lanes|arithmetic|build)$/,
  llvmlite: /^cpu\/(vectors|lanes|build|library)$/,
  triton: /^kernels(\/|$)/,
  // what a diffusers pipeline brings along; needed only where a run is observed
  safetensors: /^observe$/,
  PIL: /^observe$/,
  zmq: /^channel$/,
  msgpack: /^channel$/,
  xfuser: /^adapters\//,
  yunchang: /^adapters\//,
  diffusers: /^adapters\//,
};
/** The same for packages that work offline: on what runs left behind, and on the shim itself. */
const OFFLINE: { [folder: string]: string } = {
  cfx_eval: 'cfx_shim torch torchmetrics numpy safetensors PIL',
  cfx_bench: 'cfx_shim cfx_eval torch triton numpy',
};
/** Written from formulas alone, to compare with: shares no code with what it is compared with. */
const INDEPENDENT = { cfx_bench: { paper: 'functools numpy' } };
const STANDARD = new Set(
  'argparse atexit collections concurrent contextlib contextvars ctypes dataclasses datetime enum fcntl functools hashlib importlib inspect itertools json math operator os platform queue re secrets socket stat statistics struct sys threading time traceback types typing uuid warnings weakref'.split(
    ' ',
  ),
);

/** Each turns data from elsewhere into code or objects. */
const FORBIDDEN_PYTHON =
  /\b(pickle|marshal|shelve|dill|cloudpickle|recv_pyobj|send_pyobj|(?!emit_|finalize_)\w+_object(_list)?\(|torch\.load|torch\.save|eval\(|exec\()/;

interface Line {
  file: string;
  number: number;
  text: string;
}

function read(folder: string, ending: string): { file: string; lines: Line[]; text: string }[] {
  return readdirSync(join(PACKAGE_ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(ending) && !path.endsWith('.d.ts'))
    .sort()
    .map((path) => {
      const text = readFileSync(join(PACKAGE_ROOT, folder, path), 'utf8');
      const file = path.slice(0, -ending.length);
      return {
        file,
        text,
        lines: text.split('\n').map((line, index) => ({ file: `${folder}/${path}`, number: index + 1, text: line })),
      };
    });
}

const at = ({ file, number, text }: Line) => `${file}:${number}: ${text.trim()}`;
const words = (text: string) => text.split(' ');

interface Import {
  from: string;
  /** A file of ours, without ending; or the specifier as it stands. */
  to: string;
  own: boolean;
  typeOnly: boolean;
  line: string;
}

const sources = read('src', '.ts');

/** Static and dynamic imports and re-exports; formatting keeps the specifier on the line of its `from`. */
const imports: Import[] = sources.flatMap(({ file, text, lines }) =>
  [
    ...text.matchAll(
      /^(?:import|export)\b(?<type> type\b)?[^;]*?from '(?<static>[^']+)';|import\('(?<dynamic>[^']+)'\)|^import '(?<effect>[^']+)'/gm,
    ),
  ].map(({ groups, index }) => {
    const { type, static: fixed, dynamic, effect } = groups as { [name: string]: string | undefined };
    const specifier = (fixed ?? dynamic ?? effect) as string;
    const own = specifier.startsWith('.');
    const to = own ? posix.join(posix.dirname(file), specifier).replace(/\.js$/, '') : specifier;
    const line = lines[text.slice(0, index).split('\n').length - 1] as Line;
    return { from: file, to, own, typeOnly: type !== undefined, line: at(line) };
  }),
);

test('Every import is seen', () => {
  // The sum guards the pattern above: an import that it does not match would be free of all rules.
  const mentioned = sources.flatMap(({ text }) => [...text.matchAll(/\bfrom '[^']+';|\bimport\('|\bimport '/g)]);
  expect(imports.length).toBe(mentioned.length);
  expect(imports.length).toBeGreaterThan(60);
});

test('Pure files stay pure', () => {
  const pure = new Set(words(PURE));
  const breaks = imports.filter(
    ({ from, to, own, typeOnly }) => pure.has(from) && !typeOnly && (own ? !pure.has(to) : to !== 'node:crypto'),
  );
  expect(breaks.map(({ line }) => line)).toEqual([]);
  const effects = sources
    .filter(({ file }) => pure.has(file))
    .flatMap(({ lines }) => lines)
    .filter(({ text }) =>
      /^(?!\s*(\/?\*|\/\/)).*\b(Date\.now|new Date\(\)|performance\.|setTimeout|setInterval|Math\.random|process\.|console\.)/.test(
        text,
      ),
    );
  expect(effects.map(at)).toEqual([]);
});

test('Each file that is called pure exists', () => {
  const files = new Set(sources.map(({ file }) => file));
  expect(words(PURE).filter((file) => !files.has(file))).toEqual([]);
});

test('Each dependency has its owners', () => {
  const breaks = imports.filter(({ from, to, own, typeOnly }) => {
    if (own || (to.startsWith('node:') && (typeOnly || !(to in OWNERS)))) return false;
    return !words(OWNERS[to] ?? '').includes(from);
  });
  expect(breaks.map(({ line }) => line)).toEqual([]);
  expect(imports.filter(({ to }) => to === 'pythonia').every(({ line }) => line.includes('import('))).toBe(true);
});

test('The command line uses the core, never the other way round', () => {
  const breaks = imports.filter(({ from, to, own, typeOnly }) => {
    const rule = Object.entries(USERS).find(([file]) => (file.endsWith('/') ? to.startsWith(file) : to === file));
    return own && rule && !typeOnly && !rule[1].test(from);
  });
  // `defineConfig` is the one value of config.ts that the public entry passes on.
  expect(breaks.map(({ line }) => line)).toEqual([]);
});

test('No file imports itself through others', () => {
  const targets = (from: string) =>
    imports.filter((each) => each.from === from && each.own && !each.typeOnly).map(({ to }) => to);
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
    if (path.includes(file) || done.has(file)) return;
    for (const target of targets(file)) visit(target, [...path, file]);
    done.add(file);
  };
  for (const { file } of sources) visit(file, []);
  expect(cycles).toEqual([]);
});

test('The environment and the arguments are read in cli.ts, the place of the package in package.ts', () => {
  const lines = (pattern: RegExp, ...owners: string[]) =>
    sources
      .filter(({ file }) => !owners.includes(file))
      .flatMap((source) => source.lines)
      .filter(({ text }) => pattern.test(text.replace(/^\s*(\/\/|\/?\*).*/, '')))
      .map(at);
  // pythonia starts Python with the environment of this process, so python.ts sets it just before;
  // attach() as a library call has nobody to pass it on.
  expect(lines(/process\.env|node:process/, 'cli', 'python', 'attach')).toEqual([]);
  expect(lines(/process\.argv/, 'cli')).toEqual([]);
  expect(lines(/import\.meta/, 'package')).toEqual([]);
});

test('index.ts holds nothing but re-exports', () => {
  const index = sources.find(({ file }) => file === 'index');
  const statements = (index?.text ?? 'missing')
    .replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
    .split(/;\s*/)
    .filter((each) => each.trim());
  expect(statements.filter((each) => !/^\s*export (type )?(\{[^}]*\}|\*) from '/.test(each))).toEqual([]);
});

/** Comments and docstrings may name anything. */
const withoutProse = (text: string) =>
  text.replace(/"""[\s\S]*?"""/g, (prose) => prose.replace(/[^\n]/g, '')).replace(/(^|\s)#.*$/gm, '$1');

const readPython = (folder: string) =>
  read(folder, '.py').map(({ file, lines, text }) => {
    const code = withoutProse(text).split('\n');
    return { file: file.replace(/\/?__init__$/, ''), lines: lines.map((line, index) => ({ ...line, text: code[index] ?? '' })) };
  });
const shim = readPython('python_shim/cfx_shim');
/** They build on the shim, which knows nothing of them. */
const packages = Object.keys(OFFLINE).map((folder) => ({ folder, files: readPython(`python_shim/${folder}`) }));
const offline = packages.flatMap(({ files }) => files);

const levelOf = (file: string) =>
  LEVELS.findIndex((level) =>
    words(level).some((name) => (name.endsWith('/*') ? `${file}/`.startsWith(name.slice(0, -1)) : name === file)),
  );

interface PythonImport {
  from: string;
  to: string;
  relative: boolean;
  line: string;
}

const importsOf = (files: typeof shim): PythonImport[] =>
  files.flatMap(({ file, lines }) =>
    lines.flatMap((line): PythonImport[] => {
      const direct = /^\s*import ([\w.]+(?:\s*,\s*[\w.]+)*)/.exec(line.text);
      if (direct)
        return (direct[1] as string).split(',').map((to) => ({ from: file, to: to.trim(), relative: false, line: at(line) }));
      const from = /^\s*from (\.*)([\w.]*) import \(?([^)#]*)/.exec(line.text);
      if (!from) return [];
      const [, dots = '', module = '', names = ''] = from;
      if (!dots) return [{ from: file, to: module, relative: false, line: at(line) }];
      // A package imports from its own folder, a module from the one it lies in.
      const isPackage = line.file.endsWith('/__init__.py');
      const folder = file.split('/').slice(0, (isPackage ? file.split('/').length : -1) as number);
      const base = dots.length > 1 ? folder.slice(0, 1 - dots.length) : folder;
      const targets = module
        ? [module.replaceAll('.', '/')]
        : names.split(',').map((name) => name.trim().split(' ')[0] as string);
      return targets.map((target) => ({
        from: file,
        to: [...base, target].filter(Boolean).join('/'),
        relative: true,
        line: at(line),
      }));
    }),
  );
const pythonImports = importsOf(shim);

test('Every Python file has a level', () => {
  const files = shim.map(({ file }) => file).filter((file) => file !== '');
  expect(files.filter((file) => levelOf(file) < 0)).toEqual([]);
  expect(pythonImports.filter(({ relative }) => relative).length).toBeGreaterThan(20);
});

test('A Python file imports only from lower levels', () => {
  const breaks = pythonImports.filter(({ from, to, relative }) => {
    if (!relative || from === '') return false;
    const sibling = SIBLINGS.test(to) && posix.dirname(from) === posix.dirname(to);
    return levelOf(to) < 0 || (levelOf(to) >= levelOf(from) && !sibling);
  });
  expect(breaks.map(({ line }) => line)).toEqual([]);
});

test('A Python file imports the standard library and what it is named for', () => {
  const breaks = pythonImports.filter(({ from, to, relative }) => {
    const [top = ''] = to.split('.');
    return !relative && !STANDARD.has(top) && !EXTERNAL[top]?.test(from);
  });
  expect(breaks.map(({ line }) => line)).toEqual([]);
});

test('What works offline imports the shim and what it is named for; no file imports a program', () => {
  for (const { folder, files } of packages) {
    const found = importsOf(files);
    const breaks = found.filter(({ to, relative }) => {
      const [top = ''] = to.split('.');
      return relative ? /_main$/.test(to) : !STANDARD.has(top) && !words(OFFLINE[folder] as string).includes(top);
    });
    expect(breaks.map(({ line }) => line)).toEqual([]);
    expect(found.length).toBeGreaterThan(20);
  }
});

test('What is to be compared with shares no code with it', () => {
  for (const [folder, rules] of Object.entries(INDEPENDENT)) {
    for (const [file, allowed] of Object.entries(rules)) {
      const found = importsOf(readPython(`python_shim/${folder}`)).filter(({ from }) => from === file);
      expect(found.map(({ to }) => to).sort()).toEqual(words(allowed));
    }
  }
});

test('Only adapters name symbols of the frameworks', () => {
  const breaks = shim
    .filter(({ file }) => !file.startsWith('adapters/') && file !== '_contract')
    .flatMap(({ lines }) => lines)
    .filter(({ text }) => /\b(xfuser|yunchang|diffusers)\.|import_module\(.*(xfuser|yunchang|diffusers)/.test(text));
  expect(breaks.map(at)).toEqual([]);
});

test('The environment is read in boot.py only, and nothing is turned into code or objects', () => {
  const all = [...shim, ...offline, ...read('python_shim/bootstrap', '.py').map(({ file, lines }) => ({ file, lines }))];
  const environment = all
    .filter(({ file }) => file !== 'boot' && file !== 'sitecustomize')
    .flatMap(({ lines }) => lines)
    .filter(({ text }) => /\benviron\b|\bgetenv\b/.test(text));
  expect(environment.map(at)).toEqual([]);
  const forbidden = all.flatMap(({ lines }) => lines).filter(({ text }) => FORBIDDEN_PYTHON.test(text));
  expect(forbidden.map(at)).toEqual([]);
});

test('Files stay small: 250 lines of TypeScript, 400 of Python', () => {
  const long = [
    ...sources.map((each) => ({ ...each, cap: 250 })),
    ...[...shim, ...offline].map((each) => ({ ...each, cap: 400 })),
  ];
  expect(long.filter(({ lines, cap }) => lines.length > cap + 1).map(({ file, lines }) => `${file}: ${lines.length}`)).toEqual(
    [],
  );
});

test('No file is a drawer for everything', () => {
  const names = [...sources, ...shim, ...offline].map(({ file }) => file);
  expect(names.filter((file) => /(^|\/)_?(utils?|helpers?|common|misc|manager)$/.test(file))).toEqual([]);
});
