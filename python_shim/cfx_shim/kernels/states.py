"""A tile's part of a sender's or receiver's state: base and, with order 2, trend; in the tensors' own type or in 8 bits."""

import triton
import triton.language as tl

from . import eight_bit
from .arithmetic import widened
from .placement import scales_of
from .reconstruct import store


@triton.jit
def read_state(
    state,
    block,
    tile,
    tokens,
    place,
    inside,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """For a tile as ``placement.tile_of`` gives it, with order 1 or 2.

    Returns pointers to its base and to its trend (in 8 bits: to its scales), which scales exist, and in float32
    [ROWS, WIDTH] the base and the trend (with order 1: the base again).
    """
    if EIGHT_BIT:
        begin = state + block.to(tl.int64) * tokens * (CHANNELS + (CHANNELS + 31) // 32)
        scale_place, kept = scales_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
        base, trend = begin + place, begin + scale_place
        held, last = eight_bit.read(base, trend, inside, kept, ORDER, ROWS, WIDTH)
    else:
        base = state + block.to(tl.int64) * ORDER * tokens * CHANNELS + place
        trend = base + tl.cast(tokens, tl.int64) * CHANNELS
        kept = inside
        held = widened(tl.load(base, mask=inside, other=0.0), SOFT)
        last = held
        if ORDER == 2:
            last = widened(tl.load(trend, mask=inside, other=0.0), SOFT)
    return base, trend, kept, held, last


@triton.jit
def write_state(
    base,
    trend,
    new,
    change,
    inside,
    kept,
    ORDER: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Put the base ``new`` and the trend ``change`` where ``read_state`` found them."""
    if EIGHT_BIT:
        eight_bit.write(base, trend, new, change, inside, kept, ORDER, ROWS, WIDTH)
    else:
        store(base, new, inside, SOFT)
        if ORDER == 2:
            store(trend, change, inside, SOFT)
