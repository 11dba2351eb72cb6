/** Pure: what about a command and its interpreter keeps cfx from compressing, and what is only worth saying. */
import { ADAPTERS, TORCH_SINCE, TRITON_SINCE } from './adapter.js';
import { ERRORS, type ErrorCode } from './errors.js';
import type { Probe } from './probe.js';

export interface Finding {
  code: ErrorCode;
  /** What was found and what was expected. */
  message: string;
  fix: string;
}

export interface Detection {
  /** Each of these alone means that no rank compresses. */
  refusals: Finding[];
  warnings: Finding[];
  /** Settings that may be the slow part themselves. */
  advice: { message: string; fix: string }[];
}

export interface DetectInput {
  command: string[];
  /** null: the interpreter could not be asked. */
  probe: Probe | null;
  /** The folder with pyzmq and msgpack for this interpreter is there. */
  hasSide: boolean;
  env: { [name: string]: string | undefined };
}

const finding = (code: ErrorCode, message: string, fix: string = ERRORS[code].fix): Finding => ({ code, message, fix });

/** xDiT's parser takes dashes for underscores; a switch may be written `--x=True`. */
const normalise = (word: string) => (word.startsWith('--') ? `--${word.slice(2).replaceAll('-', '_')}` : word);

function givenFlag(command: string[], flag: string): string | null {
  return command.find((word) => normalise(word.split('=')[0]!) === flag) ?? null;
}

const STEP_CACHES = ['--use_teacache', '--use_fbcache', '--cache_method'];

function detectFlags(command: string[]): Finding[] {
  const found: Finding[] = [];
  const fp8 = givenFlag(command, '--use_fp8_comms');
  if (fp8)
    found.push(finding('CFX_FP8_COMMS', `the command has ${fp8}, xDiT's own compression of the same messages; expected none`));
  const cache = STEP_CACHES.map((flag) => givenFlag(command, flag)).find(Boolean);
  if (cache)
    found.push(
      finding(
        'CFX_STEP_CACHE',
        `the command has ${cache}, which lets each rank decide to skip work; expected every step on every rank`,
      ),
    );
  const balance = givenFlag(command, '--use_spargeattn_head_balance');
  if (balance)
    found.push(
      finding('CFX_HEAD_BALANCE', `the command has ${balance}, which moves heads between steps; expected heads in their places`),
    );
  return found;
}

const release = (version: string) => (/^\d+(\.\d+)*/.exec(version)?.[0] ?? '0').split('.').map(Number);

export function isOlder(version: string, than: string): boolean {
  const [a, b] = [release(version), release(than)];
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function detectPython({ interpreter, machine }: Probe, hasSide: boolean): Finding[] {
  const found: Finding[] = [];
  const isolating = interpreter.flags.find((flag) => /^-(?![WX])[a-zA-Z]*[IES]/.test(flag));
  // a launcher's own flags do not reach the ranks that it starts
  if (isolating && !interpreter.launcher)
    found.push(finding('CFX_ISOLATED_PYTHON', `the command starts Python with ${isolating}; expected neither -I, -S nor -E`));
  if (interpreter.dropsEnvironment) {
    found.push(
      finding(
        'CFX_ISOLATED_PYTHON',
        'the command empties the environment with "env -i"; expected CFX_RUN and PYTHONPATH to reach the ranks',
        'Start the command without "env -i".',
      ),
    );
  }
  if (isOlder(machine.version, '3.10'))
    found.push(finding('CFX_PYTHON', `${machine.python} is Python ${machine.version}; expected 3.10 or newer`));

  const { distributions } = machine;
  const adapters = Object.entries(ADAPTERS);
  const supported = adapters.map(([, { distribution, since, before }]) => `${distribution} >=${since},<${before}`).join(' or ');
  const present = adapters.filter(([, { distribution }]) => distributions[distribution as keyof typeof distributions]);
  if (present.length === 0) {
    found.push(
      finding(
        'CFX_ADAPTER_VERSION',
        `${machine.python} has no ${adapters.map(([, a]) => a.distribution).join(', ')}; expected ${supported}`,
      ),
    );
  }
  for (const [name, { distribution, since, before }] of present) {
    const version = distributions[distribution as keyof typeof distributions]!;
    if (isOlder(version, since) || !isOlder(version, before)) {
      found.push(
        finding(
          'CFX_ADAPTER_VERSION',
          `${distribution} ${version} is installed; adapter "${name}" supports >=${since},<${before}`,
        ),
      );
    }
  }
  const torch = distributions.torch;
  if (torch && isOlder(torch, TORCH_SINCE))
    found.push(
      finding(
        'CFX_ADAPTER_VERSION',
        `torch ${torch} is installed; expected ${TORCH_SINCE} or newer`,
        'Upgrade torch, or run without cfx.',
      ),
    );
  if (machine.missing.length > 0 && !hasSide) {
    found.push(
      finding(
        'CFX_PY_MISSING',
        `${machine.python} has no ${machine.missing.join(' and no ')}; expected pyzmq and msgpack, there or in cfx's side folder`,
        `Run "cfx setup --side --python ${machine.python}"; it puts them into a folder of cfx's own.`,
      ),
    );
  }
  return found;
}

function detectTriton(probe: Probe | null): Detection['advice'] {
  const triton = probe?.machine.distributions.triton;
  if (!triton || !isOlder(triton, TRITON_SINCE)) return [];
  return [
    {
      message: `triton ${triton} is installed; the kernels need ${TRITON_SINCE} or newer, and a GPU codes in plain torch, slowly`,
      fix: 'Upgrade torch, which brings its Triton along.',
    },
  ];
}

/** Settings of the network that often explain slow communication better than its volume does. */
function detectNetwork(env: DetectInput['env']): Detection['advice'] {
  const off = (name: string, what: string) =>
    env[name] === '1'
      ? [
          {
            message: `${name}=1 is set: NCCL does without ${what}`,
            fix: `Unset ${name} unless this machine needs it; that alone may be the slow part.`,
          },
        ]
      : [];
  return [
    ...off('NCCL_P2P_DISABLE', 'direct GPU-to-GPU copies'),
    ...off('NCCL_SHM_DISABLE', 'shared memory'),
    ...off('NCCL_IB_DISABLE', 'InfiniBand and RoCE'),
  ];
}

export function detect({ command, probe, hasSide, env }: DetectInput): Detection {
  const notFound = probe?.interpreter.notFound;
  // nothing else is worth saying about a command that cannot run
  if (notFound) {
    const message = `"${notFound}" is not there; expected a program on PATH or the path of one`;
    return { refusals: [finding('CFX_COMMAND_NOT_FOUND', message)], warnings: [], advice: [] };
  }
  const flags = detectFlags(command);
  const python = probe ? detectPython(probe, hasSide) : [];
  const certain = probe?.interpreter.certain ?? false;
  return {
    refusals: [...flags, ...(certain ? python : [])],
    // about an interpreter that was only guessed nothing is refused: the ranks find out for themselves
    warnings: certain ? [] : python,
    advice: [...detectTriton(probe), ...detectNetwork(env)],
  };
}
