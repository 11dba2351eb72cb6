/**
 * What ranks keep of a run for `cfx record` and `cfx eval`. A sample is one outermost pipeline call that is not xDiT's
 * own rehearsal (`prepare_run`). Layout under `folder`: `sample-0000/rank-0/` with `output-<n>.png` or `.npy` (uint8
 * [F, H, W, 3], a clip), `latents.safetensors`, `trace-<step>.safetensors`, and `measures.json`, which is written last:
 * with it a rank's part of a sample is complete.
 */
import type { Role } from './adapter.js';

/** Which exact tensors are kept. */
export interface Recording {
  roles: Role[];
  /** Attention calls of one forward and denoising steps, half-open; null as the end means "to the last". */
  layers: [number, number | null];
  steps: [number, number | null];
  /** Every so manyth token. @minimum 1 */
  tokenStride: number;
}

export interface Observe {
  /** Absolute path of an existing folder. */
  folder: string;
  /** Number of this launch's first sample. */
  firstSample: number;
  /** Keep what the pipeline returns, and the latents after each step. */
  outputs: boolean;
  /** Measure the sends of samples with a lower number than this; measuring takes time. */
  measureSamples: number;
  record: Recording | null;
}
