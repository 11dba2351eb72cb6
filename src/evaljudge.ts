/** Has a user's program read the pictures: `--judge "program … {file}"`. */
import { join } from 'node:path';
import { CfxError } from './errors.js';
import { writeWhole } from './evalfolder.js';
import type { JudgeScore } from './evaluation.js';
import { launch } from './launch.js';

/** In the judge's command: a JSON file, a list of {"prompt", "file"}; a file is a .png, or a clip as .npy (uint8 [F, H, W, 3]). */
const FILE = '{file}';
const TAIL = 10;

export interface JudgeOptions {
  /** For a shell. */
  command: string;
  cwd: string;
  env: { [name: string]: string | undefined };
  signal?: AbortSignal;
}

export function checkJudge(command: string, prompts: boolean): void {
  if (!command.includes(FILE))
    throw new CfxError('CFX_USAGE', `--judge: found no ${FILE} in ${JSON.stringify(command)}`, {
      fix: `Put ${FILE} where the judge takes its JSON file, a list of {"prompt", "file"}.`,
    });
  if (!prompts)
    throw new CfxError('CFX_USAGE', '--judge needs to know what each sample is to show', {
      fix: 'Give the prompts with --prompts FILE.',
    });
}

const text = async (stream: NodeJS.ReadableStream | null): Promise<string> => {
  let all = '';
  for await (const part of stream ?? []) all += part;
  return all;
};

const isShare = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= 1;

/** What a judge prints: {"<attribute>": accuracy, …, "mean": …, "all": …}, as the last line or as the whole output. */
export function readScore(output: string): JudgeScore | null {
  for (const candidate of [output, output.trim().split('\n').at(-1) ?? '']) {
    try {
      const { mean, all, ...attributes } = JSON.parse(candidate) as { [name: string]: unknown };
      const shares = Object.entries(attributes).filter((entry): entry is [string, number] => isShare(entry[1]));
      if (isShare(mean)) return { attributes: Object.fromEntries(shares), mean, all: isShare(all) ? all : null };
    } catch {
      // not that part
    }
  }
  return null;
}

/** The judge's score of one policy's pictures. */
export async function judge(
  folder: string,
  pictures: { prompt: string; file: string }[],
  { command, cwd, env, signal }: JudgeOptions,
): Promise<JudgeScore> {
  const file = join(folder, 'judged.json');
  writeWhole(file, `${JSON.stringify(pictures)}\n`);
  const quoted = `'${file.replaceAll("'", "'\\''")}'`;
  const running = launch(['sh', '-c', command.replaceAll(FILE, quoted)], { cwd, env, stdio: 'pipe', forwardSignals: false });
  const end = () => running.kill('SIGTERM');
  signal?.addEventListener('abort', end, { once: true });
  const [output, problems, code] = await Promise.all([text(running.stdout), text(running.stderr), running.exited]);
  signal?.removeEventListener('abort', end);
  signal?.throwIfAborted();
  const score = code === 0 ? readScore(output) : null;
  if (score) return score;
  const tail = `${output}\n${problems}`.trim().split('\n').slice(-TAIL).join('\n  ');
  throw new CfxError(
    'CFX_EVALUATION',
    code === 0
      ? `the judge printed no {"mean": …} in 0 to 1:\n  ${tail}\n`
      : `the judge ended with exit code ${code}:\n  ${tail}\n`,
    { fix: 'All samples are kept: correct --judge and repeat.' },
  );
}
