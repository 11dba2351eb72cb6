"""The launch that writes ``lowrank_fit``'s payloads, of the factors that ``low_rank`` found."""

import triton
import triton.language as tl

from .low_rank_solve import weights_of, with_ones
from .placement import chosen, flag, rank_of
from .residual import scale_of_block

# adding and taking it away rounds a float32 below 2^22 to the nearest even integer
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def pack_kernel(
    shares,
    gram_u,
    gram_v,
    largest,
    levels_u,
    classes_u,
    levels_v,
    classes_v,
    message,
    offset0,
    offset1,
    offset2,
    message_stride,
    flags,
    tokens,
    channels,
    token_stride,
    channel_stride,
    own,
    peers,
    rank,
    ridge,
    most_unit,
    MOST_WEIGHT: tl.constexpr,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    K: tl.constexpr,
):
    """The payloads' bytes, with the weights of ``shares`` and both Gram matrices. Grid: tiles of rows of U, then of V, blocks, sections."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    _, _, offset = chosen(section, message, message, message, message, message, message, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    which = (section * tl.num_programs(1) + block).to(tl.int64)
    component = tl.arange(0, K)[:, None]
    square, root = with_ones(gram_v, which, rank, K)
    weight = weights_of(shares, gram_u, square, root, which, rank, ridge, TURNS, K)
    if tile == 0:
        size = tl.abs(weight)
        unit = tl.max(size, axis=0)[None, :] / MOST_WEIGHT
        wholes = tl.minimum(tl.where(unit > 0, size / unit, 0.0), MOST_WEIGHT)
        wholes = (wholes + _ROUNDER) - _ROUNDER
        tl.store(payload + 2 + component, wholes.to(tl.uint8), mask=component < rank)
        scaled = tl.max(size, axis=0) / MOST_WEIGHT * scale_of_block(largest, which)
        bits = scaled.to(tl.int32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        byte = tl.arange(0, 2)
        tl.store(payload + byte, (tl.broadcast_to(bits, [2]) >> (8 * byte)).to(tl.uint8))
        if tl.max((~(scaled < most_unit)).to(tl.int32), axis=0) == 1:
            flag(message, message_stride, flags, peers, 1)
    tiles_of_u, width_u, width_v = (tokens + ROWS - 1) // ROWS, (tokens + 3) // 4, (channels + 3) // 4
    classes_at = payload + 2 + rank
    levels_at = classes_at + width_u + width_v
    if tile < tiles_of_u:
        one = tl.full([K, 1], 1.0, tl.float32)
        _put_rows(levels_u, classes_u, classes_at, levels_at, which, tile, tokens, token_stride, rank, one, ROWS, K)
    else:
        tile -= tiles_of_u
        levels_at += tl.cast(rank, tl.int64) * width_u
        _put_rows(levels_v, classes_v, classes_at + width_u, levels_at, which, tile, channels, channel_stride, rank, weight, ROWS, K)


@triton.jit
def _put_rows(levels, classes, classes_at, levels_at, which, tile, length, stride, rank, weight, ROWS: tl.constexpr, K: tl.constexpr):
    """``ROWS`` rows of a factor, four to a byte; a level has the other sign where its ``weight`` [K, 1] is below 0."""
    row, component = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, K)[:, None]
    byte, width = tile * (ROWS // 4) + tl.arange(0, ROWS // 4), (length + 3) // 4
    kind = tl.load(classes + which * length + row, mask=row < length, other=0).to(tl.int32) << (2 * (row % 4))
    kind = tl.sum(tl.reshape(kind, [ROWS // 4, 4]), axis=1)
    tl.store(classes_at + byte, kind.to(tl.uint8), mask=byte < width)
    level = tl.load(levels + (which * K + component) * stride + row[None, :], mask=(row < length)[None, :], other=0).to(tl.int32)
    code = (tl.where(weight < 0, -level, level) + 3) // 2
    code = tl.where((row < length)[None, :], code, 0) << (2 * (row % 4))[None, :]
    code = tl.sum(tl.reshape(code, [K, ROWS // 4, 4]), axis=2)
    target = levels_at + component.to(tl.int64) * width + byte[None, :]
    tl.store(target, code.to(tl.uint8), mask=(byte < width)[None, :] & (component < rank))
