/** The page of codecs on recorded activations (`cfx eval --trace`). */
import { curveFigure } from './pagecurves.js';
import { renderDocument } from './pagedocument.js';
import { type Figure, type Legend, renderFigures, renderNumbers } from './pagefigure.js';
import { counted, megabytes, percent, seconds, significant, times } from './pageformat.js';
import { frontOf } from './pagefront.js';
import { html, type Markup } from './pagemarkup.js';
import { drawScatter } from './plot.js';
import { REFERENCE_STYLE, seriesStyle } from './plotstyle.js';
import type { TraceEvaluation } from './tracing.js';

const legendOf = ({ policies }: TraceEvaluation): Legend[] =>
  policies.map(({ policy }, index) => ({ name: policy, style: seriesStyle(index) }));

function rateFigure(evaluation: TraceEvaluation): Figure {
  const legend = legendOf(evaluation);
  // a policy without error has no place on a logarithmic axis
  const drawn = evaluation.policies.filter(({ relativeError }) => relativeError > 0);
  const points = drawn.map((policy) => {
    const { name, style } = legend[evaluation.policies.indexOf(policy)] as Legend;
    const errors = policy.roles.map(({ relativeError }) => relativeError).filter((error) => error > 0);
    const [low, high] = [Math.min(...errors), Math.max(...errors)];
    return { x: policy.wireBytes / 1e6, y: policy.relativeError, low, high, label: name, style };
  });
  const front = frontOf(
    drawn,
    ({ wireBytes }) => wireBytes,
    ({ relativeError }) => -relativeError,
  );
  const names = points.map(({ label }) => label).join(', ');
  return {
    title: 'Error against bytes',
    caption:
      'Mean over sites and all steps but the first; the bar goes from the best to the worst role. Left and low is better; the dashed line joins the policies that no other one beats in both.',
    legend: [],
    draw: (width, height) =>
      drawScatter(
        {
          width,
          height,
          alt: `Relative error against megabytes on the wire to one peer, a point for each of ${names}`,
          x: { label: 'MB on the wire to one peer', log: true },
          y: { label: 'relative error', log: true, percent: true },
        },
        points,
        front.map(({ wireBytes, relativeError }) => ({ x: wireBytes / 1e6, y: relativeError })),
      ),
    table: {
      head: ['policy', 'MB on the wire', 'relative error'],
      rows: evaluation.policies.map((each) => [each.policy, megabytes(each.wireBytes), percent(each.relativeError)]),
    },
  };
}

const errorFigure = (evaluation: TraceEvaluation): Figure =>
  curveFigure({
    title: 'Error of what receivers use',
    caption: 'Relative error ‖x − y‖ / ‖x‖ of the received activations y in the closed loop, mean over the sites.',
    label: 'relative error',
    log: true,
    percent: true,
    names: legendOf(evaluation),
    curves: evaluation.policies.map(({ relativeErrorPerStep }) => relativeErrorPerStep),
  });

const changeFigure = ({ signal }: TraceEvaluation): Figure =>
  curveFigure({
    title: 'Size of the changes',
    caption: 'Norm of what changed since the step before, as a share of the norm of the activations, mean over the sites.',
    label: 'change, share of the norm',
    log: false,
    percent: true,
    names: signal.map(({ role }, index) => ({ name: role, style: index === 0 ? REFERENCE_STYLE : seriesStyle(index - 1) })),
    curves: signal.map(({ relativeChangePerStep }) => relativeChangePerStep),
  });

const policyTable = ({ policies }: TraceEvaluation): Markup => {
  const roles = policies[0]?.roles.map(({ role }) => role) ?? [];
  return renderNumbers({
    head: ['policy', 'error', ...roles, 'raw MB', 'wire MB', 'ratio', 'encode s', 'decode s'],
    rows: policies.map((each) => [
      each.policy,
      percent(each.relativeError),
      ...roles.map((role) => percent(each.roles.find((own) => own.role === role)?.relativeError ?? null)),
      megabytes(each.rawBytes),
      megabytes(each.wireBytes),
      times(each.ratio),
      seconds(each.encodeSeconds),
      seconds(each.decodeSeconds),
    ]),
  });
};

const signalTable = ({ signal }: TraceEvaluation): Markup =>
  renderNumbers({
    head: ['role', 'sites', 'change / norm', 'cosine', 'of successive changes', 'kurtosis', 'rotated'],
    rows: signal.map(({ role, sites, relativeChange, cosine, continuation, kurtosis, rotatedKurtosis }) => [
      role,
      `${sites}`,
      percent(relativeChange),
      cosine === null ? '–' : cosine.toFixed(4),
      significant(continuation),
      significant(kurtosis),
      significant(rotatedKurtosis),
    ]),
  });

/** The page of an offline evaluation: a table, and error against bytes and over the steps. */
export function renderTracePage(evaluation: TraceEvaluation): string {
  const { trace, steps, sites, version, created, policies } = evaluation;
  const facts = [counted(sites, 'site'), counted(steps, 'step'), `cfx ${version}`, created.replace(/T(\d\d:\d\d).*/, ' $1 UTC')];
  return renderDocument(
    `cfx eval --trace: ${policies.map(({ policy }) => policy).join(', ')}`,
    html`<header><h1>Codecs on recorded activations</h1>
<pre>${trace}</pre>
<ul class="facts">${facts.map((fact) => html`<li>${fact}</li>`)}</ul></header>
<main>
<section><h2>What each byte buys</h2>
${policyTable(evaluation)}
<p class="quiet">Errors are relative, in the closed loop, mean over sites and all steps but the first. Bytes are those to one peer, keyframes included; seconds those of the offline replay on one thread.</p>
${renderFigures([rateFigure(evaluation), errorFigure(evaluation)])}</section>
<section><h2>The activations</h2>
${signalTable(evaluation)}
<p class="quiet">Means over sites and steps. Kurtosis is that of what the paper’s 1-bit loop codes, 3 for a Gaussian; rotated, after a randomised Hadamard transform.</p>
${renderFigures([changeFigure(evaluation)])}</section>
</main>`,
  );
}
