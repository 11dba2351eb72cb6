/** Where this package lies: the only file that reads import.meta. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Both src/ and dist/ lie directly below it. */
export const PACKAGE_ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
export const SHIM_PATH = join(PACKAGE_ROOT, 'python_shim');
export const SCHEMAS_PATH = join(PACKAGE_ROOT, 'schemas');
export const VERSION: string = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')).version;
