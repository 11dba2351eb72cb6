"""The launch that ends the encoding of codecs on a trellis: of the levels that a path leaves to each element the nearest, and the
sender's state moves. What is decoded is what a receiver decodes.
"""

import triton
import triton.language as tl

from . import bit_planes
from .arithmetic import beta_value, small_float_value, widened
from .placement import chosen, rank_of, stretch_tile
from .reconstruct import moved, reconstruct
from .states import read_at, write_state
from .trellis import bytes_before, nearest, signs_and_indices, subsets


@triton.jit
def levels_kernel(
    x0,
    x1,
    x2,
    state0,
    state1,
    state2,
    message,
    offset0,
    offset1,
    offset2,
    x_block,
    x_token,
    message_stride,
    state_block,
    trend_at,
    tokens,
    own,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    STRETCHES: tl.constexpr,
    GROUP: tl.constexpr,
    ORDER: tl.constexpr,
    FEEDBACK: tl.constexpr,
    BITS: tl.constexpr,
    LEVELS: tl.constexpr,
    UPPER: tl.constexpr,
    GAIN: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid: tiles as in ``placement.stretch_tile``, blocks, sections; the state moves with orders 1 and 2.

    Of payloads that hold their scales and their trellis plane. ``UPPER``: the upper half of ``LEVELS``.
    """
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, offset = chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2)
    dtype: tl.constexpr = x.dtype.element_ty
    rank = rank_of(block, own)
    payload = message + rank * message_stride + offset
    planes, plane = payload + 2 * tokens + CHANNELS, tokens * ((CHANNELS + 7) // 8)
    row, token, known, channel, there, place, inside, byte, kept, scale_place, scale_kept = stretch_tile(
        tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, 2, STRETCHES, SPLIT
    )
    value = tl.load(x + rank * x_block + token.to(tl.int64)[:, None] * x_token + channel, mask=inside, other=0.0)
    left = widened(value, SOFT)
    predicted = left
    if ORDER >= 1:
        base, trend, state_scales, scale_kept, held, last = read_at(
            state + block.to(tl.int64) * state_block, trend_at, place, inside, scale_place, scale_kept, dtype,
            ROWS, WIDTH, ORDER, EIGHT_BIT, SOFT,
        )  # fmt: skip
        left = left - held
        if ORDER == 2:
            codes = tl.load(planes + BITS * plane + channel, mask=there, other=0)
            predicted = last * beta_value(codes.to(tl.int8, bitcast=True))
            left = left - predicted
    u = small_float_value(tl.load(payload + row, mask=known, other=0).to(tl.int32), U_BIAS)
    v = small_float_value(tl.load(payload + 2 * tokens + channel, mask=there, other=0).to(tl.int32), V_BIAS)
    scale = u[:, None] * v
    bits = tl.load(planes + byte, mask=kept, other=0).to(tl.int32)
    before = bytes_before(planes + byte, byte, kept, CHANNELS)
    if BITS > 1:
        places = nearest(left, scale, subsets(bits, before, ROWS, WIDTH), LEVELS)
        packed = bit_planes.pack(tl.where(inside, places, 0), ROWS, WIDTH)
        for bit in tl.static_range(BITS - 1):
            tl.store(planes + (bit + 1) * plane + byte, ((packed >> (8 * bit)) & 0xFF).to(tl.uint8), mask=kept)
        bits = bits | (packed << 8)
    if ORDER > 0:
        code = bit_planes.unpack(signs_and_indices(bits, before, BITS), ROWS, WIDTH)
        new, change = moved(held, predicted, reconstruct(code, scale, UPPER), dtype, ORDER, GAIN)
        if not FEEDBACK:
            new, change = widened(value, SOFT), tl.zeros_like(change)
        write_state(base, trend, state_scales, new, change, inside, scale_kept, ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT, GROUP, 2, SPLIT)
