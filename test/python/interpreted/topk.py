"""The largest of every 16 channels, without a prediction."""

from case import DTYPES, VALUES, Sent


def some_alike(x):
    x.round_()
    x[:, 1] = -0.0


def topk():
    for base_dtype, order in (("native", 0), ("native", 1), ("int8", 1)):
        of = {"order": order, "base_dtype": base_dtype}
        name = f"topk, order {order}, {base_dtype}"
        for dtype in DTYPES:
            yield f"{name}, {dtype}", Sent("topk", dtype=dtype, tokens=66, **of)
            yield f"{name}, {dtype}, equals and zeros", Sent("topk", dtype=dtype, tokens=9, channels=70, change=some_alike, **of)
        for what, change in VALUES.items():
            yield f"{name}, {what}", Sent("topk", channels=49, change=change, **of)
        for channels in (1, 7, 16, 64, 130, 768, 3072):
            yield f"{name}, {channels} channels", Sent("topk", dtype="bfloat16", tokens=3, channels=channels, own=None, **of)
        yield f"{name}, q, k, v of three ranks", Sent("topk", dtype="bfloat16", ranks=3, sections=3, tokens=130, **of)
        if order:
            yield f"{name}, no feedback", Sent("topk", dtype="float16", feedback=False, **of)
