"""What a keyframe does to a tile's part of a state: the counterpart of ``coding._start``, for sender and receivers alike."""

import triton
import triton.language as tl

from .reconstruct import saturated
from .states import read_state, write_state


@triton.jit
def start_state(
    state,
    block,
    state_block,
    trend_at,
    tile,
    tokens,
    place,
    inside,
    decoded,
    dtype: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    ORDER: tl.constexpr,
    CONTINUES: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SOFT: tl.constexpr,
    SPLIT: tl.constexpr = 0,
):
    """Set the base to ``decoded`` [ROWS, WIDTH] float32, 0 where nothing is ``inside``; returns it as a receiver uses it.

    ``ORDER``: 1 or 2, whether there is a trend: with ``CONTINUES`` how the base changes, else 0. Others as in ``read_state``.
    """
    base, trend, scales, kept, held, _ = read_state(
        state, block, state_block, trend_at, tile, tokens, place, inside, dtype,
        CHANNELS, ROWS, WIDTH, GROUP, GROUPS, ORDER, EIGHT_BIT, SOFT, SPLIT,
    )  # fmt: skip
    change = tl.zeros([ROWS, WIDTH], tl.float32)
    if CONTINUES:
        change = decoded - held
    new = saturated(decoded, dtype)
    write_state(base, trend, scales, new, change, inside, kept, ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT, GROUP, GROUPS, SPLIT)
    if ORDER == 2 and not EIGHT_BIT:
        if tile == 0:
            # what lies between the parts of a block, in memory that nobody may have written to
            of_part: tl.constexpr = (GROUP + 31) // 32
            of_token: tl.constexpr = CHANNELS + of_part + (CHANNELS - GROUP + 31) // 32
            begin = state + block.to(tl.int64) * state_block
            _clear_to_multiple(begin, tl.cast(tokens, tl.int64) * (CHANNELS * (dtype.primitive_bitwidth // 8)))
            _clear_to_multiple(begin + trend_at, tl.cast(tokens, tl.int64) * of_token)
    return new


@triton.jit
def _clear_to_multiple(begin, size):
    """Zeros from ``size`` bytes behind ``begin`` up to the next multiple of 16."""
    byte = size + tl.arange(0, 16)
    tl.store(begin + byte, tl.zeros([16], tl.uint8), mask=byte < (size + 15) // 16 * 16)
