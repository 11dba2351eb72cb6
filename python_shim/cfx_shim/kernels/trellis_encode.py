"""The encode launch of codecs on a trellis: one program codes a few tokens of one block, whole rows, and moves the sender's state.

It goes over its tokens three times, for each time needs what the one before has put into the message: scales of tokens; the best
paths; and of the levels that a path leaves to each element the nearest. What it reads again is what it has just read.
"""

import triton
import triton.language as tl

from . import bit_planes
from .arithmetic import beta_value, small_float, small_float_value, sum_over_channels, widened
from .paths import find_paths
from .placement import chosen, flag, rank_of, scales_of, scales_within, stretches_of, tile_of
from .reconstruct import moved, reconstruct
from .states import read_at, write_state
from .trellis import bytes_before, nearest, signs_and_indices, subsets


@triton.jit
def trellis_kernel(
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
    words,
    x_block,
    x_token,
    message_stride,
    state_block,
    trend_at,
    flags,
    tokens,
    own,
    peers,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    TILES: tl.constexpr,
    STRETCH: tl.constexpr,
    STRETCHES: tl.constexpr,
    PATHS: tl.constexpr,
    BLOCKS: tl.constexpr,
    RAGGED: tl.constexpr,
    LANES: tl.constexpr,
    SCALES: tl.constexpr,
    SHIFT_FIRST: tl.constexpr,
    SHIFT_LAST: tl.constexpr,
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
    """Grid: ``TILES`` tiles of tokens, blocks, sections; a tile as in ``encode``, the state moves with orders 1 and 2.

    ``words``: see ``paths``, of all programs one after the other. For ``PATHS``, ``BLOCKS`` and ``RAGGED`` see there too.
    ``SCALES``: whether those of tokens are to be found, or there. ``UPPER``: the upper half of ``LEVELS``.
    """
    program, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, offset = chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2)
    dtype: tl.constexpr = x.dtype.element_ty
    rank = rank_of(block, own)
    payload = message + rank * message_stride + offset
    x += rank * x_block
    begin = state + block.to(tl.int64) * state_block
    row_bytes: tl.constexpr = (CHANNELS + 7) // 8
    planes, plane = payload + 2 * tokens + CHANNELS, tokens * row_bytes
    betas = planes + BITS * plane
    if SCALES:
        seen = tl.cast(0, tl.int32)
        for index in range(TILES):
            tile = program * TILES + index
            row, known, group, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, 2)
            scale_place, there = scales_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, 2, SPLIT)
            base, trend, state_scales, scale_kept, held, predicted, left = _left(
                x, x_token, begin, trend_at, betas, row // 2, channel, place, inside, scale_place, there, dtype,
                CHANNELS, ROWS, WIDTH, ORDER, EIGHT_BIT, SOFT,
            )  # fmt: skip
            v = small_float_value(tl.load(payload + 2 * tokens + channel, mask=inside, other=0).to(tl.int32), V_BIAS)
            shift = tl.where(group == 1, SHIFT_LAST, SHIFT_FIRST)
            rows, columns = sum_over_channels(tl.abs(left), shift), sum_over_channels(v, shift)
            u = tl.where(columns > 0, tl.div_rn(rows, columns), 0.0)
            tl.store(payload + row, small_float(u, U_BIAS).to(tl.uint8), mask=known)
            seen = tl.maximum(seen, tl.max((~(rows < float("inf"))).to(tl.int32), axis=0))
        if seen == 1:
            flag(message, message_stride, flags, peers, 1)
        # what one thread has put into the message another reads
        tl.debug_barrier()
    which = (section * tl.num_programs(1) + block).to(tl.int64) * tl.num_programs(0) + program
    first: tl.constexpr = TILES * ROWS // 2
    find_paths(
        x, x_token, begin, trend_at, payload, betas, planes, words + which * (8 * BLOCKS * LANES),
        program * first, tokens, dtype, CHANNELS, first, GROUP, PATHS, BLOCKS, RAGGED, LANES, ORDER, LEVELS, EIGHT_BIT, U_BIAS, V_BIAS, SOFT,
    )  # fmt: skip
    if BITS > 1 or ORDER > 0:
        height: tl.constexpr = 2048 // STRETCH if STRETCH <= 1024 else 2
        for begins in range(0, first * 2 * STRETCHES, height):
            token, known, part, within, channel, place, inside, byte, kept = stretches_of(
                begins + tl.arange(0, height), program * first, tl.minimum(tokens, (program + 1) * first),
                CHANNELS, STRETCH, GROUP, STRETCHES,
            )  # fmt: skip
            scale_place, there = scales_within(
                token, known, part, within, tokens, CHANNELS, STRETCH, GROUP, 8 if SPLIT > 0 else 32, SPLIT if SPLIT > 0 else GROUP
            )
            base, trend, state_scales, scale_kept, held, predicted, left = _left(
                x, x_token, begin, trend_at, betas, token, channel, place, inside, scale_place, there, dtype,
                CHANNELS, height, STRETCH, ORDER, EIGHT_BIT, SOFT,
            )  # fmt: skip
            u = small_float_value(tl.load(payload + 2 * token + part, mask=known, other=0).to(tl.int32), U_BIAS)
            v = small_float_value(tl.load(payload + 2 * tokens + channel, mask=inside, other=0).to(tl.int32), V_BIAS)
            scale = u[:, None] * v
            bits = tl.load(planes + byte, mask=kept, other=0).to(tl.int32)
            before = bytes_before(planes + byte, byte, kept, CHANNELS)
            if BITS > 1:
                places = nearest(left, scale, subsets(bits, before, height, STRETCH), LEVELS)
                packed = bit_planes.pack(tl.where(inside, places, 0), height, STRETCH)
                for bit in tl.static_range(BITS - 1):
                    tl.store(planes + (bit + 1) * plane + byte, ((packed >> (8 * bit)) & 0xFF).to(tl.uint8), mask=kept)
                bits = bits | (packed << 8)
            if ORDER > 0:
                code = bit_planes.unpack(signs_and_indices(bits, before, BITS), height, STRETCH)
                new, change = moved(held, predicted, reconstruct(code, scale, UPPER), dtype, ORDER, GAIN)
                if not FEEDBACK:
                    value = tl.load(x + token.to(tl.int64)[:, None] * x_token + channel, mask=inside, other=0.0)
                    new, change = widened(value, SOFT), tl.zeros_like(change)
                write_state(base, trend, state_scales, new, change, inside, scale_kept, ORDER, height, STRETCH, EIGHT_BIT, SOFT, GROUP, 2, SPLIT)


@triton.jit
def _left(
    x,
    x_token,
    begin,
    trend_at,
    betas,
    token,
    channel,
    place,
    inside,
    scale_place,
    there,
    dtype: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Of a tile what ``read_state`` says of its state but the trend, the prediction, and what these leave of ``x``, float32."""
    left = widened(tl.load(x + token.to(tl.int64)[:, None] * x_token + channel, mask=inside, other=0.0), SOFT)
    base, trend, state_scales, scale_kept, held, predicted = x, x, x, inside, left, left
    if ORDER >= 1:
        base, trend, state_scales, scale_kept, held, last = read_at(
            begin, trend_at, place, inside, scale_place, there, dtype,
            ROWS, WIDTH, ORDER, EIGHT_BIT, SOFT,
        )  # fmt: skip
        left = left - held
        if ORDER == 2:
            codes = tl.load(betas + channel, mask=inside, other=0)
            predicted = last * beta_value(codes.to(tl.int8, bitcast=True))
            left = left - predicted
    return base, trend, state_scales, scale_kept, held, predicted, left
