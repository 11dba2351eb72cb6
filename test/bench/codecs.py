"""What a codec costs on this CPU: python test/bench/codecs.py [--step-ms 136] [--repeats 200]

The block is what one rank of the example model sends to one peer under Ulysses 2: 528 tokens by 128 channels, float32.
Rows are medians over interleaved repeats of the thread's own CPU time, which a busy machine inflates little, and their
ratio to copying the same block once. "a step" is everything one rank codes in one step (5 layers, q, k, v, o), run as
one: residual, encode and the sender's own decode into its base, then the receiver's decode into its; its share is of
``--step-ms``, the time of the model's step without cfx on an idle machine.
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

from cfx_shim import codecs  # noqa: E402
from cfx_shim._contract import CODECS  # noqa: E402
from cfx_shim.state import add_decoded_  # noqa: E402

TOKENS, CHANNELS, BLOCKS_A_STEP = 528, 128, 5 * 4


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


def noise(seed):
    return torch.randn(1, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(seed))


def seconds(function):
    began = time.thread_time()
    function()
    return time.thread_time() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-ms", type=float, default=136.0)
    parser.add_argument("--repeats", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    x, target = noise(0), noise(1)
    lossy = {name: codecs.load(name) for name in CODECS if not codecs.load(name).EXACT}
    functions = {("", "copy"): lambda: target.copy_(x)}
    functions |= {(name, row): run for name, codec in lossy.items() for row, run in operations(codec, x).items()}
    taken = {key: [] for key in functions}
    for _ in range(args.repeats):
        for key, function in functions.items():
            taken[key].append(seconds(function))
    medians = {key: statistics.median(times) for key, times in taken.items()}
    copy = medians["", "copy"]
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, one thread, median of {args.repeats}")
    print(f"{'codec':8} {'operation':18} {'µs':>7} {'copies':>7}")
    for (name, row), median in medians.items():
        share = f"  {median * 1e3 / args.step_ms:.1%} of a step of {args.step_ms:.0f} ms" if row == "a step" else ""
        print(f"{name:8} {row:18} {median * 1e6:7.0f} {median / copy:7.1f}{share}")


if __name__ == "__main__":
    main()
