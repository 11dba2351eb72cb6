"""``python -m cfx_bench.codecs_main JOB``: what TypeScript asks for in the JSON file JOB (``src/bench.ts``); JSON on standard output.

Correctness comes first: where the gate finds something, nothing is measured, {"failures": […]} is all that is printed and
the exit code is ``WRONG``. Exit code ``UNUSABLE``: the device or the trace cannot be used, and standard error says why.
Lines on standard error that begin with "bench: " tell how far it is.
"""

import json
import sys

import torch

from cfx_eval.trace import Trace
from cfx_shim.cpu import library
from cfx_shim.kernels import formats, traffic
from cfx_shim.plan import Plan

from . import gate, loop, machine, timing, work
from .signals import BUILT_IN, Walk

UNUSABLE, WRONG = 65, 70
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# in all rounds, for one operation of one codec
_MOST_SECONDS = 0.5
_LARGE_ROUNDS, _NO_LIMIT = 5, 1e9
# input sets of this many times a GPU's cache, so that it holds little of a set when its turn comes again
_CACHES = 4
_UNKNOWN_CACHE = 64 * 2**20


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Unusable(ValueError):
    """What was asked for is not there."""


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    try:
        answer = run(job)
    except Unusable as error:
        print(error, file=sys.stderr)
        sys.exit(UNUSABLE)
    print(json.dumps(answer))
    sys.exit(WRONG if "failures" in answer else 0)


@torch.no_grad()
def run(job):
    """The answer to ``job``: figures, or the gate's failures."""
    device = _device(job["device"])
    signals = _signals(job["trace"])
    if job["threads"] is not None:
        torch.set_num_threads(job["threads"])
    threads = torch.get_num_threads()
    library.load(job["kernels"])
    treatments = {entry["codec"]: Plan(entry["plan"]).treatment(1, 0, "k", "all_gather") for entry in job["codecs"]}
    failures = _failures(job, treatments, device)
    if failures:
        return {"failures": failures}
    answer = {
        "versions": machine.versions(),
        "machine": machine.describe(device),
        "device": device.type,
        "threads": threads,
        "compiledKernels": library.kernels() is not None,
        "signals": {name: _errors(name, signal, job) for name, signal in signals.items()},
    }
    torch.set_num_threads(1)
    answer |= _times(job, treatments, device)
    if job["stepOfDemo"]:
        answer["steps"] = _steps(job, treatments)
    torch.set_num_threads(threads)
    mib = _large_mib(job["largeMib"]) if device.type == "cpu" else 0
    answer["large"] = _large(job, treatments, mib) if mib else None
    return answer


def _device(wanted):
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise Unusable("--device cuda: found no GPU that torch can use")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def _signals(folder):
    if folder is None:
        return {name: make() for name, make in BUILT_IN.items()}
    try:
        return {"trace": Trace(folder)}
    except ValueError as error:
        raise Unusable(str(error)) from error


def _failures(job, treatments, device):
    """Each codec on every block shape of the job, and on changes with and without heavy tails."""
    found = []
    for number, entry in enumerate(job["codecs"], 1):
        say(f"checking {entry['codec']} ({number} of {len(job['codecs'])})")
        for index, block in enumerate(entry["checked"]):
            steps = Walk(block["tokens"], block["channels"], DTYPES[job["dtype"]], heavy=index % 2 == 0).steps(4)
            steps = [step.to(device) for step in steps]
            wrong = gate.failures(entry["codec"], treatments[entry["codec"]], block["bytes"], steps)
            found += [f"{entry['codec']}, {block['tokens']} × {block['channels']}: {text}" for text in wrong]
    return found


def _errors(name, signal, job):
    """Per codec and per paper codec that one is compared with: rows of ``loop``."""
    rows = {}
    for entry in job["codecs"]:
        say(f"errors on {name}: {entry['codec']}")
        rows[entry["codec"]] = loop.shipped(signal, Plan(entry["plan"]))
    papers = {}
    for paper in dict.fromkeys(entry["paper"] for entry in job["codecs"] if entry["paper"]):
        say(f"errors on {name}: the paper's {paper}, by its formulas")
        papers[paper] = loop.of_formulas(signal, paper)
    return {"codecs": rows, "papers": papers}


def _times(job, treatments, device):
    """Medians of one copy, one encode, what that leaves to be kept, and one decode of a peer's block, in seconds."""
    dtype, on_gpu = DTYPES[job["dtype"]], device.type == "cuda"
    sets = 1
    if on_gpu:
        cache = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0) or _UNKNOWN_CACHE
        sets = max(2, -(-_CACHES * cache // (job["tokens"] * job["channels"] * dtype.itemsize)))
    inputs = work.Inputs(job["tokens"], job["channels"], dtype, device, sets)
    seconds_of = timing.device_seconds if on_gpu else timing.thread_seconds
    rows = {}
    for entry in job["codecs"]:
        say(f"times: {entry['codec']}")
        name = entry["codec"]
        # a copy of its own beside each codec, for clocks and neighbours change over a run
        path, operations = work.coding(treatments[name], inputs, job["peers"])
        operations["copy"] = work.copying(inputs)
        if path == "triton":
            operations = {each: timing.captured(function) for each, function in operations.items()}
        medians = timing.interleaved(operations, job["repeats"], seconds_of, _MOST_SECONDS)
        seconds = {each: median / inputs.calls for each, median in medians.items()}
        behind = seconds.get("encode and keep")
        rows[name] = {
            "path": path,
            "graph": path == "triton",
            "copySeconds": seconds["copy"],
            "encodeSeconds": seconds["encode"],
            "keepSeconds": None if behind is None else max(0.0, behind - seconds["encode"]),
            "decodeSeconds": seconds["decode"] / job["peers"],
            "traffic": _traffic(name, treatments[name], dtype.itemsize, job["tokens"]),
        }
    return {"inputSets": sets, "times": rows}


def _traffic(codec, treatment, item_bytes, tokens):
    """What kernels move, in bytes an element, and their launches, with barriers where these have any; None where a GPU runs plain torch."""
    form = formats.of(codec)
    if form is None or not form.codes(treatment.order):
        return None
    moved = traffic.of_call(form, treatment.order, item_bytes, treatment.statistics, tokens)
    found = {end: {"bytesAnElement": size, "launches": count} for end, (size, count) in moved.items()}
    if barriers := traffic.barriers(form):
        found["encode"]["barriers"] = barriers
    return found


def _steps(job, treatments):
    """Seconds of one of the demo's steps, on one thread."""
    rows = {}
    for name, treatment in treatments.items():
        say(f"the demo's step: {name}")
        operation = {"steps": work.step_of_demo(treatment, job["tokens"], job["channels"], DTYPES[job["dtype"]])}
        medians = timing.interleaved(operation, job["repeats"], timing.thread_seconds, 2 * _MOST_SECONDS)
        rows[name] = medians["steps"] / 2
    return rows


def _large_mib(wanted):
    """The least multiple of 64 MiB that is a quarter larger than the last-level cache, where nothing else is asked for."""
    if wanted is not None:
        return wanted
    cache = machine.last_level_cache() or _UNKNOWN_CACHE
    return -(-5 * cache // (4 * 64 * 2**20)) * 64


def _large(job, treatments, mib):
    """Encode and decode of a tensor beyond the caches, for codecs that have kernels, beside copying it once."""
    rows = {}
    for entry in job["codecs"]:
        name = entry["codec"]
        if _traffic(name, treatments[name], 2, 1) is None:
            continue
        say(f"a tensor of {mib} MiB: {name}")
        copy, code = work.large(treatments[name], mib, DTYPES[job["dtype"]])
        medians = timing.interleaved({"copy": copy, "code": code}, _LARGE_ROUNDS, timing.wall_seconds, _NO_LIMIT)
        rows[name] = {"copySeconds": medians["copy"], "codeSeconds": medians["code"]}
    return {"mib": mib, "codecs": rows}


if __name__ == "__main__":
    main()
