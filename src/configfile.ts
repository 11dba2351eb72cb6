/** Where configuration files lie, and reading them. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Document } from './document.js';
import { readDocument, refuse } from './document.js';

const ENDINGS = ['json', 'yaml', 'yml'];

interface Search {
  /** A file the user named, instead of the search upward from `cwd`. */
  named: string | undefined;
  env: { readonly [name: string]: string | undefined };
  cwd: string;
  home: string;
}

const firstIn = (folder: string, stem: string): string | undefined =>
  ENDINGS.map((ending) => join(folder, `${stem}.${ending}`)).find((file) => existsSync(file));

function searchUpward(folder: string): string | undefined {
  const found = firstIn(folder, 'cfx.config');
  const parent = dirname(folder);
  return found ?? (parent === folder ? undefined : searchUpward(parent));
}

/**
 * A configuration can name the interpreter to run, so a file that was found and not named must be the
 * user's own: else whoever can write to a folder above decides.
 */
function assertOwn(file: string): string {
  const { uid } = statSync(file);
  if (uid !== 0 && process.getuid && uid !== process.getuid()) {
    refuse([`${file} belongs to another user; expected a file of your own. Name it with --config to use it all the same`]);
  }
  return file;
}

/** The file of this project, then the user's own, as far as they exist. */
export function findConfigFiles({ named, env, cwd, home }: Search): string[] {
  const found = searchUpward(resolve(cwd));
  const project = named ? resolve(cwd, named) : found && assertOwn(found);
  const user = firstIn(join(env.XDG_CONFIG_HOME || join(home, '.config'), 'cfx'), 'config');
  return [project, user].filter((file) => file !== undefined);
}

export function readConfigFile(file: string): Document {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    refuse([`configuration file ${file} cannot be read: ${(cause as Error).message}`]);
  }
  return readDocument(file, text);
}
