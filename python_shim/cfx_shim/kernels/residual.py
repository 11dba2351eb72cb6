"""What both low ranks begin with: nothing is seen yet, then what base and prediction leave of x, and how large it is."""

import triton
import triton.language as tl

from .arithmetic import beta_value, widened
from .placement import chosen, flag, rank_of, tile_of
from .states import read_state, write_state

_LEAST = tl.constexpr(1.1754943508222875e-38)


@triton.jit
def open_kernel(sums, size, message, message_stride, flags, peers, first, WORDS: tl.constexpr):
    """``sums``, ``size`` words that launches add to, become 0, and with ``first`` the messages' flags. Grid: tiles of words."""
    word = tl.program_id(0) * WORDS + tl.arange(0, WORDS)
    tl.store(sums + word, tl.zeros([WORDS], tl.int32), mask=word < size)
    if (first == 1) & (tl.program_id(0) == 0):
        flag(message, message_stride, flags, peers, 0)


@triton.jit
def scale_of_block(largest, which):
    """Of the bits of its ``largest`` magnitude: float32, none below the least normal number."""
    return tl.maximum(tl.load(largest + which).to(tl.float32, bitcast=True), _LEAST)


@triton.jit
def residual_kernel(
    x0,
    x1,
    x2,
    state0,
    state1,
    state2,
    residual,
    largest,
    message,
    betas0,
    betas1,
    betas2,
    message_stride,
    x_block,
    x_token,
    state_block,
    trend_at,
    flags,
    tokens,
    own,
    peers,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    ORDER: tl.constexpr,
    MEASURES: tl.constexpr,
    WRITES: tl.constexpr,
    FOLLOWS: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """What base and prediction leave of x, 0 for NaN and Inf.

    With ``MEASURES``, ``largest`` [B] becomes the bits of its magnitudes' maximum, block by block, and NaN and Inf set flags;
    what it ``WRITES`` to ``residual`` [B, N, C] then is float32. Without, it is over ``scale_of_block``. The state becomes x if it
    ``FOLLOWS``. Grid: tiles of tokens, blocks, sections. ``betas``: where in a message they are, with order 2.
    """
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, betas = chosen(section, x0, x1, x2, state0, state1, state2, betas0, betas1, betas2)
    row, _, _, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, CHANNELS, 1)
    rank = rank_of(block, own)
    x += rank * x_block + row.to(tl.int64)[:, None] * x_token + channel
    value = widened(tl.load(x, mask=inside, other=0.0), SOFT)
    left = value
    if ORDER >= 1:
        base, trend, scales, kept, held, last = read_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, x.dtype.element_ty,
            CHANNELS, ROWS, WIDTH, CHANNELS, 1, ORDER, EIGHT_BIT, SOFT, SPLIT,
        )  # fmt: skip
        left = left - held
        if ORDER == 2:
            codes = tl.load(message + rank * message_stride + betas + channel, mask=inside, other=0)
            left = left - last * beta_value(codes.to(tl.int8, bitcast=True))
        if FOLLOWS:
            write_state(
                base, trend, scales, value, tl.zeros_like(value), inside, kept,
                ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT, CHANNELS, 1, SPLIT,
            )  # fmt: skip
    finite = tl.abs(left) < float("inf")
    left = tl.where(finite, left, 0.0)
    which = section * tl.num_programs(1) + block
    if MEASURES:
        tl.atomic_max(largest + which, tl.max(tl.max(tl.abs(left).to(tl.int32, bitcast=True), axis=1), axis=0))
        if tl.max(tl.max((~finite).to(tl.int32), axis=1), axis=0) == 1:
            flag(message, message_stride, flags, peers, 1)
    else:
        left = left / scale_of_block(largest, which)
    if WRITES:
        size = tl.cast(tokens, tl.int64) * CHANNELS
        tl.store(residual + which * size + place, left.to(residual.dtype.element_ty), mask=inside)
