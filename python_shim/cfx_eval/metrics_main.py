"""``python -m cfx_eval.metrics_main DIR --policies off,… --samples N``: figures of an evaluation, as JSON on standard output.

DIR holds a folder per policy, the uncompressed run first in ``--policies``; in each, samples 0 … N-1 are complete. A
sample's figures are kept beside it in metrics.json and not worked out again. Progress goes to standard error.
"""

import argparse
import json
import math
import os
import sys

import numpy

from . import metrics, sends
from .pictures import Sample, amplified_difference, save, shown, shown_frames

_FORMAT = 1
_NO_PICTURES = "the pipeline returned no pictures to this process; let it return them (output_type \"pil\", \"np\" or \"pt\")"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--policies", required=True, type=lambda text: text.split(","), help="folders, the uncompressed run's first")
    parser.add_argument("--samples", required=True, type=int)
    parser.add_argument("--gain", type=float, default=8.0, help="how much difference maps are amplified")
    parser.add_argument("--lpips-weights", help=f"folder with {metrics.LPIPS_FILE}")
    args = parser.parse_args()
    try:
        print(json.dumps(evaluate(args.folder, args.policies, args.samples, args.gain, args.lpips_weights), allow_nan=False))
    except ValueError as error:
        sys.exit(str(error))


def evaluate(folder, policies, count, gain, lpips_weights=None) -> dict:
    """Raises ``ValueError`` where samples of two policies cannot be compared."""
    work = _Comparison(folder, policies[0], gain, lpips_weights)
    results = []
    for number, policy in enumerate(policies):
        samples, measures = [], []
        for index in range(count):
            samples.append(work.figures(policy, index))
            measures += [entry for entry in _read_measures(folder, policy, index) if entry["sites"]]
            print(f"metrics: sample {number * count + index + 1} of {len(policies) * count}", file=sys.stderr, flush=True)
        results.append({
            "folder": policy,
            "samples": samples,
            "relativeError": sends.whole_error(measures),
            "sites": sends.site_errors(measures),
            "changes": sends.changes(measures) if number == 0 else [],
        })
    paths, explained = sends.trajectories([sends.sketch_of(_read_measures(folder, policy, 0)) for policy in policies])
    for result, path in zip(results, paths):
        result["trajectory"] = path
    return {
        "policies": results,
        "changes": results[0]["changes"],
        "explainedVariance": explained,
        "differenceGain": gain,
        "unavailable": [{"metric": name, "reason": reason} for name, reason in work.unavailable.items()],
    }


def _sample_folder(folder, policy, index):
    return os.path.join(folder, policy, f"sample-{index:04d}")


def _read_measures(folder, policy, index):
    inside = _sample_folder(folder, policy, index)
    ranks = []
    while os.path.exists(path := os.path.join(inside, f"rank-{len(ranks)}", "measures.json")):
        with open(path, encoding="utf-8") as file:
            ranks.append(json.load(file))
    return ranks


class _Comparison:
    """Samples of any policy against the uncompressed run's."""

    def __init__(self, folder, reference, gain, lpips_weights):
        self._folder, self._reference, self._gain = folder, reference, gain
        self._lpips_weights = lpips_weights
        self._lpips = None
        self._loaded = (None, None)
        self.unavailable = {}
        if lpips_weights is None:
            self.unavailable["lpips"] = f"no weights were given: --lpips-weights DIR, with DIR/{metrics.LPIPS_FILE}"

    def figures(self, policy, index) -> dict:
        path = os.path.join(_sample_folder(self._folder, policy, index), "metrics.json")
        key = self._key(policy, index)
        try:
            with open(path, encoding="utf-8") as file:
                kept = json.load(file)
        except (OSError, ValueError):
            kept = {}
        if kept.get("key") != key:
            kept = {"key": key, **self._work_out(policy, index)}
            with open(path + ".new", "w", encoding="utf-8") as file:
                json.dump(kept, file, allow_nan=False)
            os.replace(path + ".new", path)
        for name, reason in kept["unavailable"].items():
            self.unavailable.setdefault(name, reason)
        return {"index": index, **{name: kept[name] for name in ("outputs", "metrics", "identical", "distance")}}

    def _key(self, policy, index):
        """Changes whenever a figure could: with either sample's files, the weights, this code's format."""
        times = [
            os.stat(os.path.join(_sample_folder(self._folder, each, index), "rank-0", "measures.json")).st_mtime_ns
            for each in (policy, self._reference)
        ]
        weights = self._lpips_weights and os.stat(os.path.join(self._lpips_weights, metrics.LPIPS_FILE)).st_mtime_ns
        return [_FORMAT, self._reference, self._gain, weights, *times]

    def _load(self, index):
        """The uncompressed run's sample; the last one asked for is kept."""
        if self._loaded[0] != index:
            self._loaded = (index, Sample(_sample_folder(self._folder, self._reference, index)))
        return self._loaded[1]

    def _work_out(self, policy, index):
        reference = self._load(index)
        is_reference = policy == self._reference
        sample = reference if is_reference else Sample(_sample_folder(self._folder, policy, index))
        if len(sample.outputs) != len(reference.outputs):
            raise ValueError(
                f"sample {index}: {policy} has {len(sample.outputs)} outputs; the uncompressed run has {len(reference.outputs)}"
            )
        outputs = [
            self._depict(sample, number, None if is_reference else reference.outputs[number]) for number in range(len(sample.outputs))
        ]
        latents, expected = sample.latents, reference.latents
        has_latents = latents is not None and expected is not None and latents.shape == expected.shape
        distance = metrics.distances(latents, expected) if has_latents else []
        figures, unavailable = dict.fromkeys([*metrics.PICTURE_METRICS, "latentsPsnr"]), {}
        if not is_reference:
            figures.update(self._compare(sample, reference))
            figures["latentsPsnr"] = metrics.latents_psnr(latents, expected) if has_latents else None
        if not has_latents:
            unavailable["latentsPsnr"] = "no scheduler step returned latents of the same shape in both runs"
        unavailable.update(_reasons(reference.outputs))
        return {
            "outputs": outputs,
            "metrics": figures,
            "identical": all(numpy.array_equal(*pair) for pair in zip(sample.outputs, reference.outputs)) and bool(sample.outputs),
            "distance": distance,
            "unavailable": unavailable,
        }

    def _compare(self, sample, reference):
        """Means over the sample's outputs; of the lowest frames, the lowest."""
        if self._lpips_weights and self._lpips is None:
            self._lpips = metrics.load_lpips(self._lpips_weights)
        each = [metrics.compare(*pair, self._lpips) for pair in zip(sample.outputs, reference.outputs)]
        return {
            name: _combined(min if name.startswith("lowest") else numpy.mean, [one[name] for one in each])
            for name in metrics.PICTURE_METRICS
        }

    def _depict(self, sample, number, reference):
        clip = sample.outputs[number]
        file, preview, difference = sample.files[number], sample.files[number], None
        if len(clip) > 1:
            preview = os.path.join(sample.folder, f"preview-{number}.png")
            save(shown(clip), preview)
        if reference is not None and clip.shape == reference.shape:
            difference = os.path.join(sample.folder, f"difference-{number}.png")
            save(shown(amplified_difference(clip, reference, self._gain)), difference)
        paths = {"file": file, "preview": preview, "difference": difference}
        relative = {name: path and os.path.relpath(path, self._folder) for name, path in paths.items()}
        return {**relative, "frames": len(clip), "shownFrames": shown_frames(clip)}


def _reasons(outputs) -> dict:
    """Metric → why it has no values for such outputs."""
    if not outputs:
        return dict.fromkeys(metrics.PICTURE_METRICS, _NO_PICTURES)
    reasons = {}
    if why := metrics.why_no_ms_ssim(outputs[0].shape):
        reasons["msSsim"] = why
    if len(outputs[0]) == 1:
        reasons.update(dict.fromkeys(("lowestFramePsnr", "lowestFrameSsim", "temporalPsnr"), "the outputs are pictures, not clips"))
    return reasons


def _combined(combine, values):
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return float(combine(finite)) if finite else None


if __name__ == "__main__":
    main()
