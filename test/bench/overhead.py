"""What being attached costs: generation time with ``off``, ``identity`` and some presets over unattached xDiT.

After "npm run build". Codecs run as compiled kernels, as they do behind ``cfx attach``, or with ``--plain`` as torch's
operations. Each round runs every variant once, one after the other, on freshly forked ranks of one process; a variant's
figure is the median over rounds of its time over the unattached time of the same round. The first generation of a job is
a warm-up and is not timed.

    python test/bench/overhead.py [--rounds 7] [--steps 10] [--topology ulysses2] [--plain]
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

from farming import Farm  # noqa: E402
from targets import compiled  # noqa: E402

from cfx_shim import proof  # noqa: E402
from cfx_shim.cpu import library  # noqa: E402

PRESETS = ("off", "identity", "paper-1bit", "paper-2bit", "cfx-1bit", "cfx-2bit", "cfx-1bit-fast", "cfx-2bit-fast")
TOPOLOGIES = {"ulysses2": ["--ulysses_degree", "2"], "ring2": ["--ring_degree", "2"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--topology", choices=TOPOLOGIES, default="ulysses2")
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    plans = {"unattached": None, **{name: compiled(name)["plan"] for name in PRESETS}}
    with tempfile.TemporaryDirectory(prefix="cfx-overhead-") as folder:
        kernels = os.path.join(folder, "kernels")
        if not args.plain and library.prepare(kernels, proof.failures) != "built":
            sys.exit("the compiled kernels could not be built; --plain does without")
        ratios = measured(args, plans, None if args.plain else kernels)
    import torch

    print(f"{args.topology}, {args.steps} steps, {args.rounds} rounds, codecs {'plain' if args.plain else 'compiled'}; "
          f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    for name, values in ratios.items():
        print(f"{name:14} {statistics.median(values):.3f} x unattached  (min {min(values):.3f}, max {max(values):.3f})")


def measured(args, plans, kernels):
    """Variant -> its time over the unattached time, a number a round."""
    farm = Farm(kernels)
    ratios = {name: [] for name in plans}
    results = {}
    for _ in range(args.rounds):
        seconds = {}
        for name, plan in plans.items():
            outcome = farm.run(2, TOPOLOGIES[args.topology], plan, [{"steps": 2}, {"steps": args.steps}])
            seconds[name] = outcome.reports[0]["seconds"][1]
            results[name] = outcome.tensors["1.latents"]
        for name in plans:
            ratios[name].append(seconds[name] / seconds["unattached"])
        if not all(results[name].equal(results["unattached"]) for name in ("off", "identity")):
            farm.close()
            sys.exit("off and identity do not give the unattached latents: no figures on a wrong result")
    farm.close()
    return ratios


if __name__ == "__main__":
    main()
