"""How much picture each byte buys on the example model: latents of compressed runs against the uncompressed run.

Real xDiT on forked gloo ranks, float32, same topology, captions and seeds for every policy. PSNR is of the final
latents, over the range of the uncompressed ones; the relative error is the closed loop's, mean over compressed sends.

    python test/bench/quality.py [--topology ulysses2] [--steps 28] [--pictures 4] [--policies paper-1bit,…]
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "python"))

from farming import Farm  # noqa: E402

TOPOLOGIES = {
    "ulysses2": (2, ["--ulysses_degree", "2"]),
    "ring2": (2, ["--ring_degree", "2"]),
    "ring4": (4, ["--ring_degree", "4"]),
}
CAPTIONS = [
    "a large red star above a small blue circle at sunset",
    "a small green square to the left of a large orange circle by day",
    "a large blue circle below a small red star in the forest",
    "a small yellow triangle above a large green square by day",
]
POLICIES = "paper-1bit,cfx-1bit,paper-2bit,cfx-2bit,cfx-3bit,int8"


def compiled(policy):
    command = ["node", os.path.join(ROOT, "dist", "cli.js"), "plan", "--policy", policy, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["plan"]


def psnr(reference, other):
    error = float(((reference - other) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(float((reference.max() - reference.min()) ** 2) / error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", choices=TOPOLOGIES, default="ulysses2")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--policies", default=POLICIES)
    args = parser.parse_args()
    generations = [
        {"steps": args.steps, "seed": 11 + index, "prompts": [CAPTIONS[index % len(CAPTIONS)]]} for index in range(args.pictures)
    ]
    farm = Farm()
    topology = TOPOLOGIES[args.topology]
    exact = farm.run(*topology, None, generations).tensors
    print(f"{args.topology}, {args.steps} steps, {args.pictures} pictures; {platform.machine()}")
    print("| policy | MB per rank and picture | ratio | PSNR dB: mean (lowest) | relative error |\n|---|---|---|---|---|")
    for policy in args.policies.split(","):
        outcome = farm.run(*topology, compiled(policy), generations, prepare=["relative_errors"])
        values = [psnr(exact[name], outcome.tensors[name]) for name in exact]
        raw, wire = outcome.total("rawBytes"), outcome.total("wireBytes")
        errors = " ".join(f"{role} {error:.4f}" for role, error in outcome.reports[0]["relativeErrors"].items())
        if outcome.compared_bases()[1]:
            sys.exit(f"{policy}: bases differ between ranks: no figures on a wrong result")
        mean = sum(values) / len(values)
        print(f"| {policy} | {wire / args.pictures / 1e6:.2f} | {raw / wire:.1f} | {mean:.1f} ({min(values):.1f}) | {errors or '–'} |", flush=True)
    farm.close()


if __name__ == "__main__":
    main()
