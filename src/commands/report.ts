/** `cfx report`: the proof block of a finished run, from the file that --report wrote. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { describeMistake } from '../document.js';
import { CfxError } from '../errors.js';
import type { Registration } from '../program.js';
import { renderProof } from '../report.js';
import type { Summary } from '../summary.js';
import { mistakesOf } from '../validate.js';

async function readSummary(file: string): Promise<Summary> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new CfxError('CFX_USAGE', `${file} cannot be read as a report: ${(error as Error).message}`, {
      fix: 'Name a file that "cfx attach --report FILE" wrote.',
    });
  }
  const mistakes = mistakesOf('summary', value);
  if (mistakes.length === 0) return value as Summary;
  throw new CfxError('CFX_USAGE', `${file} is not a report of a run: ${mistakes.slice(0, 3).map(describeMistake).join('; ')}`, {
    fix: 'Name a file that "cfx attach --report FILE" of this version wrote.',
  });
}

export const reportCommand = ({ context }: Registration): Command =>
  new Command('report')
    .description('render the proof block of a finished run')
    .argument('<file>', 'the file that --report wrote')
    .action(async (file: string) => context.out(renderProof(await readSummary(resolve(context.cwd, file)))));
