"""How far our codecs' closed-loop errors lie below the paper's, on recorded traces and on harder made-up ones.

    python test/bench/targets.py --scenes-flux TRACE… --others TRACE… [--every 3]

after "npm run build", with traces that "cfx record" keeps (of 28 or 10 steps, for the targets; of any number otherwise).

A figure is the ratio of two errors, each the mean over sites and steps of ‖x - y‖ / ‖x‖, with y what receivers use,
replayed in float16 through the live path's code: from the first step after the keyframe on, and in brackets with the
keyframe's step counted in, where the paper's error is 0. "bytes" is the ratio of all bytes to one peer, keyframes
included, and has to be at most 1. Sets without a target of their own have to be no worse than the paper's codec.
"""

import argparse
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "python_shim"))

from cfx_bench.signals import MadeUp  # noqa: E402
from cfx_eval.replay import replay  # noqa: E402
from cfx_eval.trace import Trace  # noqa: E402
from cfx_shim.plan import Plan  # noqa: E402

OURS = {"paper-1bit": ("cfx-1bit", "cfx-1bit-fast"), "paper-2bit": ("cfx-2bit", "cfx-2bit-fast")}
# ratio of errors by the paper's preset, then by steps: on scenes-flux, on other models
TARGETS = {
    "paper-1bit": {28: (0.48, 0.58), 10: (0.75, 0.75)},
    "paper-2bit": {28: (0.34, 0.50), 10: (0.57, 0.57)},
}
FLUX = "--tokens 4608 --channels 3072 --heads 24 --layers 57 --steps 28 --ulysses 1 --ring 4 --dtype bf16".split()
RATIOS = {"cfx-1bit": 12.6, "cfx-1bit-fast": 12.6}


class Steps:
    """A trace in float16, every ``every``-th site of it, the steps ``chosen`` of it (all if None)."""

    def __init__(self, trace, every=1, chosen=None):
        self._trace, self._chosen = trace, chosen
        self.sites = {site: chosen or steps for site, steps in list(trace.sites.items())[::every]}

    def read(self, site):
        taken = [x for step, x in self._trace.read(site) if self._chosen is None or step in self._chosen]
        yield from enumerate(x.half() for x in taken)


def compiled(preset, *shapes):
    command = ["node", os.path.join(ROOT, "dist", "cli.js"), "plan", "--policy", preset, "--json", *shapes]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measured(trace, plan):
    """(mean error after the keyframe, with it, wire bytes)."""
    rows = replay(trace, plan)
    errors = [[(e / n) ** 0.5 if n else 0.0 for e, n in zip(row["error"], row["energy"])] for row in rows]
    later, all_steps = [e for steps in errors for e in steps[1:]], [e for steps in errors for e in steps]
    return sum(later) / len(later), sum(all_steps) / len(all_steps), sum(row["wireBytes"] for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes-flux", nargs="*", default=[], metavar="TRACE")
    parser.add_argument("--others", nargs="*", default=[], metavar="TRACE")
    parser.add_argument("--every", type=int, default=1, help="replay every n-th site only")
    args = parser.parse_args()
    plans = {preset: Plan(compiled(preset)["plan"]) for papers, own in OURS.items() for preset in (papers, *own)}
    missed = 0

    def row(what, preset, target, figure, further, met):
        nonlocal missed
        missed += not met
        print(f"| {what} | {preset} | {target} | {figure} | {further} | {'yes' if met else '**no**'} |", flush=True)

    def compare(what, trace, target_of):
        for papers, presets in OURS.items():
            theirs, target = measured(trace, plans[papers]), target_of(papers)
            for own in presets:
                ratio, whole, wire = (mine / other for mine, other in zip(measured(trace, plans[own]), theirs))
                row(what, own, f"≤ {target:.2f} × {papers}", f"{ratio:.3f} ({whole:.3f})", f"{wire:.3f}",
                    ratio <= target and whole <= target and wire <= 1)

    print("| set | preset | target | error ratio (with the keyframe) | bytes | met |\n|---|---|---|---|---|---|")
    recorded = [(folder, 0) for folder in args.scenes_flux] + [(folder, 1) for folder in args.others]
    for folder, column in recorded:
        trace, name = Trace(folder), os.path.basename(os.path.normpath(folder))
        count = len(next(iter(trace.sites.values())))
        known = TARGETS["paper-1bit"].get(count)
        compare(f"{name}, {count} steps", Steps(trace, args.every), lambda papers: TARGETS[papers][count][column] if known else 1)
        if count == 28:
            compare(f"{name}, 4 steps of 28", Steps(trace, args.every, [0, 9, 18, 27]), lambda papers: 1)
    compare("heavy tails (t, 3), correlation .7, 28 steps", MadeUp(28, 0.7, 3, 0.5, 0.07), lambda papers: 1)
    compare("heavy tails (t, 3), uncorrelated, 28 steps", MadeUp(28, 0.0, 3, 1.2, 0.07), lambda papers: 1)
    compare("Gaussian, uncorrelated, 28 steps", MadeUp(28, 0.0, 0, 0.5, 0.07), lambda papers: 1)
    compare("Gaussian, uncorrelated, 10 steps", MadeUp(10, 0.0, 0, 0.5, 0.15), lambda papers: 1)
    compare("Gaussian, correlation -.5, 28 steps", MadeUp(28, -0.5, 0, 0.5, 0.07), lambda papers: 1)
    for preset, target in RATIOS.items():
        found = compiled(preset, *FLUX)["prediction"]["perRank"]["ratio"]
        row("FLUX 1024², ring 4, 28 steps", preset, f"raw : wire ≥ {target}", "–", f"{found:.3f}", found >= target)
    sys.exit(f"{missed} missed" if missed else 0)


if __name__ == "__main__":
    main()
