"""What being attached costs: generation time with ``off``, ``identity`` and the paper's codecs over unattached xDiT.

Each round runs every variant once, one after the other, on freshly forked ranks of one process; a variant's figure is
the median over rounds of its time over the unattached time of the same round. The first generation of a job is a
warm-up and is not timed.

    python test/bench/overhead.py [--rounds 7] [--steps 10] [--topology ulysses2]
"""

import argparse
import os
import platform
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

from farming import IDENTITY, OFF, PAPER_1BIT, PAPER_2BIT, Farm  # noqa: E402

VARIANTS = {"unattached": None, "off": OFF, "identity": IDENTITY, "paper-1bit": PAPER_1BIT, "paper-2bit": PAPER_2BIT}
TOPOLOGIES = {"ulysses2": ["--ulysses_degree", "2"], "ring2": ["--ring_degree", "2"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--topology", choices=TOPOLOGIES, default="ulysses2")
    args = parser.parse_args()
    farm = Farm()
    ratios = {name: [] for name in VARIANTS}
    results = {}
    for _ in range(args.rounds):
        seconds = {}
        for name, plan in VARIANTS.items():
            outcome = farm.run(2, TOPOLOGIES[args.topology], plan, [{"steps": 2}, {"steps": args.steps}])
            seconds[name] = outcome.reports[0]["seconds"][1]
            results[name] = outcome.tensors["1.latents"]
        for name in VARIANTS:
            ratios[name].append(seconds[name] / seconds["unattached"])
        if not all(results[name].equal(results["unattached"]) for name in ("off", "identity")):
            farm.close()
            sys.exit("off and identity do not give the unattached latents: no figures on a wrong result")
    farm.close()
    import torch

    print(f"{args.topology}, {args.steps} steps, {args.rounds} rounds; {platform.processor() or platform.machine()}, "
          f"{os.cpu_count()} cores, torch {torch.__version__}")
    for name, values in ratios.items():
        print(f"{name:12} {statistics.median(values):.3f} x unattached  (min {min(values):.3f}, max {max(values):.3f})")


if __name__ == "__main__":
    main()
