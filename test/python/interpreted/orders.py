"""Residual orders beyond those that a codec is mostly sent with, in Triton's interpreter."""

from case import DTYPES, VALUES, Case, Sent
from steps import Steps


def alone():
    for codec in ("binary", "int2"):
        for dtype in DTYPES:
            yield f"{codec}, order 2, {dtype}", Case(codec, 2, dtype, tokens=66, channels=64)
        yield f"{codec}, order 2, 8-bit state", Case(codec, 2, "bfloat16", tokens=5, channels=70, base_dtype="int8")
    for codec in ("binary", "int2", "topk"):
        # in the middle of a trend's groups of 32 its second part begins
        for channels in (20, 32, 72, 288):
            yield f"{codec}, order 2, {channels} channels", Sent(codec, 2, "bfloat16", channels=channels)
    for what, change in VALUES.items():
        yield f"int2, order 2, {what}", Case("int2", 2, channels=64, change=change)
    three = {"ranks": 3, "own": 1, "sections": 3, "channels": 128}
    sampled = Case("int2", 2, "bfloat16", tokens=150, statistics="sampled", **three)
    yield "int2, order 2, a sample of the tokens, q, k, v of three ranks", sampled
    for codec in ("fp8", "int8", "topk"):
        for dtype in DTYPES:
            yield f"{codec}, order 2, {dtype}", Sent(codec, 2, dtype, tokens=6 if codec == "int8" else 66, channels=70)
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
    for codec in ("int2", "lm1", "tcq1", "tcq2", "ternary", "fp8", "topk"):
        for base_dtype in ("native", "int8"):
            kind = {"channels": 70, "base_dtype": base_dtype, "feedback": False}
            yield f"{codec}, order 2, no feedback, {base_dtype} bases", Sent(codec, 2, "bfloat16", **kind)
    for order in (0, 1):
        yield f"tcq1, order {order}, no feedback", Sent("tcq1", order, "bfloat16", channels=70, feedback=False)


def steps():
    yield "binary, order 2, the step before", Steps("binary", 2, "bfloat16", tokens=5, channels=192, statistics="previous")
    yield "binary, order 2, the step before, 72 channels", Steps("binary", 2, "bfloat16", tokens=5, channels=72, statistics="previous")
    eight = {"tokens": 7, "channels": 70, "base_dtype": "int8", "statistics": "previous"}
    yield "int2, order 2, the step before, 8-bit state", Steps("int2", 2, "float16", **eight)
