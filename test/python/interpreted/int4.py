"""The kernels of ``int4`` in Triton's interpreter against plain torch, bit for bit."""

from case import DTYPES, VALUES
from keyframes import STARTS, Keyframe


def far_from_zero(x):
    """A mean apart in every channel, and groups of channels of many sizes: their scales go down to the smallest one."""
    x += 3
    x[..., ::2] *= 1e4
    x[..., 32:48] *= 1e-12
    x[:, 1, :, :32] = 0


def alone():
    """Without a state a keyframe is like any other send."""
    for dtype in DTYPES:
        yield f"int4, {dtype}", Keyframe("int4", 0, dtype, tokens=66, channels=70, change=far_from_zero)
    for tokens, channels in ((1, 1), (3, 7), (64, 9), (2, 3072)):
        case = Keyframe("int4", 0, "bfloat16", own=None, tokens=tokens, channels=channels, sections=2)
        yield f"int4, {tokens} tokens, {channels} channels", case
    for what, change in VALUES.items():
        yield f"int4, {what}", Keyframe("int4", 0, channels=49, change=change)


def keyframes():
    for (order, base_dtype, continues), dtype in zip(STARTS, list(DTYPES) * len(STARTS)):
        # a state in 8 bits takes whole groups of a part's channels
        channels = 128 if base_dtype == "int8" else 40
        kind = f"order {order}, {base_dtype}, {'continues' if continues else 'starts'}"
        case = Keyframe("int4", order, dtype, channels=channels, base_dtype=base_dtype, continues=continues)
        yield f"int4, keyframe, {kind}, {dtype}", case
    for tokens, channels in ((66, 130), (3, 768)):
        case = Keyframe("int4", 2, "bfloat16", tokens=tokens, channels=channels, change=far_from_zero, continues=True)
        yield f"int4, keyframe, {tokens} tokens, {channels} channels", case
    for what in ("NaN", "beyond float16", "a scale beyond float32"):
        for base_dtype in ("native", "int8"):
            case = Keyframe("int4", 2, channels=64, change=VALUES[what], base_dtype=base_dtype, continues=True)
            yield f"int4, keyframe, {base_dtype}, {what}", case
    case = Keyframe("int4", 2, "float16", change=lambda x: x.mul_(1e5), channels=40, continues=True)
    yield "int4, keyframe, beyond what a float16 base holds", case
    three = {"ranks": 3, "own": 1, "sections": 3, "continues": True}
    yield "int4, keyframe, q, k, v of three ranks", Keyframe("int4", 2, "bfloat16", **three)
