"""Generation time on a slow network, made of network namespaces on one machine: one torchrun node in each.

Two namespaces are joined by a veth pair whose both ends are limited by a token bucket (``tc tbf``). In each, ``cfx
attach`` starts one node with one rank; every policy runs once per round, one after the other. Needs root, and iproute2.

    python test/bench/slow_link.py [--rate 100mbit] [--rounds 3] [--steps 28] [--topology ulysses2] [--policies off,…]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOPOLOGIES = {"ulysses2": ["--ulysses_degree", "2"], "ring2": ["--ring_degree", "2"]}


def sh(*command):
    subprocess.run(command, check=True)


class Link:
    """Two namespaces with one shaped link between them; removed again on exit."""

    def __init__(self, rate):
        self.names = [f"cfx-{os.getpid()}-{side}" for side in "ab"]
        self.rate = rate

    def __enter__(self):
        for name in self.names:
            sh("ip", "netns", "add", name)
        a, b = self.names
        sh("ip", "link", "add", "veth0", "netns", a, "type", "veth", "peer", "name", "veth0", "netns", b)
        for index, name in enumerate(self.names):
            inside = ("ip", "netns", "exec", name)
            sh(*inside, "ip", "address", "add", f"10.77.0.{index + 1}/24", "dev", "veth0")
            sh(*inside, "ip", "link", "set", "veth0", "up")
            sh(*inside, "ip", "link", "set", "lo", "up")
            if self.rate != "none":
                limits = ("rate", self.rate, "burst", "64kb", "latency", "400ms")
                sh(*inside, "tc", "qdisc", "add", "dev", "veth0", "root", "tbf", *limits)
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(("ip", "netns", "delete", name), check=False)


def generate(link, python, policy, topology, steps, port, folder):
    """(seconds of the timed generation, wire bytes of both ranks together)."""
    stats = os.path.join(folder, "stats.json")
    nodes = []
    for index, name in enumerate(link.names):
        report = os.path.join(folder, f"report-{index}.json")
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "veth0", "TP_SOCKET_IFNAME": "veth0", "OMP_NUM_THREADS": "1"}
        torchrun = [python, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(index)]
        torchrun += ["--master-addr", "10.77.0.1", "--master-port", str(port)]
        script = [os.path.join(ROOT, "examples", "flux_pipeline.py"), "--model", os.path.join(ROOT, "examples/models/scenes-flux")]
        script += [*topology, "--height", "256", "--width", "256", "--max_sequence_length", "32", "--seed", "11"]
        script += ["--num_inference_steps", str(steps), "--prompt", "a large red star above a small blue circle at sunset"]
        script += ["--out", os.path.join(folder, "out.png"), "--stats", stats, "--generations", "2"]
        attach = ["node", os.path.join(ROOT, "dist", "cli.js"), "attach", "--device", "cpu", "--quiet", "--strict"]
        attach += ["--policy", policy, "--report", report, "--"]
        command = ["ip", "netns", "exec", name, *attach, *torchrun, *script]
        log = open(os.path.join(folder, f"node-{index}.log"), "w")
        nodes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    codes = [node.wait() for node in nodes]
    if any(codes):
        sys.exit(f"nodes ended with {codes}: {open(os.path.join(folder, 'node-0.log')).read()[-2000:]}")
    wire = sum(json.load(open(os.path.join(folder, f"report-{index}.json")))["totals"]["wireBytes"] for index in range(2))
    return json.load(open(stats))["seconds"][-1], wire / 2 / 2  # two ranks, two generations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="100mbit", help='as tc writes it; "none" for an unshaped link')
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--topology", choices=TOPOLOGIES, default="ulysses2")
    parser.add_argument("--policies", default="off,paper-2bit,paper-1bit")
    args = parser.parse_args()
    python = subprocess.run(
        ["node", os.path.join(ROOT, "dist", "cli.js"), "setup", "--print-python"], check=True, capture_output=True, text=True
    ).stdout.strip()
    seconds, wires = {}, {}
    with Link(args.rate) as link, tempfile.TemporaryDirectory() as folder:
        for round_number in range(args.rounds):
            for index, policy in enumerate(args.policies.split(",")):
                port = 29600 + round_number * 20 + index
                taken, wire = generate(link, python, policy, TOPOLOGIES[args.topology], args.steps, port, folder)
                seconds.setdefault(policy, []).append(taken)
                wires[policy] = wire
                print(f"round {round_number}: {policy} {taken:.2f} s", flush=True)
    first = args.policies.split(",")[0]
    print(f"{args.topology} over {args.rate}, {args.steps} steps, {args.rounds} rounds; {platform.machine()}, {os.cpu_count()} cores")
    for policy, values in seconds.items():
        ratio = statistics.median(base / value for base, value in zip(seconds[first], values))
        print(f"{policy:14} {statistics.median(values):6.2f} s  {ratio:5.2f} x faster than {first}  {wires[policy] / 1e6:8.2f} MB per rank and picture")


if __name__ == "__main__":
    main()
