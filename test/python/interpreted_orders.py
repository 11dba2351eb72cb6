"""Residual orders beyond those that a codec is mostly sent with, in Triton's interpreter. ``interpreted.py`` runs these cases."""

import torch
from interpreted import DTYPES, POISON, VALUES, Case, Garbage, Steps

from cfx_shim.kernels import ops


class Sent(Garbage):
    """Through the operators, which choose the launches: what is coded, what is decoded, and what no encoder writes."""

    def __init__(self, codec, *arguments, **others):
        super().__init__(codec, *arguments, **others)
        self.name = codec

    def encode(self, xs, states, message, feedback, first, taken):
        ops.encode(xs, states, message, self.offsets, self.own, self.name, self.order, feedback, first, taken, [])

    def decode(self, outs, states, message, *kind):
        ops.decode(outs, states, message, self.offsets, self.own, self.name, self.order, *kind)

    def run(self):
        wrong, flags = Case.run(self) + Garbage.run(self), []
        feedback = self.sections[0].treatment.feedback
        # another launch for these messages may have come before, and seen something
        for first in (True, False):
            message, states = torch.full(self.shape, 1, dtype=torch.uint8), [state.clone() for state in self.states]
            self.encode(self.xs, states, message, feedback, first, "exact")
            flags.append(message[:, -16].tolist())
        expected = [self.eager()[0][:, -16].tolist(), [1] * self.shape[0]]
        return wrong + ([] if flags == expected else [f"flags {flags}; expected {expected}"])


def alone():
    for codec in ("binary", "int2"):
        for dtype in DTYPES:
            yield f"{codec}, order 2, {dtype}", Case(codec, 2, dtype, tokens=66, channels=64)
        yield f"{codec}, order 2, 8-bit state", Case(codec, 2, "bfloat16", tokens=5, channels=70, base_dtype="int8")
    for what, change in VALUES.items():
        yield f"int2, order 2, {what}", Case("int2", 2, channels=64, change=change)
    three = {"ranks": 3, "own": 1, "sections": 3, "channels": 128}
    sampled = Case("int2", 2, "bfloat16", tokens=150, statistics="sampled", **three)
    yield "int2, order 2, a sample of the tokens, q, k, v of three ranks", sampled
    for codec in ("fp8", "int8", "topk"):
        # of topk's channels a trend in two parts would split a stretch
        channels = 64 if codec == "topk" else 70
        for dtype in DTYPES:
            yield f"{codec}, order 2, {dtype}", Sent(codec, 2, dtype, tokens=6 if codec == "int8" else 66, channels=channels)
        yield f"{codec}, order 2, 8-bit state", Sent(codec, 2, "float16", channels=70, base_dtype="int8")
    for codec in ("fp8", "topk"):
        exact = three | {"statistics": "exact"}
        yield f"{codec}, order 2, q, k, v of three ranks", Sent(codec, 2, "bfloat16", tokens=5, **exact)
    for index, (what, change) in enumerate(VALUES.items()):
        # one kernel codes the first two
        for codec in (("fp8", "int8")[index % 2], "topk"):
            yield f"{codec}, order 2, {what}", Sent(codec, 2, channels=64, change=change)
    for codec in ("fp8", "int8"):
        yield f"{codec}, order 1", Sent(codec, 1, "bfloat16", tokens=66, channels=70)
        yield f"{codec}, order 1, 8-bit state", Sent(codec, 1, "float16", channels=70, base_dtype="int8")
        yield f"{codec}, order 1, no feedback", Sent(codec, 1, "bfloat16", feedback=False)


def steps():
    yield "binary, order 2, the step before", Steps("binary", 2, "bfloat16", tokens=5, channels=192, statistics="previous")
    eight = {"tokens": 7, "channels": 70, "base_dtype": "int8", "statistics": "previous"}
    yield "int2, order 2, the step before, 8-bit state", Steps("int2", 2, "float16", **eight)
