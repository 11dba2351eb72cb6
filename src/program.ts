/** argv to a command and its exit code. Our options stand before `--`; what follows it is the launch, untouched. */
import { Command, CommanderError } from 'commander';
import { attachCommand } from './commands/attach.js';
import { benchCommand } from './commands/bench.js';
import { demoCommand } from './commands/demo.js';
import { doctorCommand } from './commands/doctor.js';
import { evalCommand } from './commands/eval.js';
import { planCommand } from './commands/plan.js';
import { recordCommand } from './commands/record.js';
import { reportCommand } from './commands/report.js';
import { setupCommand } from './commands/setup.js';
import { shimCommand } from './commands/shim.js';
import { type Context, logTo } from './context.js';
import { CfxError, ERRORS } from './errors.js';
import { VERSION } from './package.js';

/** A command's work; what it returns is the exit code. */
export type Run<Options> = (options: Options) => Promise<number>;

export interface Registration {
  context: Context;
  /** Wraps a command's work for commander, which has no place for a result. */
  exitWith: <Options>(run: Run<Options>) => (options: Options) => Promise<void>;
}

export function createProgram(context: Context, onExit: (code: number) => void): Command {
  const registration: Registration = {
    context,
    exitWith: (run) => async (options) => onExit(await run(options)),
  };
  const program = new Command('cfx')
    .description(
      'Compressed communication for parallel diffusion serving with xDiT.\nOptions of cfx stand before "--"; the launch command stands after it and is not changed.',
    )
    .version(VERSION, '-V, --version', 'print the version')
    .helpCommand(false)
    .addHelpText(
      'after',
      '\nExample:\n  cfx attach --policy paper-2bit -- torchrun --nproc-per-node 4 pipeline.py --ulysses_degree 4',
    );
  for (const register of [
    attachCommand,
    planCommand,
    doctorCommand,
    shimCommand,
    setupCommand,
    recordCommand,
    evalCommand,
    reportCommand,
    demoCommand,
    benchCommand,
  ]) {
    program.addCommand(register(registration));
  }
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    command.exitOverride().configureOutput({ writeOut: context.out, writeErr: () => undefined, outputError: () => undefined });
  }
  return program;
}

export async function runProgram(argv: string[], io: Omit<Context, 'launch'>): Promise<number> {
  const at = argv.indexOf('--');
  const context: Context = { ...io, launch: at < 0 ? null : argv.slice(at + 1) };
  let code = 0;
  try {
    const own = at < 0 ? argv : argv.slice(0, at);
    const program = createProgram(context, (value) => (code = value));
    if (own.length === 0) {
      context.err(program.helpInformation());
      return ERRORS.CFX_USAGE.exit;
    }
    await program.parseAsync(own, { from: 'user' });
    return code;
  } catch (error) {
    return reportError(error, context);
  }
}

/** Prints what went wrong and gives the exit code for it. */
export function reportError(error: unknown, context: Context): number {
  const log = logTo(context);
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    const message = error.message.replace(/^error: /, '').replace(/\n+/g, ' ');
    log(`CFX_USAGE: ${message}. ${ERRORS.CFX_USAGE.fix}`);
    return ERRORS.CFX_USAGE.exit;
  }
  if (error instanceof CfxError && error.code !== 'CFX_INTERNAL') {
    // a message that ends with lines of output has its fix on a line of its own
    const between = error.message.endsWith('\n') ? '' : /[.!?]$/.test(error.message) ? ' ' : '. ';
    log(`${error.code}: ${error.message}${between}${error.fix}`);
    return error.exitCode;
  }
  const stack = error instanceof Error ? error.stack : String(error);
  log(
    `CFX_INTERNAL: ${stack}\nversions: cfx ${VERSION}, node ${process.version}, ${process.platform} ${process.arch}\n${ERRORS.CFX_INTERNAL.fix}`,
  );
  return ERRORS.CFX_INTERNAL.exit;
}
