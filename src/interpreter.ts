/**
 * Which Python interpreter a launch command ends up in. Reads scripts' first lines; starts nothing.
 */
import { accessSync, constants, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, delimiter, dirname, isAbsolute, join, resolve } from 'node:path';

export interface Interpreter {
  /** Started with more arguments, this is the Python that runs the command. */
  command: string[];
  /** Options that the command gives to Python itself, such as -I or -u. */
  flags: string[];
  /** False: the command says nothing about Python, and PATH's python3 is a guess. */
  certain: boolean;
  /** Python starts other Pythons that run the ranks, as torchrun does: `flags` do not reach those. */
  launcher: boolean;
  /** The command's name, if there is no such program. */
  notFound: string | null;
  /** The command empties the environment (`env -i`), and with it what attaches cfx. */
  dropsEnvironment: boolean;
}

type Environment = { [name: string]: string | undefined };

const PYTHON = /^(python|pypy)(\d+(\.\d+)*)?t?$/;
const LAUNCHERS = new Set(['torchrun', 'xdit', 'accelerate', 'accelerate-launch', 'deepspeed']);
const LAUNCHER_MODULES = new Set([
  'torch.distributed.run',
  'torch.distributed.launch',
  'xfuser.cli',
  'accelerate.commands.launch',
]);
/** These choose the environment themselves: Python is asked for through them. */
const ENVIRONMENT_RUNNERS = new Set(['uv', 'conda', 'mamba', 'micromamba', 'poetry', 'pipenv', 'pdm', 'hatch', 'rye', 'pixi']);

export function findOnPath(name: string, path: string, cwd: string): string | null {
  const candidates = name.includes('/')
    ? [resolve(cwd, name)]
    : path.split(delimiter).map((folder) => join(resolve(cwd, folder), name));
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch {
      // not here: look further
    }
  }
  return null;
}

const unquote = (text: string) => text.replaceAll(/['"]/g, '');

/** The interpreter in a script's first lines: `#!/path/python`, `#!/usr/bin/env python3`, or `#!/bin/sh` and exec. */
export function readShebang(script: string): { command: string; flags: string[] } | null {
  let head: string;
  try {
    head = readFileSync(script, 'latin1').slice(0, 2048);
  } catch {
    return null;
  }
  const [first = '', second = ''] = head.split('\n');
  if (!first.startsWith('#!')) return null;
  const [program = '', ...rest] = first.slice(2).trim().split(/\s+/);
  if (PYTHON.test(basename(program))) return { command: program, flags: rest };
  if (basename(program) === 'env') {
    const at = rest.findIndex((word) => PYTHON.test(basename(word)));
    return at < 0 ? null : { command: rest[at]!, flags: rest.slice(at + 1) };
  }
  if (!/^(ba|da|z)?sh$/.test(basename(program))) return null;
  // pip and uv write these where the path is too long for a first line, or relative to the script
  const exec = /^(?:'''|")?exec['"]?\s+(.*?)\s+"\$0"\s+"\$@"/.exec(second)?.[1];
  if (!exec) return null;
  if (exec.includes('realpath') || exec.includes('dirname')) {
    const name = basename(unquote(exec).replace(/^.*\)\s*/, ''));
    return PYTHON.test(name) ? { command: join(dirname(realpathSync(script)), name), flags: [] } : null;
  }
  const [path = '', ...flags] = /^["']/.test(exec) ? [unquote(exec)] : exec.split(/\s+/);
  return PYTHON.test(basename(path)) ? { command: path, flags } : null;
}

/** Python's own options among its arguments, and the module of `-m`. */
export function readPythonArguments(words: string[]): { flags: string[]; module: string | null } {
  const flags: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at]!;
    if (!word.startsWith('-') || word === '-' || word === '--') break;
    if (/^-[a-zA-Z]*m$/.test(word)) return { flags, module: words[at + 1] ?? null };
    if (/^-[a-zA-Z]*c$/.test(word)) break;
    flags.push(word);
    if (word === '-W' || word === '-X' || word === '--check-hash-based-pycs') at += 1;
  }
  return { flags, module: null };
}

/** `env [-i] [-u NAME] [NAME=VALUE]… command`: the command, and what of it concerns us. */
function unwrapEnv(words: string[]): { rest: string[]; path: string | null; drops: boolean } {
  let path: string | null = null;
  let drops = false;
  let at = 1;
  for (; at < words.length; at += 1) {
    const word = words[at]!;
    if (word === '-i' || word === '-' || word === '--ignore-environment') drops = true;
    else if (word === '-u' || word === '--unset' || word === '-C' || word === '--chdir') at += 1;
    else if (word.startsWith('PATH=')) path = word.slice(5);
    else if (!word.startsWith('-') && !/^\w+=/.test(word)) break;
  }
  return { rest: words.slice(at), path, drops };
}

export function findInterpreter(
  command: string[],
  options: { env: Environment; cwd: string; python?: string | null },
): Interpreter {
  let words = command;
  let path = options.env.PATH ?? '';
  let dropsEnvironment = false;
  while (words.length > 0 && basename(words[0]!) === 'env') {
    const inner = unwrapEnv(words);
    words = inner.rest;
    path = inner.path ?? path;
    dropsEnvironment ||= inner.drops;
  }
  // the first word that names a Python or a known launcher; what is before it (nice, numactl, srun…) only wraps it
  const at = words.findIndex((word) => PYTHON.test(basename(word)) || LAUNCHERS.has(basename(word)));
  const word = words[at];
  const isPython = word !== undefined && PYTHON.test(basename(word));
  const own = isPython ? readPythonArguments(words.slice(at + 1)) : { flags: [], module: null };
  const launcher = word !== undefined && (isPython ? LAUNCHER_MODULES.has(own.module ?? '') : true);
  const result = (python: string[], flags: string[], certain: boolean): Interpreter => ({
    command: options.python ? [options.python] : python,
    flags,
    certain: certain || Boolean(options.python),
    launcher,
    notFound: words[0] !== undefined && findOnPath(words[0], path, options.cwd) === null ? words[0] : null,
    dropsEnvironment,
  });

  const guess = findOnPath('python3', path, options.cwd) ?? 'python3';
  const runner = words[0] !== undefined && ENVIRONMENT_RUNNERS.has(basename(words[0]));
  if (word === undefined) {
    const script = words[0] === undefined ? null : findOnPath(words[0], path, options.cwd);
    const shebang = script && readShebang(script);
    return shebang ? result([locate(shebang.command, path, options.cwd)], shebang.flags, true) : result([guess], [], false);
  }
  if (runner) return result([...words.slice(0, at), isPython ? word : 'python'], own.flags, true);
  if (isPython) return result([locate(word, path, options.cwd)], own.flags, true);
  const script = findOnPath(word, path, options.cwd);
  const shebang = script && readShebang(script);
  return shebang ? result([locate(shebang.command, path, options.cwd)], shebang.flags, true) : result([guess], [], false);
}

const locate = (name: string, path: string, cwd: string) => (isAbsolute(name) ? name : (findOnPath(name, path, cwd) ?? name));
