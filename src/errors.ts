/**
 * The one table of errors a user can meet. Codes are never reused. Python reads the same codes from
 * the generated `_contract.py`.
 *
 * A message says what was found and what was expected; `fix` says what to do. Exit codes follow
 * sysexits.h where it has one; 96 to 99 are ours. The child's own exit code is never replaced, except
 * by 96 and 97, which only occur when the user asked for `--strict` or `--verify`.
 */
export const ERRORS = {
  CFX_USAGE: { exit: 64, fix: 'Run "cfx --help" or "cfx <command> --help".' },
  CFX_CONFIG: {
    exit: 78,
    fix: 'Correct the configuration; schemas/config.schema.json and schemas/policy.schema.json describe it.',
  },
  CFX_COMMAND_NOT_FOUND: { exit: 127, fix: 'Check the command after "--" and PATH.' },
  CFX_COMMAND_NOT_EXECUTABLE: { exit: 126, fix: 'Make the command executable, or start it through its interpreter.' },
  CFX_PYTHON: { exit: 69, fix: 'Install Python 3.10 or newer, or name an interpreter with --python.' },
  CFX_PY_MISSING: { exit: 96, fix: 'Run "cfx setup --side" to put pyzmq and msgpack into a folder of cfx\'s own.' },
  CFX_ADAPTER_VERSION: { exit: 96, fix: 'Install a supported version, or run without cfx.' },
  CFX_FP8_COMMS: { exit: 96, fix: 'Drop --use_fp8_comms, or run without cfx: the two must not be stacked.' },
  CFX_STEP_CACHE: { exit: 96, fix: 'Drop the step cache, or run without cfx: skipped steps would differ between ranks.' },
  CFX_HEAD_BALANCE: {
    exit: 96,
    fix: 'Drop --use_spargeattn_head_balance, or run without cfx: permuted heads invalidate the bases.',
  },
  CFX_ISOLATED_PYTHON: { exit: 96, fix: 'Start Python without -I, -S or -E: these skip the hook that attaches cfx.' },
  CFX_NO_HELLO: {
    exit: 96,
    fix: 'The command may start Python with -I or -S, drop the environment, or never call init_process_group; see "cfx doctor -- <command>".',
  },
  CFX_NOT_ATTACHED: { exit: 96, fix: 'Start every rank and node through "cfx attach" with the same version and policy.' },
  CFX_PLAN_MISMATCH: { exit: 96, fix: 'Use the same cfx version and policy on every node.' },
  CFX_PATCH_FAILED: {
    exit: 96,
    fix: 'Run "cfx doctor -- <command>"; a patched symbol of the framework is not where cfx expects it.',
  },
  CFX_PLAN_REFUSED: { exit: 96, fix: 'See the reason given by the rank.' },
  CFX_NON_FINITE: { exit: 96, fix: 'The activations held NaN or Inf; compare with "--policy off".' },
  CFX_VERIFY: { exit: 97, fix: 'Bases differ between ranks: please report this with the versions printed by "cfx doctor".' },
  CFX_CONFORMANCE: { exit: 99, fix: 'This is a defect of cfx, or of what it runs on; please report it with the text above.' },
  CFX_EVALUATION: { exit: 65, fix: 'What is complete is kept: correct the launch command or script, and repeat.' },
  CFX_SETUP: { exit: 98, fix: 'See the output above; the set-up can be repeated.' },
  CFX_CONTROL: { exit: 98, fix: 'Check that the runtime directory is writable; CFX_RUNTIME_DIR moves it.' },
  CFX_INTERNAL: { exit: 99, fix: 'This is a defect of cfx; please report it with the text above.' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** An error the user can act on: printed as one message, without a stack. */
export class CfxError extends Error {
  readonly code: ErrorCode;
  readonly fix: string;
  constructor(code: ErrorCode, message: string, options: { fix?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CfxError';
    this.code = code;
    this.fix = options.fix ?? ERRORS[code].fix;
  }
  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}
