"""The launches of codecs with one scale a token and a byte an element: they have no channel scales, so that one launch encodes
and one decodes, for all peers; only a prediction's betas are another one's before. What they code may start a state.

A program holds a few whole rows, so that what it codes is read once. A row of its tile is a token's channels, or one of
the two parts in which a state keeps them (``in_parts`` of ``per_token_launch``).
"""

import triton
import triton.language as tl

from .arithmetic import (
    beta_value,
    float_byte,
    float_byte_value,
    narrowed,
    over_scale,
    token_scale,
    token_scale_value,
    whole_byte,
    whole_byte_value,
    widened,
)
from .placement import chosen, rank_of, report, tile_of
from .reconstruct import moved
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
    counter,
    x_block,
    x_token,
    message_stride,
    state_block,
    trend_at,
    flags,
    tokens,
    own,
    peers,
    first,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    STARTS: tl.constexpr,
    CONTINUES: tl.constexpr,
    ORDER: tl.constexpr,
    FEEDBACK: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    MOST: tl.constexpr,
    BOUND: tl.constexpr,
    FLOATS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid: tiles of tokens, blocks, sections. ``counter``: one int64, 0 between launches. ``STARTS``, ``CONTINUES``, ``ORDER``
    and ``FEEDBACK``: see ``encode.encode_kernel``.
    """
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, offset = chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2)
    rank = rank_of(block, own)
    payload = message + rank * message_stride + offset
    row, known, part, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
    token = row // GROUPS
    x += rank * x_block + token.to(tl.int64)[:, None] * x_token + channel
    value = widened(tl.load(x, mask=inside, other=0.0), SOFT)
    delta = value
    predicted = value
    if ORDER >= 1:
        base, trend, state_scales, scale_kept, held, last = read_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, x.dtype.element_ty,
            CHANNELS, ROWS, WIDTH, GROUP, GROUPS, ORDER, EIGHT_BIT, SOFT,
        )  # fmt: skip
        delta = value - held
        if ORDER == 2:
            predicted = predicted_change(payload, tokens, channel, inside, last, CHANNELS)
            delta = delta - predicted
    # of magnitudes, the bits rise with the value, NaN above all
    largest = tl.max(tl.abs(delta).to(tl.int32, bitcast=True), axis=1)
    if GROUPS == 2:
        both = tl.max(tl.reshape(largest, [ROWS // 2, 2]), axis=1)
        largest = tl.reshape(tl.broadcast_to(both[:, None], [ROWS // 2, 2]), [ROWS])
    largest = largest.to(tl.float32, bitcast=True)
    finite = largest < float("inf")
    bits = token_scale(tl.where(finite, largest, 0.0), MOST)
    tl.store(payload.to(tl.pointer_type(tl.int16)) + token, bits.to(tl.int16), mask=known & (part == 0))
    scale = token_scale_value(bits, BOUND)[:, None]
    # what is left of a base has more bits than the tensor
    relative = over_scale(delta, scale, ORDER == 0 and x.dtype.element_ty.primitive_bitwidth == 16)
    code = float_byte(relative, MOST) if FLOATS else whole_byte(relative, MOST)
    tl.store(payload + 2 * tokens + place, code.to(tl.uint8), mask=inside)
    if ORDER >= 1:
        decoded = value_of(code & 0xFF, FLOATS) * scale
        new, change = moved(held, predicted, decoded, x.dtype.element_ty, ORDER, 1.0)
        if not FEEDBACK:
            new, change = value, tl.zeros_like(change)
        write_state(base, trend, state_scales, new, change, inside, scale_kept, ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT)
    if STARTS >= 1:
        start_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, value_of(code & 0xFF, FLOATS) * scale,
            x.dtype.element_ty, CHANNELS, ROWS, WIDTH, GROUP, GROUPS, STARTS, CONTINUES, EIGHT_BIT, SOFT,
        )  # fmt: skip
    report(tl.max((~finite).to(tl.int32), axis=0), counter, message, message_stride, flags, peers, first)


@triton.jit
def predicted_change(payload, tokens, channel, inside, last, CHANNELS: tl.constexpr):
    """``last``, a tile of the trend, times the betas behind the codes."""
    betas = payload + tl.cast(tokens, tl.int64) * (CHANNELS + 2) + channel
    return last * beta_value(tl.load(betas, mask=inside, other=0).to(tl.int8, bitcast=True))


@triton.jit
def value_of(code, FLOATS: tl.constexpr):
    """float32 of a byte in int32."""
    return float_byte_value(code) if FLOATS else whole_byte_value(code)


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
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    STARTS: tl.constexpr,
    CONTINUES: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    MOST: tl.constexpr,
    BOUND: tl.constexpr,
    FLOATS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid and constants as for encode; ``out`` and ``DTYPE`` as in ``decode.decode_kernel``."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    out, state, offset = chosen(section, out0, out1, out2, state0, state1, state2, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    row, known, _, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
    bits = tl.load(payload.to(tl.pointer_type(tl.int16)) + row // GROUPS, mask=known, other=0).to(tl.int32)
    code = tl.load(payload + 2 * tokens + place, mask=inside, other=0).to(tl.int32)
    decoded = value_of(code, FLOATS) * token_scale_value(bits, BOUND)[:, None]
    out += block.to(tl.int64) * tokens * CHANNELS + place
    if STARTS >= 1:
        decoded = start_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, decoded, DTYPE,
            CHANNELS, ROWS, WIDTH, GROUP, GROUPS, STARTS, CONTINUES, EIGHT_BIT, SOFT,
        )  # fmt: skip
    if ORDER >= 1:
        base, trend, state_scales, scale_kept, held, last = read_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, DTYPE,
            CHANNELS, ROWS, WIDTH, GROUP, GROUPS, ORDER, EIGHT_BIT, SOFT,
        )  # fmt: skip
        predicted = held
        if ORDER == 2:
            predicted = predicted_change(payload, tokens, channel, inside, last, CHANNELS)
        decoded, change = moved(held, predicted, decoded, DTYPE, ORDER, 1.0)
        write_state(base, trend, state_scales, decoded, change, inside, scale_kept, ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT)
    if STARTS + ORDER == 0 or EIGHT_BIT:
        tl.store(out, narrowed(decoded, DTYPE, SOFT), mask=inside)
