/** Pure: a benchmark of codecs as tables for a terminal, with what each figure is of. */
import type { CodecBenchmark, CodecRow } from './benchmark.js';
import type { CodecName } from './codec.js';
import { humanBytes, table } from './report.js';

const NONE = '–';
const PATHS = { triton: 'Triton', compiled: 'compiled', torch: 'plain torch' } as const;

/** Three digits or so, without an exponent. */
const figure = (value: number): string => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
const orNone = (value: number | null, text: (value: number) => string): string => (value === null ? NONE : text(value));
const fraction = (value: number): string => value.toFixed(4).replace(/^0/, '');
const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;

const label = ({ codec, statistics }: Pick<CodecRow, 'codec' | 'statistics'>): string =>
  statistics === 'exact' ? codec : `${codec}, ${statistics}`;

const encodeRatio = (row: CodecRow) => row.encodeMicroseconds / row.copyMicroseconds;
const decodeRatio = (row: CodecRow) => row.decodeMicroseconds / row.copyMicroseconds;

export function renderBenchmark(benchmark: CodecBenchmark): string {
  return `${[
    ...heading(benchmark),
    '',
    ...errors(benchmark),
    '',
    ...times(benchmark),
    '',
    ...modelled(benchmark),
    '',
    ...aims(benchmark),
  ].join('\n')}\n`;
}

function heading({ shape, machine, versions, compiledKernels, device, codecs }: CodecBenchmark): string[] {
  const { tokens, channels, dtype, peers } = shape;
  const cache =
    machine.lastLevelCacheBytes === null ? '' : `, last-level cache ${Math.round(machine.lastLevelCacheBytes / 2 ** 20)} MiB`;
  const where =
    device === 'cuda'
      ? `${machine.gpu}${machine.driver ? ` (driver: ${machine.driver})` : ''}`
      : `${machine.cpu}, ${machine.cores} cores${cache}`;
  const kernels = device === 'cuda' ? [] : [compiledKernels ? 'compiled CPU kernels' : 'no compiled CPU kernels: plain torch'];
  return [
    `${tokens} × ${channels} ${dtype}, ${peers} ${peers === 1 ? 'peer' : 'peers'}; ${codecs.length} codecs, all correct: bytes, bits, states, and the paper's formulas`,
    `on ${where}`,
    [...Object.entries(versions).map(([name, version]) => `${name} ${version}`), ...kernels].join(', '),
  ];
}

function errors({ codecs, trace }: CodecBenchmark): string[] {
  const signals = codecs[0]?.errors.map(({ signal }) => signal) ?? [];
  const blocks = trace === null ? 'of 264 × 256' : 'of the trace';
  const rows = codecs.map((row) => [
    label(row),
    String(row.residualOrder),
    row.payloadBytes.toLocaleString('en-US'),
    figure(row.bitsPerElement),
    figure(row.ratio),
    row.paper ?? NONE,
    orNone(row.errors[0]?.bitsPerElement ?? null, figure),
    ...row.errors.flatMap(({ relativeError, overPaper }) => [
      fraction(relativeError),
      orNone(overPaper, (value) => value.toFixed(3)),
    ]),
  ]);
  const head = [
    'codec',
    'order',
    'payload',
    'bits',
    'ratio',
    "paper's",
    'bits there',
    ...signals.flatMap((name) => [name, '× paper']),
  ];
  return [
    'Payload of one block, bits an element and its ratio to the block; relative error in the closed loop, and over the',
    "error of the paper's codec of this class in a loop written from its formulas alone",
    ...table([head, ...rows], 1),
    `Errors are means over sites and steps but the first, on blocks ${blocks}, where a rank costs other bits ("bits there").`,
    ...(trace === null
      ? [
          'The signals: 2 blocks over 16 steps in float16; each step changes 7 % of the norm, changes correlate by .7 from step',
          "to step and differ in size by token (e^.4z) and channel (e^.5z); Gaussian, or Student's t with 3 degrees of freedom.",
        ]
      : [`The signal: the recorded trace ${trace}.`]),
  ];
}

function times(benchmark: CodecBenchmark): string[] {
  const { codecs, device, demoStepMilliseconds, demoStepsMeasured, largeMebibytes, threads, repeats, inputSets } = benchmark;
  const optional: [there: boolean, head: string, cell: (row: CodecRow) => string][] = [
    [demoStepMilliseconds !== null, 'demo step', (row) => orNone(row.shareOfDemoStep, percent)],
    [largeMebibytes !== null, `${largeMebibytes} MiB ×`, (row) => orNone(row.largeOverCopy, figure)],
  ];
  const columns = optional.filter(([there]) => there);
  const rows = codecs.map((row) => [
    label(row),
    PATHS[row.path] + (row.graph ? ', graph' : device === 'cuda' ? ', eager' : ''),
    figure(row.copyMicroseconds),
    figure(row.encodeMicroseconds),
    figure(encodeRatio(row)),
    figure(row.decodeMicroseconds),
    figure(decodeRatio(row)),
    ...columns.map(([, , cell]) => cell(row)),
  ]);
  const head = ['codec', 'by', 'copy µs', 'encode µs', '× copy', 'decode µs', '× copy', ...columns.map(([, name]) => name)];
  const how =
    device === 'cuda'
      ? `GPU time between events, ${inputSets} input sets in turn, more than the cache holds; codecs without kernels run eagerly`
      : "one thread's CPU time";
  return [
    `Measured: medians of ${repeats} interleaved rounds at most, ${how}; decode is of one peer's block`,
    ...table([head, ...rows], 2),
    ...codecs.flatMap((row) =>
      row.keepMicroseconds === null
        ? []
        : [`${label(row)}: and ${figure(row.keepMicroseconds)} µs behind the send, for the next step's statistics.`],
    ),
    ...(demoStepMilliseconds === null
      ? []
      : [
          `"demo step" is all that a rank codes in one step of the demo, over a step of ${figure(demoStepMilliseconds)} ms uncompressed: ${
            demoStepsMeasured > 0 ? 'the' : 'given,'
          }`,
          demoStepsMeasured > 0 ? `median of ${demoStepsMeasured}, measured before and after the codecs.` : 'not measured here.',
        ]),
    ...(largeMebibytes === null
      ? []
      : [
          `"${largeMebibytes} MiB ×" is encode + decode of a tensor of that size over copying it once, wall time, ${threads} ${threads === 1 ? 'thread' : 'threads'}; only of`,
          'codecs with kernels.',
        ]),
  ];
}

function modelled({ codecs, model, shape, device }: CodecBenchmark): string[] {
  const { gigabytesPerSecond, launchMicroseconds, copyMicroseconds } = model;
  const rows = codecs.map(({ modelled: time, ...row }) => [
    label(row),
    ...(time === null
      ? Array<string>(8).fill(NONE)
      : [
          humanBytes(time.encodeBytes),
          String(time.encodeLaunches),
          figure(time.encodeMicroseconds),
          figure(time.encodeMicroseconds / copyMicroseconds),
          humanBytes(time.decodeBytes),
          `${time.decodeLaunches}/${shape.peers}`,
          figure(time.decodeMicroseconds),
          figure(time.decodeMicroseconds / copyMicroseconds),
        ]),
  ]);
  const head = ['codec', 'encode', 'launches', 'µs', '× copy', 'decode', 'launches', 'µs', '× copy'];
  return [
    `Modelled, not measured: a GPU of ${gigabytesPerSecond} GB/s and ${launchMicroseconds} µs a launch, where a copy takes ${figure(copyMicroseconds)} µs; bytes are those`,
    'that the kernels move (counted in their emitted code by a test) and the payload, over bandwidth, and launches',
    ...(device === 'cuda' ? [] : ['(no GPU was used in this run: none of these figures is confirmed by a measurement here)']),
    ...table([head, ...rows], 1),
    "Decode is of one peer's block; one launch serves all peers. Encode's first launch takes statistics, for which it reads",
    "tensor and state once more (twice where channels' means go off first, or binary and int2 are sent with a prediction); a",
    'cache that holds both would spare it that.',
    ...(codecs.some(({ statistics }) => statistics === 'sampled')
      ? ['Statistics that are "sampled" read 128 tokens of a block.']
      : []),
    ...(codecs.some(({ statistics }) => statistics === 'previous')
      ? [
          'Those of the "previous" step need no launch before; one behind the send, which nothing waits for and which is not counted',
          'here, takes those of the next step. With tcq1 … tcq3 one finds scales of tokens before paths.',
        ]
      : []),
    ...codecs.flatMap(({ codec, modelled: time }) =>
      time && time.encodeBarriers > 0
        ? [`${codec}: among its launches' programs there are ${time.encodeBarriers} barriers, each counted as long as a launch.`]
        : [],
    ),
    ...(codecs.some((row) => row.modelled === null)
      ? [`${NONE}: no kernels; on a GPU these codecs are plain torch, of which no traffic is known.`]
      : []),
  ];
}

interface Aim {
  what: string;
  most: number;
  codecs: CodecName[];
  of: (row: CodecRow) => number | null;
}

/** The paper's codecs of 1 and 2 bits, which keep a base alone, and ours of as many. */
const PAPERS: CodecName[] = ['binary', 'int2'];
const OF_1_AND_2_BITS: CodecName[] = [...PAPERS, 'lm1', 'lm2', 'tcq1', 'tcq2'];

const AIMS: { [D in CodecBenchmark['device']]: Aim[] } = {
  cpu: [
    {
      what: 'encode + decode of a tensor beyond the caches, in copies of it',
      most: 6,
      codecs: OF_1_AND_2_BITS,
      of: (row) => row.largeOverCopy,
    },
    {
      what: "share of the demo's step, in %",
      most: 1,
      codecs: OF_1_AND_2_BITS,
      of: ({ shareOfDemoStep }) => shareOfDemoStep && 100 * shareOfDemoStep,
    },
  ],
  cuda: [
    {
      what: 'encode in a CUDA graph, in copies',
      most: 1.7,
      codecs: PAPERS,
      of: (row) => (row.graph ? encodeRatio(row) : null),
    },
    {
      what: "decode of one peer's block in a CUDA graph, in copies",
      most: 1.2,
      codecs: PAPERS,
      of: (row) => (row.graph ? decodeRatio(row) : null),
    },
  ],
};

/** Each aim that this run has figures for, and who meets it. */
function aims({ device, codecs }: CodecBenchmark): string[] {
  const lines = AIMS[device].flatMap(({ what, most, codecs: aimed, of }) => {
    const found = codecs.flatMap((row) => {
      const value = aimed.includes(row.codec) ? of(row) : null;
      return value === null ? [] : [{ text: `${row.codec} ${figure(value)}`, met: value <= most }];
    });
    const verdicts = [true, false].flatMap((wanted) => {
      const those = found.filter(({ met }) => met === wanted).map(({ text }) => text);
      return those.length > 0 ? [`${wanted ? 'met' : 'not met'} by ${those.join(', ')}`] : [];
    });
    return verdicts.length > 0 ? [`aim ≤ ${most}: ${what}: ${verdicts.join('; ')}`] : [];
  });
  return lines.length > 0
    ? lines
    : ['no aim applies: they are for codecs of 1 and 2 bits, on the demo’s shape, a large tensor or a GPU'];
}
