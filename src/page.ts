/**
 * An evaluation as one HTML page that needs nothing else: no network, no script, pictures and plots inline. Reads files
 * only through the function it is given.
 */
import type { Evaluation } from './evaluation.js';
import { curveFigures } from './pagecurves.js';
import { renderDocument } from './pagedocument.js';
import { renderFigures } from './pagefigure.js';
import { counted } from './pageformat.js';
import { renderHeat } from './pageheat.js';
import { html, type Markup } from './pagemarkup.js';
import { rateFigures } from './pagerate.js';
import { type ReadFile, renderSamples } from './pagesamples.js';
import { renderTable } from './pagetable.js';
import { trajectoryFigures } from './pagetrajectory.js';

export { renderRateDistortion } from './pagerate.js';
export type { ReadFile } from './pagesamples.js';

/** A word of a command as a shell would need it. */
const quoted = (word: string): string => (/^[\w@%+=:,./{}-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function renderHead({ command, versions, created, worldSize, device, steps, prompts, policies }: Evaluation): Markup {
  const facts = [
    `${counted(prompts.length, 'sample')} of ${counted(steps, 'step')}`,
    `${counted(worldSize, 'rank')}${device === 'cpu' ? ' on the CPU' : ''}`,
    ...Object.entries(versions).map(([name, version]) => `${name} ${version}`),
    created.replace(/T(\d\d:\d\d).*/, ' $1 UTC'),
  ];
  return html`<h1>What ${policies.length === 2 ? 'a policy costs' : `${policies.length - 1} policies cost`} in picture and save in bytes</h1>
<pre>${command.map(quoted).join(' ')}</pre>
<ul class="facts">${facts.map((fact) => html`<li>${fact}</li>`)}</ul>`;
}

/**
 * The page of an evaluation.
 * @param read files of the evaluation's folder (previews and difference maps, PNG) by their relative paths
 */
export function renderPage(evaluation: Evaluation, read: ReadFile): string {
  const heat = renderHeat(evaluation);
  const names = evaluation.policies.slice(1).map(({ name }) => name);
  return renderDocument(
    `cfx eval: ${names.join(', ')}`,
    html`<header>${renderHead(evaluation)}</header>
<main>
<section><h2>How much picture each byte buys</h2>
${renderTable(evaluation)}
${renderFigures(rateFigures(evaluation))}</section>
<section><h2>Samples</h2>
${renderSamples(evaluation, read)}</section>
<section><h2>Step by step</h2>
${renderFigures([...curveFigures(evaluation), ...trajectoryFigures(evaluation)])}
${heat}</section>
</main>`,
  );
}
