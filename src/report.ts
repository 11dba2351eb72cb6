/** A summary as text (the proof block) or JSON. Pure. */
import { ERRORS } from './errors.js';
import type { SiteCounters } from './protocol.js';
import type { Summary } from './summary.js';

const MAX_LINE = 400;
const MAX_LISTED = 12;
/** Of a line without its prefix. */
const WIDTH = 95;
const INDENT = ' '.repeat(11);

/** Text from a peer or a file as one harmless line: no control characters, no endless length. */
export const plainLine = (text: string): string => {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  return line.length > MAX_LINE ? `${line.slice(0, MAX_LINE - 1)}…` : line;
};

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Decimal units, three or four significant digits. */
export const humanBytes = (bytes: number): string => {
  let [value, unit] = [bytes, 0];
  for (; value >= 999.95 && unit < UNITS.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(value < 9.995 ? 2 : 1)} ${UNITS[unit]}`;
};

const exact = (count: number): string => count.toLocaleString('en-US');
const counted = (count: number, noun: string): string => `${exact(count)} ${noun}${count === 1 ? '' : 's'}`;
const ratioText = (raw: number, wire: number): string => (wire > 0 ? `${(raw / wire).toFixed(2)}×` : '–');

/** Sorted numbers as ranges: 0-3, 7. */
export const rangesText = (numbers: number[]): string => {
  const ranges: [number, number][] = [];
  for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
};

interface Row extends Omit<SiteCounters, 'site'> {
  layers: number[];
}

/** One row per role, collective and codec; more than one codec for a role says which layers each is for. */
const aggregate = (sites: SiteCounters[]): Row[] => {
  const rows = new Map<string, Row>();
  for (const { site, ...counters } of sites) {
    const key = `${counters.collective} ${counters.role} ${counters.codec}`;
    const row = rows.get(key) ?? { ...counters, calls: 0, compressed: 0, keyframes: 0, rawBytes: 0, wireBytes: 0, layers: [] };
    rows.set(key, row);
    for (const count of ['calls', 'compressed', 'keyframes', 'rawBytes', 'wireBytes'] as const) row[count] += counters[count];
    const layer = /\.(\d+)$/.exec(site)?.[1];
    if (layer !== undefined) row.layers.push(Number(layer));
  }
  const order = ({ collective, role }: Row) => `${collective} ${'qkvo'.indexOf(role)}`;
  return [...rows.values()].sort((a, b) => (order(a) < order(b) ? -1 : order(a) > order(b) ? 1 : 0));
};

/** Columns aligned; the first `left` of them to the left, numbers to the right. */
export const table = (rows: string[][], left: number): string[] => {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, i) => (i < left ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
};

const siteLines = (summary: Summary): string[] => {
  const rows = aggregate(summary.sites);
  if (rows.length === 0) return [];
  const mixed = rows.some((row) =>
    rows.some((other) => other !== row && other.role === row.role && other.collective === row.collective),
  );
  const head = [
    'role',
    'collective',
    'codec',
    ...(mixed ? ['layers'] : []),
    'calls',
    'compressed',
    'keyframes',
    'raw',
    'wire',
    'ratio',
  ];
  const body = rows.map(({ role, collective, codec, layers, calls, compressed, keyframes, rawBytes, wireBytes }) => [
    role,
    collective,
    codec,
    ...(mixed ? [shorten(rangesText(layers))] : []),
    exact(calls),
    exact(compressed),
    exact(keyframes),
    humanBytes(rawBytes),
    humanBytes(wireBytes),
    ratioText(rawBytes, wireBytes),
  ]);
  return table([head, ...body], mixed ? 4 : 3);
};

const shorten = (text: string): string => (text.length > 16 ? `${text.slice(0, 15)}…` : text);

const rankLines = ({ ranks, worldSize }: Summary): string[] => {
  if (ranks.length === 0) return ['ranks      none attached'];
  const disagreed = ranks.filter(({ agreed }) => agreed === false);
  const unsettled = ranks.filter(({ agreed }) => agreed === null);
  const missing = Array.from({ length: Math.min(worldSize, 4096) }, (_, rank) => rank).filter(
    (rank) => !ranks.some((each) => each.rank === rank),
  );
  const lost = ranks.filter(({ finished }) => !finished).map(({ rank }) => rank);
  const agreement =
    disagreed.length > 0 ? 'agreed not to compress' : unsettled.length > 0 ? 'agreement not reached' : 'all agreed';
  return [
    `ranks      ${ranks.length} of ${worldSize} attached, ${agreement}`,
    // Where all agreed, all are attached: the others report to the cfx of their own node.
    ...(missing.length > 0
      ? [
          `           ${ranks.some(({ agreed }) => agreed) ? 'on other nodes' : 'not heard of here'}: ${shorten(rangesText(missing))}`,
        ]
      : []),
    ...(lost.length > 0 ? [`           vanished without a bye: ${shorten(rangesText(lost))}`] : []),
  ];
};

/** Why a run has no compressed call, in one sentence; empty when it has. */
export const explainNothing = (summary: Summary): string => {
  const { sites, ranks, fallbacks, policy, steps } = summary;
  if (sites.some(({ compressed }) => compressed > 0)) return '';
  const [fallback] = fallbacks;
  // Ranks that agreed not to compress count as "off" too: then the policy is not the reason.
  const refused = fallback && ranks.some(({ agreed }) => agreed === false);
  const allOff = !refused && sites.length > 0 && sites.every(({ codec }) => codec === 'off');
  if (ranks.length > 0 && (policy === 'off' || allOff)) return `Nothing was compressed: the policy "${policy}" says so.`;
  if (fallback) return `Nothing was compressed, because of ${fallback.code} above.`;
  if (ranks.length === 0)
    return `Nothing was compressed: no rank ${summary.exitCode === null ? 'has attached yet' : 'attached'}.`;
  if (sites.some(({ keyframes }) => keyframes > 0))
    return 'Nothing was compressed: every step fell into the warm-up, which is sent whole.';
  if (steps === 0) return 'Nothing was compressed: no denoising step was seen.';
  return 'Nothing was compressed: no collective that cfx knows was called; one rank alone, or a parallel mode that it does not cover.';
};

const fallbackLines = ({ fallbacks }: Summary): string[] => {
  if (fallbacks.length === 0) return ['fallbacks  none'];
  const listed = fallbacks
    .slice(0, MAX_LISTED)
    .flatMap(({ code, reason, count }) => [
      `fallback   ${code}, ${count === 1 ? 'once' : `${exact(count)} times`}: ${reason}`,
      `           ${ERRORS[code].fix}`,
    ]);
  return [...listed, ...more(fallbacks.length)];
};

const more = (count: number): string[] =>
  count > MAX_LISTED ? [`           and ${exact(count - MAX_LISTED)} more, see the JSON report`] : [];

const verifyLines = ({ verify }: Summary): string[] => {
  if (!verify.enabled) return [];
  if (verify.mismatches.length > 0) {
    const listed = verify.mismatches.slice(0, MAX_LISTED).map((mismatch) => `           ${mismatch}`);
    return [
      `verify     FAILED: bases differ between ranks, ${exact(verify.mismatches.length)} of ${exact(verify.compared)} compared`,
      ...listed,
      ...more(verify.mismatches.length),
    ];
  }
  if (verify.compared === 0) return ['verify     nothing to compare: no two ranks sent digests of the same base'];
  return [
    `verify     bases identical: ${counted(verify.compared, 'digest')} compared over ${counted(verify.generations, 'generation')}`,
  ];
};

const noteLines = ({ notes }: Summary): string[] => [
  ...notes.slice(0, MAX_LISTED).map((note) => `note       ${note}`),
  ...more(notes.length),
];

/** Folds at blanks, so that the block stays readable at 100 columns; drops control characters. */
const wrap = (text: string): string[] => {
  const lines: string[] = [];
  let rest = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, MAX_LINE);
  while (rest.length > WIDTH) {
    const blank = rest.lastIndexOf(' ', WIDTH);
    const cut = blank > INDENT.length ? blank : WIDTH;
    lines.push(rest.slice(0, cut).trimEnd());
    rest = INDENT + rest.slice(cut).trimStart();
  }
  return [...lines, rest.trimEnd()];
};

/** The block printed at a launch's end. Every line starts with "cfx: "; the length does not grow with layers or ranks. */
export function renderProof(summary: Summary): string {
  const { planId, policy, epoch, exitCode, generations, steps, totals, baseMemoryBytes, refusedFrames, droppedFrames } = summary;
  const nothing = explainNothing(summary);
  const { rawBytes, wireBytes } = totals;
  const lines = [
    `policy     ${policy}, plan ${planId}${epoch > 0 ? `, epoch ${epoch}` : ''}${exitCode === null ? '' : `, exit code ${exitCode}`}`,
    ...rankLines(summary),
    `ran        ${counted(generations, 'generation')}, ${counted(steps, 'step')}`,
    ...siteLines(summary),
    ...(rawBytes > 0
      ? [
          `sent       ${humanBytes(rawBytes)} raw, ${humanBytes(wireBytes)} on the wire over all ranks, ratio ${ratioText(rawBytes, wireBytes)}`,
          `           ${exact(rawBytes)} and ${exact(wireBytes)} bytes, counted at the collective, warm-up included`,
        ]
      : []),
    ...(baseMemoryBytes > 0 ? [`bases      ${humanBytes(baseMemoryBytes)} of memory on the fullest rank`] : []),
    ...verifyLines(summary),
    ...fallbackLines(summary),
    ...noteLines(summary),
    ...(refusedFrames + droppedFrames > 0
      ? [`telemetry  ${counted(refusedFrames, 'frame')} refused, ${exact(droppedFrames)} dropped`]
      : []),
    ...(nothing ? [nothing] : []),
  ];
  return lines
    .flatMap(wrap)
    .map((line) => `cfx: ${line}\n`)
    .join('');
}

/** Schema: schemas/summary.schema.json. */
export const renderJson = (summary: Summary): string => `${JSON.stringify(summary, null, 2)}\n`;
