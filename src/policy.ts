/**
 * A policy: which codec for which steps, layers, roles and collectives. Presets are policies with a
 * name; a policy file puts rules in front of a preset. `compilePlan` turns a policy into a plan.
 */
import type { Collective, Role } from './adapter.js';
import type { BaseDtype, CodecName, KeyframeCodec, Statistics } from './codec.js';
import { choosesStatistics, isCodec } from './codec.js';
import { locate, readDocument, refuse } from './document.js';
import { show } from './nearest.js';
import type { PresetName } from './preset.js';
import { expectedPolicy, isPolicyFile } from './preset.js';
import { parseRange, RANGE_FORMS } from './range.js';
import type { Mistake } from './validate.js';
import { mistakesOf } from './validate.js';

export type { PresetName } from './preset.js';
export { PRESETS } from './preset.js';

/**
 * A range of steps or layers, counted from 0: the number 3 is 3 alone; [0, 10] is 0 up to, not
 * including, 10; the text "0-9" is 0 to 9 with both ends, "10-" is from 10 on.
 */
export type PolicyRange = number | [number, number] | string;

export interface Rule {
  /** Denoising steps, counted from 0: 3, [from, to) or "0-9", "10-" (both ends included). Default: all. */
  steps?: PolicyRange;
  /** Attention calls inside one transformer forward, counted from 0; written like steps. Default: all. */
  layers?: PolicyRange;
  /**
   * Tensors: queries q, keys k, values v, attention output o. Default: all.
   * @minItems 1
   */
  roles?: Role[];
  /**
   * Ulysses exchanges by all_to_all, ring attention by all_gather. Default: both.
   * @minItems 1
   */
  collectives?: Collective[];
  /** The codec for what matches; "off" leaves it to the framework. */
  codec: CodecName | 'off';
  /**
   * 0 codes the tensor itself, 1 its difference to the base, 2 its difference to a prediction from the base and its
   * trend (needs feedback). Default: 1 for a lossy codec, 0 for an exact one.
   */
  residualOrder?: 0 | 1 | 2;
  /** With a base: the sender's follows what receivers decode (error feedback). Default true. */
  feedback?: boolean;
  /** What keyframes are sent in: "identity", the tensor's own type (default), or 8 ("int8"), 5 or 4 bits ("centred5", "centred4"). */
  keyframeCodec?: KeyframeCodec;
  /** What bases are kept in, see the policy's. Default: the policy's. */
  baseDtype?: BaseDtype;
  /** Where channel scales come from, see the policy's. Default: the policy's. */
  statistics?: Statistics;
}

export interface Policy {
  /** Lets an editor check this file. */
  $schema?: string;
  /** Shown in plans and reports. Default: the preset's or the file's name. */
  name?: string;
  /** Decides what no rule matches. Default "off". */
  preset?: PresetName;
  /**
   * The first this many steps of a generation are sent whole. Default 1.
   * @minimum 1
   */
  warmupSteps?: number;
  /**
   * What bases are kept in, where no rule says so, the preset's sites included: "native", the tensors' own type
   * (default), or "int8", 8 bits an element and a scale per token and 32 channels (needs feedback).
   */
  baseDtype?: BaseDtype;
  /**
   * What channel scales and the predictor's coefficients are taken from, where no rule says so and with binary, int2,
   * lm1 to lm4, tcq1 to tcq3, ternary, a base and feedback: "exact", all tokens (default); "sampled", 128 tokens; "previous", those of the step
   * before, so that a GPU encodes in one launch that reads its inputs once.
   */
  statistics?: Statistics;
  /** Read in order; the first rule that matches decides. */
  rules?: Rule[];
}

const isRange = ({ path }: Mistake) => path[0] === 'rules' && (path[2] === 'steps' || path[2] === 'layers');

/** Ranges are judged here, by one wording for all forms; the schema judges the rest. */
function mistakesIn(policy: unknown): Mistake[] {
  const { preset, rules, baseDtype: forAll } = (policy ?? {}) as { [key: string]: unknown };
  const written: unknown[] = Array.isArray(rules) ? rules : [];
  const ranges = written.flatMap((rule, index) =>
    (['steps', 'layers'] as const).flatMap((key) => {
      const range = (rule as Rule | null)?.[key];
      const wrong = range !== undefined && parseRange(range) === null;
      return wrong ? [{ path: ['rules', index, key], found: show(range), expected: RANGE_FORMS }] : [];
    }),
  );
  const open = written.flatMap((rule, index) => {
    const { codec, residualOrder, feedback, baseDtype = forAll } = (rule ?? {}) as Partial<Rule>;
    const at = (key: string, found: string, expected: string): Mistake[] => [{ path: ['rules', index, key], found, expected }];
    const { statistics } = (rule ?? {}) as Partial<Rule>;
    const chosen = statistics === 'sampled' || statistics === 'previous';
    if (chosen && isCodec(codec) && !choosesStatistics(codec, residualOrder ?? 1, feedback ?? true)) {
      const who = 'binary, int2, lm1 to lm4, tcq1 to tcq3 and ternary';
      return at('statistics', show(statistics), `"exact", for only ${who} with a base and feedback choose`);
    }
    if (codec === 'skip' && residualOrder === 0) return at('residualOrder', '0', '1 or 2, for skip leaves the base as it is');
    if (feedback !== false || residualOrder === 0) return [];
    if (residualOrder === 2) return at('feedback', 'false', 'true, for residualOrder is 2');
    // nothing would take back what rounding the receivers' bases loses at each step
    return baseDtype === 'int8' ? at('feedback', 'false', 'true, for baseDtype is int8') : [];
  });
  const mistakes = [...mistakesOf('policy', policy).filter((mistake) => !isRange(mistake)), ...ranges, ...open];
  const empty = preset === undefined && written.length === 0;
  return mistakes.length === 0 && empty
    ? [{ path: [], found: 'neither "preset" nor "rules"', expected: 'at least one of them' }]
    : mistakes;
}

/** A preset by its name, or a policy file; all mistakes in the file as one error. */
export function loadPolicy(nameOrFile: string, readFile: (file: string) => string): Policy {
  const expected = expectedPolicy(nameOrFile);
  if (expected !== null) refuse([`policy: found ${show(nameOrFile)}; expected ${expected}`]);
  if (!isPolicyFile(nameOrFile)) return { name: nameOrFile, preset: nameOrFile as PresetName };

  let text: string;
  try {
    text = readFile(nameOrFile);
  } catch (cause) {
    refuse([`policy file ${nameOrFile} cannot be read: ${(cause as Error).message}`]);
  }
  const document = readDocument(nameOrFile, text);
  const mistakes = locate(document, document.broken.length > 0 ? [] : mistakesIn(document.value));
  if (mistakes.length > 0) refuse(mistakes);
  return { name: nameOrFile.slice(nameOrFile.lastIndexOf('/') + 1), ...(document.value as Policy) };
}
