"""The launches of ``codecs.lowrank`` and ``codecs.lowrank_int4`` beside matrix products: orthonormal factors, and what is stored of
them.

Only the sender searches. U·Uᵀ·x depends on the span of U alone, and of a matrix Y the columns of Y·T with T from a Cholesky
factor of YᵀY span what those of its QR factorisation do. Factors [B, L, K] have the power of two of columns from the
rank on, of which those past the rank are 0. Blocks of all sections lie one after the other.
"""

import triton
import triton.language as tl

from .placement import chosen, flag, rank_of
from .residual import scale_of_block

_HALF_MAX = tl.constexpr(65504.0)
# adding and taking it away rounds a float32 below 2^22 to the nearest even integer
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def start_kernel(start, largest, v, size, WORDS: tl.constexpr):
    """``v`` [B, C, K] float32: ``start`` [C, K], of ``size`` numbers, over the root of ``scale_of_block``. Grid: tiles, blocks."""
    word, block = tl.program_id(0) * WORDS + tl.arange(0, WORDS), tl.program_id(1).to(tl.int64)
    value = tl.load(start + word, mask=word < size, other=0.0) / tl.sqrt(scale_of_block(largest, block))
    tl.store(v + block * size + word, value, mask=word < size)


@triton.jit
def factor_kernel(gram, largest, factor, rank, DIVIDES: tl.constexpr, SHIFT: tl.constexpr, K: tl.constexpr):
    """``factor`` [B, K, K] float32: Tᵀ, for which the columns of Y·T are orthonormal, of YᵀY in ``gram`` [B, K, K] float64.

    Columns are scaled to a length of 1 first, and ``SHIFT`` is added to the squares of these lengths, so that those which depend
    on others leave something small, but no NaN; whoever needs better does it twice. ``DIVIDES``: T over the root of
    ``scale_of_block``. Grid: blocks.
    """
    block = tl.program_id(0).to(tl.int64)
    row, column = tl.arange(0, K)[:, None], tl.arange(0, K)[None, :]
    square = block * K * K + row * K + column
    down, across = _inverse_length(gram, block, row, K), _inverse_length(gram, block, column, K)
    # what is left to factor; and in the columns that are done, below the diagonal, the inverse of the lower factor
    left = (tl.load(gram + square) * down * across).to(tl.float32)
    left = tl.where(row == column, 1.0 + SHIFT, left)
    scale = tl.full([K, 1], 1.0, tl.float32)
    for component in tl.range(0, rank, num_stages=1, loop_unroll_factor=1):
        of_row = tl.sum(tl.where(row == component, left, 0.0), axis=0)[None, :]
        of_column = tl.sum(tl.where(column == component, left, 0.0), axis=1)[:, None]
        pivot = tl.maximum(tl.sum(tl.where(column == component, of_row, 0.0), axis=1), SHIFT)[:, None]
        share = tl.where(row > component, of_column / pivot, 0.0)
        left = tl.where((column == component) & (row > component), -share, left - share * of_row)
        scale = tl.where(row == component, tl.sqrt((1.0 + SHIFT) / pivot), scale)
    found = tl.where(column < row, left, tl.where(column == row, 1.0, 0.0)) * scale * across.to(tl.float32)
    if DIVIDES:
        found = found / tl.sqrt(scale_of_block(largest, block))
    tl.store(factor + square, found)


@triton.jit
def _inverse_length(gram, block, component, K: tl.constexpr):
    length = tl.sqrt(tl.load(gram + block * K * K + component * (K + 1)))
    # of a block below 1e-30 nothing is left in a float16, and of others' columns what is so short is a rounding error
    return tl.where(length > 1e-15, 1.0 / length, 0.0)


@triton.jit
def _half(value):
    """float16, at most its largest; NaN as it is."""
    return tl.where(value == value, tl.minimum(tl.maximum(value, -_HALF_MAX), _HALF_MAX), value).to(tl.float16)


@triton.jit
def pack_kernel(
    u,
    v,
    message,
    offset0,
    offset1,
    offset2,
    message_stride,
    flags,
    tokens,
    channels,
    own,
    peers,
    rank,
    ROWS: tl.constexpr,
    K: tl.constexpr,
):
    """Payloads of ``lowrank``. Grid: tiles of rows of ``u`` [B, N, K], then of ``v`` [B, C, K], blocks, sections."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    _, _, offset = chosen(section, u, u, u, u, u, u, offset0, offset1, offset2)
    payload = (message + rank_of(block, own) * message_stride + offset).to(tl.pointer_type(tl.float16))
    which = (section * tl.num_programs(1) + block).to(tl.int64)
    component, tiles_of_u = tl.arange(0, K)[None, :], (tokens + ROWS - 1) // ROWS
    if tile < tiles_of_u:
        row = (tile * ROWS + tl.arange(0, ROWS))[:, None]
        inside = (row < tokens) & (component < rank)
        value = tl.load(u + (which * tokens + row) * K + component, mask=inside, other=0.0)
        tl.store(payload + row.to(tl.int64) * rank + component, _half(value), mask=inside)
    else:
        row = ((tile - tiles_of_u) * ROWS + tl.arange(0, ROWS))[:, None]
        inside = (row < channels) & (component < rank)
        value = tl.load(v + (which * channels + row) * K + component, mask=inside, other=0.0)
        place = tl.cast(tokens, tl.int64) * rank + component.to(tl.int64) * channels + row
        tl.store(payload + place, _half(value), mask=inside)
        # the product of finite values may be beyond float32
        if tl.max(tl.max((~(tl.abs(value) < float("inf"))).to(tl.int32), axis=1), axis=0) == 1:
            flag(message, message_stride, flags, peers, 1)


@triton.jit
def pack_int4_kernel(
    u,
    v,
    message,
    offset0,
    offset1,
    offset2,
    message_stride,
    flags,
    tokens,
    channels,
    own,
    peers,
    rank,
    BYTES: tl.constexpr,
    K: tl.constexpr,
):
    """Payloads of ``lowrank_int4``. Grid: components of ``u`` [B, N, K], then of ``v`` [B, C, K], blocks, sections."""
    line, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    _, _, offset = chosen(section, u, u, u, u, u, u, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    which = (section * tl.num_programs(1) + block).to(tl.int64)
    of_v = line >= rank
    component = tl.where(of_v, line - rank, line)
    length, factor = tokens, u + which * tokens * K + component
    target = payload + 8 * rank + component.to(tl.int64) * ((tokens + 1) // 2)
    if of_v:
        length, factor = channels, v + which * channels * K + component
        target = payload + 8 * rank + tl.cast(rank, tl.int64) * ((tokens + 1) // 2)
        target += component.to(tl.int64) * ((channels + 1) // 2)
    lows, highs = tl.full([2 * BYTES], float("inf"), tl.float32), tl.full([2 * BYTES], float("-inf"), tl.float32)
    seen = tl.zeros([2 * BYTES], tl.int32)
    for first in range(0, length, 2 * BYTES):
        entry = first + tl.arange(0, 2 * BYTES)
        there = entry < length
        value = tl.load(factor + entry * K, mask=there, other=0.0)
        seen |= (~(tl.abs(value) < float("inf"))).to(tl.int32)
        lows = tl.minimum(lows, tl.where(there, value, float("inf")))
        highs = tl.maximum(highs, tl.where(there, value, float("-inf")))
    least, largest = _half(tl.min(lows, axis=0)), _half(tl.max(highs, axis=0))
    bounds = payload.to(tl.pointer_type(tl.float16)) + 2 * line
    tl.store(bounds, least)
    tl.store(bounds + 1, largest)
    least = least.to(tl.float32)
    step = (largest.to(tl.float32) - least) / 15.0
    for first in range(0, length, 2 * BYTES):
        entry = first + tl.arange(0, 2 * BYTES)
        there = entry < length
        relative = (tl.load(factor + entry * K, mask=there, other=0.0) - least) / step
        relative = tl.where(relative == relative, tl.minimum(tl.maximum(relative, 0.0), 15.0), 0.0)
        code = tl.where(there, ((relative + _ROUNDER) - _ROUNDER).to(tl.int32), 0)
        low, high = tl.split(tl.reshape(code, [BYTES, 2]))
        byte = first // 2 + tl.arange(0, BYTES)
        tl.store(target + byte, (low | (high << 4)).to(tl.uint8), mask=byte < (length + 1) // 2)
    if tl.max(seen, axis=0) == 1:
        flag(message, message_stride, flags, peers, 1)
