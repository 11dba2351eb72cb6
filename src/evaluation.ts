/**
 * What `cfx eval` found: the table, DIR/evaluation.json and the page are renderings of this
 * (schemas/evaluation.schema.json). All paths are relative to the evaluation's folder DIR.
 */
import type { Collective, Role } from './adapter.js';

/**
 * How close a sample is to the uncompressed run's with the same prompt and seed. Null: not available (`unavailable`
 * says why), or without a finite value because the two are equal (`identical`). A clip's psnr, ssim, msSsim and lpips
 * are means over its frames.
 */
export interface Metrics {
  /**
   * Of 8-bit pictures, in dB.
   * @fraction
   */
  psnr: number | null;
  /**
   * Structural similarity, Gaussian window of 11 pixels, 1 for equal pictures.
   * @fraction
   */
  ssim: number | null;
  /**
   * Multi-scale structural similarity, five scales.
   * @fraction
   */
  msSsim: number | null;
  /**
   * Learned perceptual distance, 0 for equal pictures.
   * @fraction
   */
  lpips: number | null;
  /**
   * Of the final latents, in dB, over the range of the uncompressed ones.
   * @fraction
   */
  latentsPsnr: number | null;
  /**
   * Clips: the worst frame's, in dB.
   * @fraction
   */
  lowestFramePsnr: number | null;
  /** @fraction */
  lowestFrameSsim: number | null;
  /**
   * Clips: of the differences from frame to frame, in dB, peak 255: flicker that single frames do not show.
   * @fraction
   */
  temporalPsnr: number | null;
}

export type MetricName = keyof Metrics;

/** Over the samples that have a finite value. */
export interface Statistic {
  /** @fraction */
  mean: number;
  /** @fraction */
  lowest: number;
  /** @fraction */
  highest: number;
  samples: number;
}

export type MetricStatistics = { [M in MetricName]: Statistic | null };

/** One picture or clip that a sample consists of (more than one: a batch). */
export interface Output {
  /** What the run wrote: a .png, or a clip as .npy (uint8 [F, H, W, 3]). */
  file: string;
  /** A PNG to look at: the picture itself, or a clip's frames side by side. */
  preview: string;
  /** A PNG of |this − uncompressed| × `differenceGain`, laid out as the preview; null: the uncompressed run itself. */
  difference: string | null;
  frames: number;
  /** Those of a clip's frames which preview and difference show, evenly spread, first and last among them. */
  shownFrames: number;
}

export interface SampleEvaluation {
  index: number;
  outputs: Output[];
  metrics: Metrics;
  /** Every pixel of every output equals the uncompressed run's. */
  identical: boolean;
  /** All ranks together, warm-up included. */
  rawBytes: number;
  wireBytes: number;
  /**
   * Of the slowest rank.
   * @fraction
   */
  seconds: number;
  /** Measuring took part of `seconds`. */
  measured: boolean;
  /**
   * ‖z − z'‖ / ‖z'‖ of the latents z against the uncompressed run's z', after each step; null: not finite; empty: no latents seen.
   * @fraction
   */
  distance: (number | null)[];
}

/** The closed loop's error where one tensor crosses ranks, over all ranks and measured samples. */
export interface SiteError {
  transformer: string;
  /** Attention call inside one forward. */
  layer: number;
  role: Role;
  collective: Collective;
  /** n-th forward within a step (classifier-free guidance). */
  branch: number;
  /**
   * √(Σ‖x − y‖² / Σ‖x‖²) per step, y what receivers use; null: nothing was sent in this step, or not finite.
   * @fraction
   */
  relativeError: (number | null)[];
}

/** How activations of the uncompressed run change from one step to the next (paper, Fig. 5). */
export interface ChangeCurve {
  /** Null: all roles. */
  role: Role | null;
  /** Null: all layers. */
  layer: number | null;
  /**
   * √(Σ‖x_t − x_{t−1}‖² / Σ‖x_t‖²) per step; null at step 0.
   * @fraction
   */
  relativeNorm: (number | null)[];
  /**
   * Σ x_t·x_{t−1} / √(Σ‖x_t‖² Σ‖x_{t−1}‖²) per step; null at step 0.
   * @fraction
   */
  cosine: (number | null)[];
}

/** What a judge read off the pictures. */
export interface JudgeScore {
  /** @fraction */
  attributes: { [name: string]: number };
  /**
   * Over the attributes.
   * @fraction
   */
  mean: number;
  /**
   * Share of samples with every attribute right; null: the judge does not say.
   * @fraction
   */
  all: number | null;
}

export interface PolicyEvaluation {
  /** The policy's name; its folder in DIR is `folder`. */
  name: string;
  folder: string;
  planId: string;
  /** Statistics over the samples; all null for the uncompressed run, which everything is compared with. */
  metrics: MetricStatistics;
  identicalSamples: number;
  judge: JudgeScore | null;
  /** Of all ranks, mean over the samples, warm-up included. */
  rawBytesPerSample: number;
  wireBytesPerSample: number;
  /**
   * Raw over wire; null: nothing was sent.
   * @fraction
   */
  ratio: number | null;
  /**
   * Median over the samples that were not measured, or over all if every one was (`measured`).
   * @fraction
   */
  seconds: { median: number; samples: number; measured: boolean };
  /**
   * Over all sites, per step; null: nothing was sent in this step. Empty: no sample was measured.
   * @fraction
   */
  relativeError: (number | null)[];
  sites: SiteError[];
  /**
   * Mean over the samples, per step.
   * @fraction
   */
  distance: (number | null)[];
  /**
   * Activations of the first measured sample, per step, in the first two principal components of all policies' together.
   * @fraction
   */
  trajectory: [number, number][];
  samples: SampleEvaluation[];
}

export interface Evaluation {
  /** Version of this format. */
  format: 1;
  /** When it was written, ISO 8601. */
  created: string;
  /** The launch command as given, placeholders included. */
  command: string[];
  /** cfx, Python and what the launch's interpreter has: torch, xfuser, … */
  versions: { [name: string]: string };
  worldSize: number;
  device: 'cpu' | null;
  /** Denoising steps of a sample. */
  steps: number;
  /** What each sample shows; null where the launch command chose it. */
  prompts: { prompt: string | null; seed: number | null }[];
  measuredSamples: number;
  /**
   * By how much difference maps are amplified.
   * @fraction
   */
  differenceGain: number;
  unavailable: { metric: MetricName | 'judge'; reason: string }[];
  changes: ChangeCurve[];
  /**
   * Share of variance that the two axes of `trajectory` explain; null: nothing was measured.
   * @fraction
   */
  explainedVariance: [number, number] | null;
  /** The uncompressed run first. */
  policies: PolicyEvaluation[];
}
