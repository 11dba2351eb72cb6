"""What a codec costs on this CPU: python test/bench/codecs.py [--step-ms 136] [--repeats 200] [--kernels FOLDER]

The block is what one rank of the example model sends to one peer under Ulysses 2: 528 tokens by 128 channels, float32.
Rows are medians over interleaved repeats of the thread's own CPU time, which a busy machine inflates little, and their
ratio to copying the same block once. "a step" is everything one rank codes in one step (5 layers, q, k, v, o), run as
one: residual, encode and the sender's own decode into its base, then the receiver's decode into its; its share is of
``--step-ms``, the time of the model's step without cfx on an idle machine.

With ``--kernels`` the compiled kernels of FOLDER (made there if need be) are measured too, as a run uses them: "compiled
encode" and "compiled decode" read the block and move a state, "a compiled step" is "a step" with them, and "large" is
encode + decode of a tensor of ``--large-mib`` MiB, larger than the last-level cache, beside copying that tensor once, on
as many threads as torch uses (``--threads``), in wall time.
"""

import argparse
import itertools
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "python_shim"))

import torch  # noqa: E402

from cfx_shim import codecs, coding  # noqa: E402
from cfx_shim._contract import CODECS  # noqa: E402
from cfx_shim.cpu import library  # noqa: E402
from cfx_shim.plan import Treatment  # noqa: E402
from cfx_shim.state import add_decoded_  # noqa: E402

TOKENS, CHANNELS, BLOCKS_A_STEP = 528, 128, 5 * 4
CHANNELS_LARGE, COMPILED = 3072, ("binary", "int2", "lm1", "lm2", "lm3", "lm4")


def operations(codec, x):
    """Row name -> function."""
    payload = torch.zeros((1, codec.payload_bytes(TOKENS, CHANNELS, 4)), dtype=torch.uint8)
    reference = payload.clone()
    codec.encode(x, payload)
    codec.encode_reference(x, reference)
    assert torch.equal(payload, reference), "a wrong codec is not worth timing"
    return {
        "encode": lambda: codec.encode(x, payload),
        "decode": lambda: codec.decode(payload, TOKENS, CHANNELS),
        "encode, reference": lambda: codec.encode_reference(x, payload),
        "decode, reference": lambda: codec.decode_reference(payload, TOKENS, CHANNELS),
        "a step": whole_step(codec, payload.clone()),
    }


def whole_step(codec, payload):
    """Inputs change from step to step, as a model's do: a residual that dies out would be cheaper than a real one."""
    steps = [[noise(2 * BLOCKS_A_STEP + i) + 0.2 * noise(j) for i in range(BLOCKS_A_STEP)] for j in (0, 1)]
    sent, received = ([torch.zeros(1, TOKENS, CHANNELS) for _ in range(BLOCKS_A_STEP)] for _ in "sr")
    turn = itertools.cycle(steps)

    def step():
        for x, base, peer in zip(next(turn), sent, received):
            codec.encode(torch.sub(x, base), payload)
            add_decoded_(base, codec.decode(payload, TOKENS, CHANNELS))
            add_decoded_(peer, codec.decode(payload, TOKENS, CHANNELS))

    return step


def compiled_operations(name):
    """The same through ``coding``, which uses compiled kernels where it can: row name -> function."""
    steps = [[noise(2 * BLOCKS_A_STEP + i) + 0.2 * noise(j) for i in range(BLOCKS_A_STEP)] for j in (0, 1)]
    section, room = section_of(name, steps[0][0])
    order = section.order
    sent, received = ([torch.zeros(1, order, TOKENS, CHANNELS) for _ in range(BLOCKS_A_STEP)] for _ in "sr")
    turn = itertools.cycle(steps)
    one = itertools.cycle([steps[0][0], steps[1][0]])

    def step():
        for x, base, peer in zip(next(turn), sent, received):
            coding.encode(section, x, room, base)
            coding.decode(section, room, peer)

    return {
        "compiled encode": lambda: coding.encode(section, next(one), room, sent[0]),
        "compiled decode": lambda: coding.decode(section, room, received[0]),
        "a compiled step": step,
    }


def section_of(name, x):
    """A section of ``x`` [1, N, C] as its preset codes it, and room for its bytes."""
    section = coding.Section("k", x, Treatment(name, 2 if name.startswith("lm") else 1, True))
    return section, torch.zeros((1, section.bytes), dtype=torch.uint8)


def large(name, mib, repeats):
    """(encode + decode) over copy of one tensor of ``mib`` MiB, interleaved, in wall time."""
    x = torch.randn(1, mib * 2**20 // (4 * CHANNELS_LARGE), CHANNELS_LARGE)
    target = torch.empty_like(x)
    section, room = section_of(name, x)
    sent, received = (torch.zeros(1, section.order, *x.shape[1:]) for _ in "sr")
    taken = {"copy": [], "code": []}
    for _ in range(repeats):
        began = time.perf_counter()
        target.copy_(x)
        copied = time.perf_counter()
        coding.encode(section, x, room, sent)
        coding.decode(section, room, received)
        taken["code"].append(time.perf_counter() - copied)
        taken["copy"].append(copied - began)
    return statistics.median(taken["code"]), statistics.median(taken["copy"])


def noise(seed):
    return torch.randn(1, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(seed))


def seconds(function):
    began = time.thread_time()
    function()
    return time.thread_time() - began


def check_compiled(name):
    """A wrong kernel is not worth timing: the bytes and the state must be plain torch's."""
    kernels, seen = library.kernels(), []
    for held in (kernels, None):
        library._kernels = held
        section, room = section_of(name, noise(1))
        state = torch.zeros(1, section.order, TOKENS, CHANNELS)
        for seed in (1, 2):
            coding.encode(section, noise(seed), room, state)
        seen.append((room, state))
    library._kernels = kernels
    assert all(torch.equal(compiled, plain) for compiled, plain in zip(*seen)), name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-ms", type=float, default=136.0)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--codecs", default=",".join(CODECS))
    parser.add_argument("--kernels", help="cfx's folder of compiled kernels")
    parser.add_argument("--large-mib", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.kernels:
        print(f"compiled kernels: {library.prepare(args.kernels)}")
    x, target = noise(0), noise(1)
    lossy = {name: codecs.load(name) for name in args.codecs.split(",") if not codecs.load(name).EXACT}
    functions = {("", "copy"): lambda: target.copy_(x)}
    functions |= {(name, row): run for name, codec in lossy.items() for row, run in operations(codec, x).items()}
    compiled = [name for name in lossy if name in COMPILED] if args.kernels and library.load(args.kernels) else []
    for name in compiled:
        check_compiled(name)
        functions |= {(name, row): run for row, run in compiled_operations(name).items()}
    taken = {key: [] for key in functions}
    for _ in range(args.repeats):
        for key, function in functions.items():
            taken[key].append(seconds(function))
    medians = {key: statistics.median(times) for key, times in taken.items()}
    copy = medians["", "copy"]
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, one thread, median of {args.repeats}")
    print(f"{'codec':8} {'operation':18} {'µs':>7} {'copies':>7}")
    for (name, row), median in sorted(medians.items()):
        share = f"  {median * 1e3 / args.step_ms:.1%} of a step of {args.step_ms:.0f} ms" if row.endswith("step") else ""
        print(f"{name:8} {row:18} {median * 1e6:7.0f} {median / copy:7.1f}{share}")
    torch.set_num_threads(args.threads)
    for name in compiled if args.large_mib else ():
        code, copy = large(name, args.large_mib, 5)
        print(f"{name:8} large {args.large_mib} MiB, {args.threads} threads: {code * 1e3:.0f} ms, {code / copy:.2f} copies")


if __name__ == "__main__":
    main()
