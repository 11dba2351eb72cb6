#!/usr/bin/env node
/** The `cfx` command: the only reader of process.argv and process.env, and the setter of the exit code. */
import { homedir } from 'node:os';
import { runProgram } from './program.js';

process.exitCode = await runProgram(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  home: homedir(),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
