"""The launches of ``codecs.topk``: it has no channel scales, so that one launch encodes and one decodes, for all peers; only a
prediction's betas are another one's before.

A row of a program's tile is one token's stretch of WIDTH channels, whole groups of 16 and whole bytes of two positions.
"""

import triton
import triton.language as tl

from .arithmetic import beta_value, narrowed, negated, widened
from .placement import chosen, rank_of, report, tile_of
from .reconstruct import moved
from .states import read_state, write_state

_GROUP = tl.constexpr(16)
_HALF_MAX = tl.constexpr(65504.0)


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
    STRETCHES: tl.constexpr,
    ORDER: tl.constexpr,
    FEEDBACK: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid: tiles of tokens' stretches, blocks, sections. ``counter``: as for ``placement.report``."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, offset = chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2)
    rank = rank_of(block, own)
    payload = message + rank * message_stride + offset
    row, _, _, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, WIDTH, STRETCHES)
    token = (row // STRETCHES).to(tl.int64)[:, None]
    value = tl.load(x + rank * x_block + token * x_token + channel, mask=inside, other=0.0)
    delta = widened(value, SOFT)
    predicted = delta
    if ORDER >= 1:
        base, trend, state_scales, scale_kept, held, last = read_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, x.dtype.element_ty,
            CHANNELS, ROWS, WIDTH, WIDTH, STRETCHES, ORDER, EIGHT_BIT, SOFT, SPLIT,
        )  # fmt: skip
        delta = delta - held
        if ORDER == 2:
            predicted = predicted_change(payload, tokens, channel, inside, last, CHANNELS)
            delta = delta - predicted
    finite = tl.abs(delta) < float("inf")
    stored, position = largest(tl.where(finite, delta, 0.0), ROWS, WIDTH)
    values, value_kept, positions, position_kept = places(tile, tokens, CHANNELS, ROWS, WIDTH, STRETCHES)
    tl.store(payload.to(tl.pointer_type(tl.float16)) + values, stored, mask=value_kept)
    low, high = tl.split(tl.reshape(position, [ROWS, WIDTH // 32, 2]))
    tl.store(payload + positions, (low | (high << 4)).to(tl.uint8), mask=position_kept)
    if ORDER >= 1:
        new, change = moved(held, predicted, spread(stored, position, ROWS, WIDTH), x.dtype.element_ty, ORDER, 1.0)
        if not FEEDBACK:
            new, change = widened(value, SOFT), tl.zeros_like(change)
        write_state(base, trend, state_scales, new, change, inside, scale_kept, ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT, WIDTH, STRETCHES, SPLIT)
    seen = tl.max(tl.max((~finite).to(tl.int32), axis=1), axis=0)
    report(seen, counter, message, message_stride, flags, peers, first)


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
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid as for encode; ``out`` and ``DTYPE`` as for ``decode.decode_kernel``."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    out, state, offset = chosen(section, out0, out1, out2, state0, state1, state2, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    _, _, _, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, WIDTH, STRETCHES)
    values, value_kept, positions, position_kept = places(tile, tokens, CHANNELS, ROWS, WIDTH, STRETCHES)
    stored = tl.load(payload.to(tl.pointer_type(tl.float16)) + values, mask=value_kept, other=0.0)
    both = tl.load(payload + positions, mask=position_kept, other=0).to(tl.int32)
    position = tl.reshape(tl.join(both & 15, both >> 4), [ROWS, WIDTH // _GROUP])
    decoded = spread(stored, position, ROWS, WIDTH)
    out += block.to(tl.int64) * tokens * CHANNELS + place
    if ORDER == 0:
        tl.store(out, narrowed(decoded, DTYPE, SOFT), mask=inside)
    else:
        base, trend, state_scales, scale_kept, held, last = read_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, DTYPE,
            CHANNELS, ROWS, WIDTH, WIDTH, STRETCHES, ORDER, EIGHT_BIT, SOFT, SPLIT,
        )  # fmt: skip
        predicted = held
        if ORDER == 2:
            predicted = predicted_change(payload, tokens, channel, inside, last, CHANNELS)
        new, change = moved(held, predicted, decoded, DTYPE, ORDER, 1.0)
        if EIGHT_BIT or ORDER == 2:
            # a position may lie beyond the last channel
            new, change = tl.where(inside, new, 0.0), tl.where(inside, change, 0.0)
        write_state(base, trend, state_scales, new, change, inside, scale_kept, ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT, WIDTH, STRETCHES, SPLIT)
        if EIGHT_BIT:
            tl.store(out, narrowed(new, DTYPE, SOFT), mask=inside)


@triton.jit
def predicted_change(payload, tokens, channel, inside, last, CHANNELS: tl.constexpr):
    """``last``, a tile of the trend, times the betas behind values and positions."""
    groups: tl.constexpr = (CHANNELS + _GROUP - 1) // _GROUP
    betas = payload + tl.cast(tokens, tl.int64) * (2 * groups + (groups + 1) // 2) + channel
    return last * beta_value(tl.load(betas, mask=inside, other=0).to(tl.int8, bitcast=True))


@triton.jit
def places(
    tile, tokens, CHANNELS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, STRETCHES: tl.constexpr
):  # fmt: skip
    """Where a tile's values [ROWS, WIDTH // 16] are in the payload, in float16, and its positions [ROWS, WIDTH // 32], in
    bytes; each with whether they exist."""
    row = tile * ROWS + tl.arange(0, ROWS)
    token, stretch = (row // STRETCHES)[:, None], (row % STRETCHES)[:, None]
    groups: tl.constexpr = (CHANNELS + _GROUP - 1) // _GROUP
    group = stretch * (WIDTH // _GROUP) + tl.arange(0, WIDTH // _GROUP)[None, :]
    pair = stretch * (WIDTH // 32) + tl.arange(0, WIDTH // 32)[None, :]
    known = token < tokens
    positions = 2 * groups * tl.cast(tokens, tl.int64) + token.to(tl.int64) * ((groups + 1) // 2) + pair
    return token.to(tl.int64) * groups + group, known & (group < groups), positions, known & (2 * pair < groups)


@triton.jit
def largest(delta, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Of each group of a tile of finite float32 the largest magnitude's number, float16, and its place, int32: the first of
    equals. Both [ROWS, WIDTH // 16]."""
    bits = tl.reshape(delta.to(tl.int32, bitcast=True), [ROWS, WIDTH // _GROUP, _GROUP])
    # of magnitudes, the bits rise with the value
    magnitude = bits & 0x7FFFFFFF
    top = tl.max(magnitude, axis=2)
    # a place and, below it, the sign there
    marked = 2 * tl.arange(0, _GROUP)[None, None, :] + ((bits >> 31) & 1)
    found = tl.min(tl.where(magnitude == top[:, :, None], marked, 2 * _GROUP), axis=2)
    size = tl.minimum(top.to(tl.float32, bitcast=True), _HALF_MAX)
    return tl.where((found & 1) == 1, negated(size), size).to(tl.float16), found >> 1


@triton.jit
def spread(stored, position, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """The tile [ROWS, WIDTH] float32 of what ``largest`` gives, or of any bytes; what is no number is 0."""
    value = stored.to(tl.float32)
    value = tl.where(tl.abs(value) < float("inf"), value, 0.0)
    here = tl.arange(0, _GROUP)[None, None, :] == position[:, :, None]
    return tl.reshape(tl.where(here, value[:, :, None], 0.0), [ROWS, WIDTH])
