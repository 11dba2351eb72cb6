"""The decode launch: all peers' blocks of all sections, each receiver's state moved in place."""

import triton
import triton.language as tl

from . import bit_planes, digits, trellis
from .arithmetic import beta_value, half_scale_value, narrowed, small_float_value
from .means import means_at
from .placement import chosen, rank_of, stretch_tile
from .reconstruct import moved, reconstruct
from .starts import start_state
from .states import read_at, write_state


@triton.jit
def decode_kernel(
    out0,
    out1,
    out2,
    state0,
    state1,
    state2,
    message,
    offset0,
    offset1,
    offset2,
    message_stride,
    state_block,
    trend_at,
    tokens,
    own,
    DTYPE: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    STRETCHES: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    ORDER: tl.constexpr,
    HALF_SCALES: tl.constexpr,
    BITS: tl.constexpr,
    CODE_BYTES: tl.constexpr,
    WHOLES: tl.constexpr,
    LAST: tl.constexpr,
    TRELLIS: tl.constexpr,
    LEVELS: tl.constexpr,
    GAIN: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
    MEANS: tl.constexpr,
    STARTS: tl.constexpr,
    CONTINUES: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid: tiles as in ``placement.stretch_tile``, blocks, sections; constants as for encode. ``out`` takes [B, N, C] without a state
    and beside one in 8 bits; else the base is the result.

    ``DTYPE``: the tensors' own.
    """
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    out, state, offset = chosen(section, out0, out1, out2, state0, state1, state2, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    row, _, known, channel, there, place, inside, byte, kept, scale_place, scale_kept = stretch_tile(
        tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS, STRETCHES, SPLIT
    )
    scales = (2 if HALF_SCALES else 1) * (GROUPS * tokens + CHANNELS)
    if HALF_SCALES:
        u = half_scale_value(tl.load(payload.to(tl.pointer_type(tl.float16)) + row, mask=known, other=0.0))
        v = tl.load((payload + 2 * GROUPS * tokens).to(tl.pointer_type(tl.float16)) + channel, mask=there, other=0.0)
        v = half_scale_value(v)
    else:
        u = small_float_value(tl.load(payload + row, mask=known, other=0).to(tl.int32), U_BIAS)
        v = small_float_value(tl.load(payload + GROUPS * tokens + channel, mask=there, other=0).to(tl.int32), V_BIAS)
    if BITS == 0:
        code = digits.take(payload + scales, tile, tokens, row, byte, kept, CHANNELS, ROWS, WIDTH, GROUP, WHOLES, LAST)
    else:
        rest, plane = payload + scales + byte, tokens * ((CHANNELS + 7) // 8)
        code = tl.zeros([ROWS, WIDTH], tl.int32)
        for bit in tl.static_range(BITS):
            if bit % 4 == 0:
                words = tl.zeros([ROWS, WIDTH // 8], tl.int32)
            words |= tl.load(rest + bit * plane, mask=kept, other=0).to(tl.int32) << (8 * (bit % 4))
            if TRELLIS and bit == BITS - 1:
                words = trellis.signs_and_indices(words, trellis.bytes_before(rest, byte, kept, CHANNELS), BITS)
            if bit % 4 == 3 or bit == BITS - 1:
                code |= bit_planes.unpack(words, ROWS, WIDTH) << (bit // 4 * 4)
    decoded = reconstruct(code, u[:, None] * v, LEVELS)
    if MEANS > 0:
        decoded = decoded + means_at(payload + scales + tokens * CODE_BYTES, channel, there, MEANS)
    out += block.to(tl.int64) * tokens * CHANNELS + place
    if STARTS >= 1:
        new = start_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, decoded, DTYPE,
            CHANNELS, ROWS, WIDTH, GROUP, GROUPS, STARTS, CONTINUES, EIGHT_BIT, SOFT, SPLIT,
        )  # fmt: skip
        if EIGHT_BIT:
            tl.store(out, narrowed(new, DTYPE, SOFT), mask=inside)
    elif ORDER == 0:
        tl.store(out, narrowed(decoded, DTYPE, SOFT), mask=inside)
    else:
        base, trend, state_scales, scale_kept, held, last = read_at(
            state + block.to(tl.int64) * state_block, trend_at, place, inside, scale_place, scale_kept, DTYPE,
            ROWS, WIDTH, ORDER, EIGHT_BIT, SOFT,
        )  # fmt: skip
        predicted = held
        if ORDER == 2:
            codes = tl.load(payload + scales + tokens * CODE_BYTES + channel, mask=there, other=0)
            predicted = last * beta_value(codes.to(tl.int8, bitcast=True))
        new, change = moved(held, predicted, decoded, DTYPE, ORDER, GAIN)
        if EIGHT_BIT or ORDER == 2:
            new, change = tl.where(inside, new, 0.0), tl.where(inside, change, 0.0)
        write_state(base, trend, state_scales, new, change, inside, scale_kept, ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT, GROUP, GROUPS, SPLIT)
        if EIGHT_BIT:
            tl.store(out, narrowed(new, DTYPE, SOFT), mask=inside)
