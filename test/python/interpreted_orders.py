"""Residual orders beyond those that a codec is mostly sent with, in Triton's interpreter. ``interpreted.py`` runs these cases."""

from interpreted import DTYPES, VALUES, Case, Steps


def alone():
    for codec in ("binary", "int2"):
        for dtype in DTYPES:
            yield f"{codec}, order 2, {dtype}", Case(codec, 2, dtype, tokens=66, channels=64)
        yield f"{codec}, order 2, 8-bit state", Case(codec, 2, "bfloat16", tokens=5, channels=70, base_dtype="int8")
    for what, change in VALUES.items():
        yield f"int2, order 2, {what}", Case("int2", 2, channels=64, change=change)
    three = {"ranks": 3, "own": 1, "sections": 3, "channels": 128, "statistics": "sampled"}
    yield "int2, order 2, a sample of the tokens, q, k, v of three ranks", Case("int2", 2, "bfloat16", tokens=150, **three)


def steps():
    yield "binary, order 2, the step before", Steps("binary", 2, "bfloat16", tokens=5, channels=192, statistics="previous")
    eight = {"tokens": 7, "channels": 70, "base_dtype": "int8", "statistics": "previous"}
    yield "int2, order 2, the step before, 8-bit state", Steps("int2", 2, "float16", **eight)
