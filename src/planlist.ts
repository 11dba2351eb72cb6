/** Pure: a plan as text, one line a cell. */
import { COLLECTIVES, ROLES } from './adapter.js';
import type { Cell, Plan, Range } from './plan.js';

const describeRange = (name: string, [from, to]: Range) => {
  if (to === null) return from === 0 ? `all ${name}s` : `${name}s ${from} on`;
  return to === from + 1 ? `${name} ${from}` : `${name}s ${from}-${to - 1}`;
};

function describeCell({
  steps,
  layers,
  roles,
  collectives,
  codec,
  residualOrder,
  feedback,
  keyframeCodec,
  baseDtype,
  statistics,
}: Cell): string {
  const where = [
    describeRange('step', steps),
    describeRange('layer', layers),
    roles.length === ROLES.length ? 'q k v o' : roles.join(' '),
    collectives.length === COLLECTIVES.length ? 'all collectives' : collectives.join(' '),
  ];
  const how =
    codec === 'off'
      ? 'off (left to the framework)'
      : residualOrder === 0
        ? `${codec} of the tensor`
        : `${codec} of the ${residualOrder === 2 ? 'predicted ' : ''}residual${feedback ? '' : ' without feedback'}`;
  const keyframes = keyframeCodec === 'identity' ? '' : `, keyframes in ${keyframeCodec}`;
  const bases = baseDtype === 'native' ? '' : `, bases in ${baseDtype}`;
  const scales = { exact: '', sampled: ', statistics of a sample', previous: ', statistics of the step before' }[statistics];
  return `${where.join(', ')}: ${how}${keyframes}${bases}${scales}`;
}

export const describePlan = (plan: Plan): string[] => [
  `${plan.planId} from policy ${plan.policy}; warm-up: ${plan.warmupSteps} ${plan.warmupSteps === 1 ? 'step' : 'steps'} sent whole`,
  ...plan.cells.map((cell, index) => `${index}. ${describeCell(cell)}`),
  'first match decides; what no line matches is left to the framework',
];
