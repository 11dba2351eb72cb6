/** The page of an evaluation, read back as a document. How it looks: test/bench/page_screenshots.mjs. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseHTML } from 'linkedom';
import type { Evaluation } from '../src/evaluation.js';
import { PACKAGE_ROOT } from '../src/package.js';
import { renderPage, renderRateDistortion } from '../src/page.js';
import { bestPolicies } from '../src/pagerate.js';
import { chooseSamples, renderSamples } from '../src/pagesamples.js';
import { CLIP, makeEvaluation, PICTURE, SHAPE } from './fixtures/evaluation.js';

const read = (path: string) => (path.includes('preview') || path.includes('difference') ? PICTURE : null);
const open = (evaluation: Evaluation, files = read) => parseHTML(renderPage(evaluation, files)).document;
const textOf = (element: Element | null) => (element?.textContent ?? '').replace(/\s+/g, ' ').trim();
const all = (root: ParentNode, selector: string): Element[] => [...root.querySelectorAll(selector)];

const evaluation = makeEvaluation();
const html = renderPage(evaluation, read);
const { document } = parseHTML(html);
const names = ['uncompressed', ...SHAPE.policies.map(({ name }) => name)];

test('The page needs nothing but itself: no network, no script', () => {
  expect(all(document, 'script, link, iframe, object, embed, base')).toEqual([]);
  const addresses = all(document, '[src], [href], [action]').map((each) => each.getAttribute('src') ?? each.getAttribute('href'));
  expect(addresses.length).toBeGreaterThan(20);
  expect(addresses.filter((address) => !address?.startsWith('data:image/png;base64,'))).toEqual([]);
  expect([...html.matchAll(/url\((?!data:image\/png;base64,)/g)]).toEqual([]);
  expect(html).toContain("default-src 'none'");
});

test('Text from users is shown, never markup', () => {
  expect(html).not.toMatch(/<script|<b>'|it's/);
  expect(textOf(document.querySelector('.sample summary'))).toBe(`“<script>alert("0")</script> & 'more'”, seed 0`);
  expect(textOf(document.querySelector('pre'))).toContain(`'--title=it'\\''s <b>'`);
  const named = open(makeEvaluation({ policies: [{ name: 'my "<i>policy</i>".yaml', megabytes: 10, psnr: 30, error: 0.1 }] }));
  expect(all(named, 'i')).toEqual([]);
  expect(all(named, 'tbody th').map(textOf)).toContain('my "<i>policy</i>".yaml');
  expect(named.querySelector('.plot')?.getAttribute('aria-label')).toContain('my "<i>policy</i>".yaml');
});

test('The table has a row per policy and a column per measure that has values', () => {
  const table = document.querySelector('main table') as Element;
  expect(all(table, 'tbody th').map(textOf)).toEqual(names);
  expect(all(table, 'thead th').map(textOf)).toEqual(
    'policy|PSNRdB|SSIM|judgeright|rawMB|wireMB|ratioraw : wire|times'.split('|'),
  );
  const row = all(table, 'tbody tr').find((each) => textOf(each).startsWith('paper-2bit')) as Element;
  expect(all(row, 'td').map(textOf)).toEqual([
    '41.040.0 to 42.0',
    '0.82000.8000 to 0.8400',
    '96 %all: 89 %',
    '300',
    '30.4',
    '9.87×',
    '5.25',
  ]);
  expect(all(row, 'b').map(textOf)).toEqual(['41.0', '0.8200']);
});

test('What is missing is named with its reason, and that a picture is no clip is not', () => {
  const text = textOf(document.querySelector('main'));
  expect(text).toContain('Without LPIPS: no weights were given.');
  expect(text).toContain('Without MS-SSIM: pictures of 128×128 are too small.');
  expect(text).not.toContain('not clips');
  expect(text).toContain('identity: 3 samples of 3 equal the uncompressed run in every pixel');
});

test('Everything has a name for who does not see it', () => {
  expect(all(document, 'th:not([scope])')).toEqual([]);
  expect(all(document, 'img').filter((each) => !each.getAttribute('alt'))).toEqual([]);
  const plots = all(document, 'svg.plot');
  expect(plots.filter((each) => each.getAttribute('role') !== 'img' || !each.getAttribute('aria-label'))).toEqual([]);
  expect(document.querySelector('.difference img')?.getAttribute('alt')).toBe(
    `Difference of the picture from the uncompressed one, times 8, identity: “<script>alert("0")</script> & 'more'”, seed 0; equal in every pixel`,
  );
  expect(document.documentElement.getAttribute('lang')).toBe('en');
});

test('Each plot is there in two widths, with its numbers', () => {
  const figures = all(document, '.figures figure');
  expect(figures.map((each) => textOf(each.querySelector('h3')))).toEqual([
    'PSNR of the picture against bytes',
    'Error of what receivers use',
    'Distance from the uncompressed run',
    'Similarity of adjacent steps',
    'Size of the changes',
    'Path of the activations',
    'Away from the uncompressed path',
  ]);
  for (const figure of figures) {
    expect(all(figure, 'svg.plot').map((each) => each.getAttribute('width'))).toEqual(['620', '340']);
    expect(all(figure, 'details tbody tr').length).toBeGreaterThan(4);
    // coordinates that could not be computed
    expect(figure.innerHTML).not.toMatch(/NaN|undefined|Infinity/);
  }
});

test('A curve leaves out the steps that were sent exactly, and the runs without any error', () => {
  const figure = all(document, '.figures figure')[1] as Element;
  expect(all(figure, '.legend li').map(textOf)).toEqual(['naive-1bit', 'paper-1bit', 'paper-2bit', 'int8']);
  const lines = all(figure.querySelector('.wide') as Element, 'g[aria-label=line] path').map(
    (each) => each.getAttribute('d') ?? '',
  );
  expect(lines.length).toBe(4);
  // M x,y and an L for each further step; step 0 has no error and no point
  expect(lines.map((line) => line.match(/[ML]/g)?.length)).toEqual([5, 5, 5, 5]);
  const [head, first, second] = all(figure, 'table tr').map((row) => all(row, 'th, td').map(textOf));
  expect(head).toEqual(['step', 'naive-1bit', 'paper-1bit', 'paper-2bit', 'int8']);
  expect(first).toEqual(['0', '0 %', '0 %', '0 %', '0 %']);
  expect(second).toEqual(['1', '51 %', '7.7 %', '3.9 %', '1.1 %']);
});

test('The error per layer and role is a table whose colours grow with the values', () => {
  const heat = document.querySelector('.heat') as Element;
  expect(all(heat, '[scope=colgroup]').map(textOf)).toEqual(['naive-1bit', 'paper-1bit', 'paper-2bit', 'int8']);
  expect(all(heat, 'thead tr:last-child th').map(textOf)).toEqual([...'qkvo'.repeat(4)]);
  const cells = all(heat, 'td').map((each) => [
    Number(textOf(each)),
    Number(/--share:(\d+)/.exec(each.getAttribute('style') ?? '')?.[1]),
  ]);
  const sorted = [...cells].sort(([a = 0], [b = 0]) => a - b).map(([, share]) => share);
  expect(sorted).toEqual([...sorted].sort((a = 0, b = 0) => a - b));
  expect([sorted[0], sorted.at(-1)]).toEqual([0, 55]);
});

test('Pictures stand side by side, and give way to the uncompressed one', () => {
  const samples = all(document, '.sample');
  expect(samples.length).toBe(3);
  expect(samples.map((each) => each.hasAttribute('open'))).toEqual([true, false, false]);
  const first = samples[0] as Element;
  expect(all(first, 'figcaption b').map(textOf)).toEqual(names);
  expect(all(first, 'figcaption span').map(textOf)).toEqual([
    '',
    'equal in every pixel',
    '19.0 dB, SSIM 0.3800',
    '37.0 dB, SSIM 0.7400',
    '42.0 dB, SSIM 0.8400',
    '40.0 dB, SSIM 0.8000',
  ]);
  expect(all(first, '.difference').length).toBe(5);
  expect(all(first, '.view.flip[tabindex="0"]').length).toBe(5);
  expect(first.querySelector('.pictures')?.getAttribute('style')).toContain(
    `--reference:url(data:image/png;base64,${PICTURE.toString('base64')})`,
  );
});

test('A clip plays its frames, in the proportions of one', () => {
  const clips = open(makeEvaluation({ clips: true }), () => CLIP);
  const proportions = all(clips, '.view').map((each) => each.getAttribute('style'));
  expect(new Set(proportions)).toEqual(new Set(['--aspect:64/64']));
  expect(all(clips, '.difference .view').length).toBeGreaterThan(0);
  expect(clips.querySelector('.pictures.clips')?.getAttribute('style')).toContain('--frames:9;');
  expect(clips.querySelector('.view')?.getAttribute('class')).toBe('view clip');
  expect(clips.querySelector('img')?.getAttribute('alt')).toContain('clip, 9 of 17 frames, uncompressed');
  expect(all(clips, '#still').length).toBe(1);
  expect(all(clips, 'main table')[0]?.textContent).toContain('worst frame');
});

test('A picture that is not there, or is no PNG, is named', () => {
  const missing = open(evaluation, (path) =>
    path.startsWith('int8/') ? Buffer.from('not a picture, but long enough for one') : null,
  );
  expect(all(missing, 'img')).toEqual([]);
  expect(textOf(missing.querySelector('.sample'))).toContain('int8/sample-0000/preview-0.png is not there, or no PNG.');
});

test('Of many samples, the worst of each policy are shown first', () => {
  const many = makeEvaluation({ samples: 9 });
  const size = PICTURE.length * (2 + 5 * 2);
  expect(chooseSamples(many, read, 20 * size)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(chooseSamples(many, read, 2.5 * size)).toEqual([0, 8]);
  expect(chooseSamples(many, read, 0)).toEqual([8]);
  const shown = renderSamples(many, read, 2.5 * size).text;
  expect(shown).toContain(
    'Shown are 2 of 9 samples, the worst one of every policy among them; all of them lie in off/, identity/,',
  );
  expect(renderSamples(many, read).text).not.toContain('Shown are');
});

test('An evaluation without measures and pictures is a page all the same', () => {
  const bare = makeEvaluation({ measured: false, policies: [{ name: 'identity', megabytes: 300, psnr: null, error: 0 }] });
  for (const policy of bare.policies) for (const sample of policy.samples) sample.outputs = [];
  const page = open(bare);
  expect(all(page, 'svg.plot, .heat, img')).toEqual([]);
  expect(all(page, 'main table tbody tr').length).toBe(2);
});

test('The front holds the policies that no other one beats', () => {
  const fronts = (policies: typeof SHAPE.policies, lower = false) =>
    bestPolicies(makeEvaluation({ policies }).policies.slice(1), 'psnr', lower).map(({ name }) => name);
  expect(fronts(SHAPE.policies)).toEqual(['naive-1bit', 'paper-1bit', 'paper-2bit']);
  expect(fronts([...SHAPE.policies].reverse())).toEqual(['naive-1bit', 'paper-1bit', 'paper-2bit']);
  expect(fronts(SHAPE.policies, true)).toEqual(['naive-1bit']);
  const equal = { megabytes: 20, psnr: 30, error: 0.1 };
  expect(
    fronts([
      { name: 'a', ...equal },
      { name: 'b', ...equal },
    ]),
  ).toEqual(['a', 'b']);
});

test('The rate-distortion curve is a file of its own, with a named point per policy that has a PSNR', () => {
  const svg = renderRateDistortion(evaluation) as string;
  const plot = parseHTML(svg).document.querySelector('svg') as Element;
  expect(plot.getAttribute('xmlns')).toBe('http://www.w3.org/2000/svg');
  expect(all(plot, 'style').length).toBe(1);
  expect(svg).toContain('prefers-color-scheme:dark');
  const labels = all(plot, 'text').map(textOf);
  for (const name of names.slice(2)) expect(labels.filter((label) => label === name)).toEqual([name]);
  expect(labels).not.toContain('identity');
  expect(
    renderRateDistortion(makeEvaluation({ policies: [{ name: 'identity', megabytes: 300, psnr: null, error: 0 }] })),
  ).toBeNull();
});

test('As built, with the libraries as ES modules, the same is drawn', () => {
  const page = pathToFileURL(join(PACKAGE_ROOT, 'dist', 'page.js')).href;
  const program = `
    const { renderRateDistortion } = await import(${JSON.stringify(page)});
    let text = '';
    for await (const chunk of process.stdin) text += chunk;
    process.stdout.write(renderRateDistortion(JSON.parse(text)));`;
  const input = JSON.stringify(evaluation);
  const svg = execFileSync(process.execPath, ['--input-type=module', '-e', program], { input, encoding: 'utf8' });
  // the library shifts its groups by half a pixel where it finds itself in a test
  const unshifted = (text: string) => text.replace(/<g transform="[^"]*"/g, '<g');
  expect(unshifted(svg)).toBe(unshifted(renderRateDistortion(evaluation) as string));
});
