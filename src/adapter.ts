/**
 * The adapter table: which frameworks cfx can patch, and in which versions. The patching code is
 * `python_shim/cfx_shim/adapters/<name>.py`, found by name. Version ranges live only here; `since` is
 * inclusive, `before` exclusive.
 */
export interface AdapterFacts {
  distribution: string;
  since: string;
  before: string;
  collectives: readonly Collective[];
}

export type Collective = 'all_to_all' | 'all_gather';
export type Role = 'q' | 'k' | 'v' | 'o';
/** What telemetry counts: the roles, and `x` for tensors that only ride along in the same exchange. */
export type SentRole = Role | 'x';

export const COLLECTIVES: readonly Collective[] = ['all_to_all', 'all_gather'];
export const ROLES: readonly Role[] = ['q', 'k', 'v', 'o'];

export const ADAPTERS = {
  xdit: { distribution: 'xfuser', since: '0.7', before: '0.8', collectives: COLLECTIVES },
} satisfies Record<string, AdapterFacts>;

export type AdapterName = keyof typeof ADAPTERS;
/** torch as every adapter needs it: the first that comes with that Triton. */
export const TORCH_SINCE = '2.8';
/** Triton as the kernels need it: with an older one, or none, a GPU codes in plain torch. */
export const TRITON_SINCE = '3.4';
