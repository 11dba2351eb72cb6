"""The encode launch: one program codes a few tokens of one block, whole rows, and moves the sender's state.

A token's scale needs its row and the channels' scales, which the statistics launch has put into the message or the
launch before this one into the sender's history.
"""

import triton
import triton.language as tl

from . import bit_planes, digits
from .arithmetic import (
    beta_value,
    half_scale,
    small_float,
    small_float_value,
    sum_over_channels,
    widened,
)
from .history import history_of, put_leaves, put_products
from .means import means_at
from .placement import chosen, flag, rank_of, report, tile_of
from .reconstruct import moved, reconstruct
from .starts import start_state
from .states import read_state, write_state


@triton.jit
def encode_kernel(
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
    history0,
    history1,
    history2,
    leaves,
    counter,
    x_block,
    x_token,
    message_stride,
    state_block,
    trend_at,
    flags,
    tokens,
    taken,
    stride,
    own,
    peers,
    first,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    SHIFT_FIRST: tl.constexpr,
    SHIFT_LAST: tl.constexpr,
    ORDER: tl.constexpr,
    FEEDBACK: tl.constexpr,
    HALF_SCALES: tl.constexpr,
    BITS: tl.constexpr,
    CODE_BYTES: tl.constexpr,
    WHOLES: tl.constexpr,
    LAST: tl.constexpr,
    TRELLIS: tl.constexpr,
    LEVELS: tl.constexpr,
    THRESHOLDS: tl.constexpr,
    GAIN: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
    SOFT: tl.constexpr,
    PREVIOUS: tl.constexpr,
    KEEPS: tl.constexpr,
    HISTORY: tl.constexpr,
    MIDDLE: tl.constexpr,
    SHIFT_EARLY: tl.constexpr,
    SHIFT_LATE: tl.constexpr,
    MEAN_MAGNITUDE: tl.constexpr,
    MEANS: tl.constexpr,
    STARTS: tl.constexpr,
    CONTINUES: tl.constexpr,
):
    """Grid: tiles of tokens, blocks, sections. A row of the tile [ROWS, WIDTH] is one token's group of channels.

    ``PREVIOUS``: no launch came before this one, channel scales and beta are the history's of ``HISTORY`` bytes a block, and with
    ``counter`` as ``placement.report`` takes it. ``KEEPS``: of the ``taken`` tokens that are ``stride`` apart ``leaves`` are kept for
    the next history, see ``history``. ``MEANS``: see ``means``. ``STARTS``: of what residual order the state
    is that what is coded starts, or 0; with it ``ORDER`` is 0 and ``CONTINUES`` as in ``starts``. ``TRELLIS``: this launch writes
    the scales, and the one after it codes.
    """
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, offset = chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2)
    rank = rank_of(block, own)
    payload = message + rank * message_stride + offset
    history = history_of(section, block, history0, history1, history2, HISTORY)
    row, known, group, channel, place, inside, byte, kept = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
    token = row // GROUPS
    value = tl.load(x + rank * x_block + token.to(tl.int64)[:, None] * x_token + channel, mask=inside, other=0.0)
    delta = widened(value, SOFT)
    predicted = delta
    scales = (2 if HALF_SCALES else 1) * (GROUPS * tokens + CHANNELS)
    mean = tl.cast(0.0, tl.float32)
    if MEANS > 0:
        mean = means_at(payload + scales + tokens * CODE_BYTES, channel, inside, MEANS)
        delta = delta - mean
    if ORDER >= 1:
        base, trend, state_scales, scale_kept, held, last = read_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, x.dtype.element_ty,
            CHANNELS, ROWS, WIDTH, GROUP, GROUPS, ORDER, EIGHT_BIT, SOFT, SPLIT,
        )  # fmt: skip
        delta = delta - held
    shift = tl.where(group == GROUPS - 1, SHIFT_LAST, SHIFT_FIRST)
    # of the first token's rows: what is the same for all tokens is put down once
    first_row = inside & (token == 0)[:, None]
    lane = token
    sampled = known
    if KEEPS:
        lane = token // stride
        sampled = known & (token % stride == 0) & (lane < taken)
    if ORDER == 2:
        if KEEPS:
            if tl.max(sampled.to(tl.int32), axis=0) == 1:
                put_products(
                    leaves, section, block, taken, lane, sampled, delta, last, group, shift, channel,
                    CHANNELS, GROUPS, MIDDLE, SHIFT_EARLY, SHIFT_LATE,
                )  # fmt: skip
        betas = payload + scales + tokens * CODE_BYTES + channel
        if PREVIOUS:
            codes = tl.load(history + (2 if HALF_SCALES else 1) * CHANNELS)
            if tile == 0:
                tl.store(betas, tl.zeros([ROWS, WIDTH], tl.uint8) + codes, mask=first_row)
        else:
            codes = tl.load(betas, mask=inside, other=0)
        predicted = last * beta_value(codes.to(tl.int8, bitcast=True))
        delta = delta - predicted
    if KEEPS:
        if tl.max(sampled.to(tl.int32), axis=0) == 1:
            put_leaves(leaves, section, block, taken, lane, sampled, delta, channel, inside, CHANNELS, HALF_SCALES)
    stored_v = payload + (2 if HALF_SCALES else 1) * GROUPS * tokens
    given_v = stored_v
    if PREVIOUS:
        given_v = history
    if HALF_SCALES:
        v = tl.load(given_v.to(tl.pointer_type(tl.float16)) + channel, mask=inside, other=0.0)
        if PREVIOUS:
            if tile == 0:
                tl.store(stored_v.to(tl.pointer_type(tl.float16)) + channel, v, mask=first_row)
        v = v.to(tl.float32)
    else:
        v = tl.load(given_v + channel, mask=inside, other=0)
        if PREVIOUS:
            if tile == 0:
                tl.store(stored_v + channel, v, mask=first_row)
        v = small_float_value(v.to(tl.int32), V_BIAS)
    magnitude = tl.abs(delta)
    rows, columns = sum_over_channels(magnitude, shift), sum_over_channels(v, shift)
    finite = rows < float("inf")
    u = tl.where(columns > 0, tl.div_rn(rows, columns), 0.0)
    if HALF_SCALES:
        stored = half_scale(u)
        tl.store(payload.to(tl.pointer_type(tl.float16)) + row, stored, mask=known)
        u = stored.to(tl.float32)
    else:
        stored = small_float(u, U_BIAS)
        tl.store(payload + row, stored.to(tl.uint8), mask=known)
        u = small_float_value(stored, U_BIAS)
    if not TRELLIS:
        scale = u[:, None] * v
        code = tl.zeros([ROWS, WIDTH], tl.int32)
        for index in tl.static_range(len(THRESHOLDS)):
            code += (magnitude >= scale * THRESHOLDS[index]).to(tl.int32)
        code = (code << 1) | (delta >= 0).to(tl.int32)
        if BITS == 0:
            code = tl.maximum(code, 1)
            digits.put(
                payload + scales, code, tile, tokens, inside, byte, kept, CHANNELS, ROWS, WIDTH, GROUP, WHOLES, LAST
            )  # fmt: skip
        else:
            rest, plane = payload + scales + byte, tokens * ((CHANNELS + 7) // 8)
            for bit in tl.static_range(BITS):
                if bit % 4 == 0:
                    part = code
                    if BITS > 4:
                        part = (code >> bit) & 15
                    words = bit_planes.pack(tl.where(inside, part, 0), ROWS, WIDTH)
                tl.store(rest + bit * plane, ((words >> (8 * (bit % 4))) & 0xFF).to(tl.uint8), mask=kept)
        if STARTS >= 1:
            start_state(
                state, block, state_block, trend_at, tile, tokens, place, inside, reconstruct(code, scale, LEVELS) + mean,
                x.dtype.element_ty, CHANNELS, ROWS, WIDTH, GROUP, GROUPS, STARTS, CONTINUES, EIGHT_BIT, SOFT, SPLIT,
            )  # fmt: skip
        if ORDER >= 1:
            decoded = reconstruct(code, scale, LEVELS)
            new, change = moved(held, predicted, decoded, x.dtype.element_ty, ORDER, GAIN)
            if not FEEDBACK:
                new, change = widened(value, SOFT), tl.zeros_like(change)
            write_state(base, trend, state_scales, new, change, inside, scale_kept, ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT, GROUP, GROUPS, SPLIT)
    seen = tl.max((~finite).to(tl.int32), axis=0)
    if PREVIOUS:
        report(seen, counter, message, message_stride, flags, peers, first)
    elif seen == 1:
        flag(message, message_stride, flags, peers, 1)
