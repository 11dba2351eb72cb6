/** The public interface of the package. */
export type { AttachEvents, AttachOptions } from './attach.js';
export { attach } from './attach.js';
export type { CodecName } from './codec.js';
export type { Config, RawConfig } from './config.js';
export { defineConfig } from './config.js';
export type { ErrorCode } from './errors.js';
export { CfxError, ERRORS } from './errors.js';
export type { AttachHandle } from './handle.js';
export type { Cell, Plan } from './plan.js';
export { compilePlan } from './plan.js';
export type { Policy, PolicyRange, PresetName, Rule } from './policy.js';
export { loadPolicy } from './policy.js';
export type { Json, OpenPythonOptions, PythonSession } from './python.js';
export { openPython } from './python.js';
export type { RankSummary, Summary } from './summary.js';
