/** A JSON or YAML file a user wrote: its value, and the line of each part of it. Sole importer of yaml. */
import { isMap, isNode, isPair, LineCounter, parseDocument } from 'yaml';
import { CfxError } from './errors.js';
import type { Mistake } from './validate.js';
import { describePath } from './validate.js';

export interface Document {
  file: string;
  /** Undefined when the file could not be parsed; `broken` then says why. */
  value: unknown;
  broken: string[];
  /** The line (from 1) of what lies at `path`, or of the nearest thing around it. */
  lineOf: (path: (string | number)[]) => number;
}

/** JSON is read as YAML, of which it is a part: one parser, and line numbers for both. */
export function readDocument(file: string, text: string): Document {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const broken = document.errors.map(({ pos, message }) => `${file}:${lines.linePos(pos[0]).line}: ${message}`);

  const startOf = (path: (string | number)[]): number => {
    const parent = path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents;
    const key = path.at(-1);
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isPair(item) && String(isNode(item.key) ? item.key.toJSON() : item.key) === key);
      if (pair && isNode(pair.key) && pair.key.range) return pair.key.range[0];
    }
    const node = document.getIn(path, true);
    if (isNode(node) && node.range) return node.range[0];
    return path.length > 0 ? startOf(path.slice(0, -1)) : 0;
  };

  return {
    file,
    value: broken.length > 0 ? undefined : document.toJS({ maxAliasCount: 20 }),
    broken,
    lineOf: (path) => lines.linePos(startOf(path)).line,
  };
}

export const describeMistake = ({ path, found, expected }: Mistake): string =>
  `${path.length > 0 ? `${describePath(path)}: ` : ''}found ${found}; expected ${expected}`;

/** Every mistake with the line it is on, from the top of the file to its end. */
export const locate = ({ file, broken, lineOf }: Document, mistakes: Mistake[]): string[] => [
  ...broken,
  ...mistakes
    .map((mistake) => ({ line: lineOf(mistake.path), text: describeMistake(mistake) }))
    .sort((a, b) => a.line - b.line)
    .map(({ line, text }) => `${file}:${line}: ${text}`),
];

/** One error for all mistakes, so that they can be corrected in one go. */
export function refuse(mistakes: string[]): never {
  throw new CfxError(
    'CFX_CONFIG',
    mistakes.length === 1 ? (mistakes[0] as string) : `${mistakes.length} mistakes:\n  ${mistakes.join('\n  ')}`,
  );
}
