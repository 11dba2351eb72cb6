"""A tile's part of a sender's or receiver's state: base and, with order 2, trend; the base in the tensors' own type and the
trend in 8 bits, or both in 8 bits."""

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
    state_block,
    trend_at,
    tile,
    tokens,
    place,
    inside,
    dtype: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SOFT: tl.constexpr,
    SPLIT: tl.constexpr = 0,
):
    """For a tile as ``placement.tile_of`` gives it, with order 1 or 2.

    ``SPLIT``: 0, or where groups of 32 channels are not whole in a row of the tile, the channel with which they begin anew,
    ``CHANNELS`` where they do not.

    ``state_block``: from one block to the next in elements of ``state``; ``trend_at``: to the trend, in bytes.
    Returns pointers to the tile's base, to its trend and to its scales, which scales exist, and in float32 [ROWS, WIDTH]
    the base and the trend (with order 1: the base again; what there is none of points to the base).
    """
    scale_place, kept = place, inside
    if EIGHT_BIT or ORDER == 2:
        scale_place, kept = scales_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS, SPLIT)
    begin = state + block.to(tl.int64) * state_block
    return read_at(begin, trend_at, place, inside, scale_place, kept, dtype, ROWS, WIDTH, ORDER, EIGHT_BIT, SOFT)


@triton.jit
def read_at(
    begin,
    trend_at,
    place,
    inside,
    scale_place,
    kept,
    dtype: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """``read_state`` of a block's state at ``begin``, where scales are as ``eight_bit.read`` takes them."""
    if EIGHT_BIT:
        base, scales = begin + place, begin + scale_place
        trend = base
        held, last = eight_bit.read(base, scales, inside, kept, ORDER, ROWS, WIDTH)
    else:
        base = begin.to(tl.pointer_type(dtype)) + place
        held = widened(tl.load(base, mask=inside, other=0.0), SOFT)
        if ORDER == 2:
            codes = (begin + trend_at).to(tl.pointer_type(tl.int8))
            trend, scales = codes + place, codes + scale_place
            last, _ = eight_bit.read(trend, scales, inside, kept, 1, ROWS, WIDTH)
        else:
            trend, scales, kept, last = base, base, inside, held
    return base, trend, scales, kept, held, last


@triton.jit
def write_state(
    base,
    trend,
    scales,
    new,
    change,
    inside,
    kept,
    ORDER: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SOFT: tl.constexpr,
    GROUP: tl.constexpr = 0,
    GROUPS: tl.constexpr = 1,
    SPLIT: tl.constexpr = 0,
):
    """Put the base ``new`` and the trend ``change``, 0 where nothing is ``inside``, where ``read_state`` found them."""
    # Which thread loads an element and which one stores it is Triton's choice, access by access. What ``new`` is made of may
    # have come without a base, so no thread stores before all have loaded.
    tl.debug_barrier()
    if EIGHT_BIT:
        eight_bit.write(base, scales, new, change, inside, kept, ORDER, ROWS, WIDTH, GROUP, GROUPS, SPLIT)
    else:
        store(base, new, inside, SOFT)
        if ORDER == 2:
            eight_bit.write(trend, scales, change, change, inside, kept, 1, ROWS, WIDTH, GROUP, GROUPS, SPLIT)
