"""The kernels of the paper's low rank in Triton's interpreter, compared as ``low_rank``'s are."""

from case import DTYPES, VALUES
from low_rank import LowRank, Messages

from cfx_shim.kernels import subspace_launch


class Subspace(LowRank):
    launch, worse = subspace_launch, 1.01


def depends(x):
    """Fewer independent rows than there are ranks, and one that is nearly so."""
    x[:, 3:] = x[:, :1] * 2
    x[:, -1] += 1e-4 * x[:, 1]


def falls(x):
    """Of sizes that a float32's Gram matrix would not tell from 0."""
    x *= 10 ** -(8 * (x[..., :1] - x[..., :1]).add(1).cumsum(dim=1) / x.shape[1])


def cases():
    yield "lowrank_int4_r8, messages", Messages("lowrank_int4_r8", 1, "bfloat16", 3, 1, tokens=20, channels=70, sections=2)
    for codec in ("lowrank", "lowrank_int4"):
        for order, dtype in zip((0, 1, 1), DTYPES):
            yield f"{codec}_r8, order {order}, {dtype}", Subspace(f"{codec}_r8", order, dtype, tokens=70, channels=97)
        yield f"{codec}_r32, 1 channel", Subspace(f"{codec}_r32", 1, "bfloat16", tokens=37, channels=1, own=None)
        yield (
            f"{codec}_r8, bases in 8 bits",
            Subspace(f"{codec}_r8", 1, "float16", 3, 1, tokens=70, channels=97, sections=2, base_dtype="int8"),
        )
        for base_dtype in ("native", "int8"):
            of = {"tokens": 70, "channels": 97, "base_dtype": base_dtype}
            yield f"{codec}_r8, order 2, {base_dtype} bases", Subspace(f"{codec}_r8", 2, "bfloat16", **of)
        yield f"{codec}_r8, order 2, no feedback", Subspace(f"{codec}_r8", 2, "float16", tokens=20, channels=50, feedback=False)
        for what, change in (("few independent rows", depends), ("sizes of 8 orders", falls)):
            yield f"{codec}_r8, {what}", Subspace(f"{codec}_r8", 0, tokens=20, channels=50, change=change)
    for what, change in VALUES.items():
        yield f"lowrank_r8, {what}", Subspace("lowrank_r8", 0, tokens=20, channels=50, change=change)
    for what in ("NaN", "all zero", "denormal", "beyond float16"):
        yield f"lowrank_int4_r8, {what}", Subspace("lowrank_int4_r8", 0, tokens=20, channels=50, change=VALUES[what])
    yield "lowrank_int4_r32, every rank", Subspace("lowrank_int4_r32", 1, "bfloat16", 1, None, tokens=33, channels=130)
    yield "lowrank_r16, q, k, v of three ranks", Subspace("lowrank_r16", 1, "float16", 3, 1, tokens=20, channels=40, sections=3)
    yield "lowrank_int4_b16, rank 3", Subspace("lowrank_int4_b16", 1, "bfloat16", tokens=200, channels=180)
