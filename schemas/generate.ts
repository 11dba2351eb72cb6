/** `npm run generate` writes the generated files; with `--check` it only says which are out of date. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { argv, cwd } from 'node:process';
import { renderAll } from './contract.js';

const check = argv.includes('--check');
const stale = Object.entries(renderAll(cwd())).filter(([path, text]) => {
  const file = join(cwd(), path);
  return !existsSync(file) || readFileSync(file, 'utf8') !== text;
});
for (const [path, text] of stale) {
  if (!check) writeFileSync(join(cwd(), path), text);
  console.log(`${check ? 'out of date' : 'written'}: ${path}`);
}
if (check && stale.length > 0) {
  console.error('Run "npm run generate" and commit the result.');
  process.exitCode = 1;
}
