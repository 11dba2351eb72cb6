"""What Python spends on a call's launches: asking Triton for kernels every time, and made again as ``kernels.repeat`` does.

    python test/bench/launch_time.py

Runs with the interpreter that ``npx cfx setup --print-python`` prints. Needs no GPU: kernels are found and compiled by Triton, but
the driver is a stub that launches nothing, so what a real one takes comes on top, for both alike. Medians of one thread's CPU
time, in turn; two sections of 4 x 1088 x 256 in bf16.
"""

import os
import statistics
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path[:0] = [os.path.join(ROOT, "python_shim"), os.path.join(ROOT, "test", "python")]

import torch  # noqa: E402
import triton  # noqa: E402
from stub_driver import Driver  # noqa: E402

from cfx_shim import state  # noqa: E402
from cfx_shim.kernels import formats, ops  # noqa: E402

CODECS = (("binary", 1), ("lm2", 2), ("tcq2", 2), ("fp8", 0), ("lowrank_fit_b16", 1))
BLOCKS, TOKENS, CHANNELS, OFFSETS, ROUNDS = 4, 1088, 256, [0, 1 << 20], 200


def main():
    torch.set_num_threads(1)
    triton.runtime.driver.set_active(Driver())
    print(f"µs a call: asked every time, made again (torch {torch.__version__}, Triton {triton.__version__})")
    x = torch.randn(BLOCKS, TOKENS, CHANNELS).bfloat16()
    for codec, order in CODECS:
        layout = state.layout(state.NATIVE, order, TOKENS, CHANNELS, x.dtype) if order else None
        states = [torch.zeros(layout.shape(BLOCKS), dtype=layout.stored) for _ in OFFSETS] if order else []
        message, how = torch.zeros(BLOCKS, 4 << 20, dtype=torch.uint8), {"offsets": OFFSETS, "own": formats.NOBODY, "codec": codec, "order": order}
        sender = ops.Encoding([x, x], states, message, feedback=True, first=True, statistics="exact", histories=[], **how)
        receiver = ops.Decoding(states, message, tokens=TOKENS, channels=CHANNELS, dtype=x.dtype, **how)
        for end, call, given in (("encode", sender, [x, x]), ("decode", receiver, [] if order else [x, x])):
            # what is repeated, and what repeats it
            asked, again = (statistics.median(each) for each in taken(call._call._call, call, given))
            print(f"{codec:16} {end}   {asked:6.1f}   {again:6.1f}   {asked / again:5.1f} ×", flush=True)


def taken(*calls_and_given):
    *calls, given = calls_and_given
    times = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, found in zip(calls, times):
            began = time.thread_time_ns()
            call(given)
            found.append((time.thread_time_ns() - began) / 1e3)
            Driver.launched.clear()
    return times


if __name__ == "__main__":
    main()
