"""The decode launch of ``lowrank_fit``: all peers' blocks of all sections, each receiver's base moved in place.

The sender moves its base by the same launch, on its own messages. Factors are whole numbers of at most 11 bits and a sum
has at most 24, so tensor cores multiply them as float16 and add them in float32 without an error, in any order.
"""

import triton
import triton.language as tl

from .low_rank_store import put, tile_at
from .placement import chosen, rank_of


@triton.jit
def _fields(raw):
    """Bytes [.., L] as their 2-bit fields [.., 4·L], int32."""
    fields = (raw.to(tl.int32)[:, :, None] >> (2 * tl.arange(0, 4))[None, None, :]) & 3
    return tl.reshape(fields, [raw.shape[0], 4 * raw.shape[1]])


@triton.jit
def _factor(classes, levels, first, width, component, RANK: tl.constexpr, BYTES: tl.constexpr, SIZES: tl.constexpr):
    """A factor's entries from byte ``first`` of its rows on, int32 [K, 4 · BYTES]; rows are ``width`` bytes long."""
    byte = first + tl.arange(0, BYTES)[None, :]
    kind = _fields(tl.load(classes + byte, mask=byte < width, other=0))
    size = tl.full(kind.shape, SIZES[0], tl.int32)
    for index in tl.static_range(1, len(SIZES)):
        size = tl.where(kind == index, SIZES[index], size)
    rows = component[:, None]
    level = 2 * _fields(tl.load(levels + rows * width + byte, mask=(byte < width) & (rows < RANK), other=0)) - 3
    return level * size


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
    payload_bytes,
    tokens,
    own,
    CHANNELS: tl.constexpr,
    RANK: tl.constexpr,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SPLIT: tl.constexpr,
    SIZES: tl.constexpr,
    MOST_WEIGHT: tl.constexpr,
    MOST_UNIT: tl.constexpr,
    DTYPE: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    USED: tl.constexpr,
    SOFT: tl.constexpr,
):
    """As ``low_rank_store.put`` has it, and as ``tile_at`` there has ``SPLIT``.

    Grid: tiles of [ROWS, COLUMNS], blocks, sections. ``payload_bytes``: behind them there are betas, with order 2.
    """
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    out, state, offset = chosen(section, out0, out1, out2, state0, state1, state2, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    down, first_column, last_column = tile_at(tile, CHANNELS, SPLIT, COLUMNS)
    first_row = down * ROWS
    token, channel, component = first_row + tl.arange(0, ROWS), first_column + tl.arange(0, COLUMNS), tl.arange(0, K)
    width_u, width_v = (tokens + 3) // 4, (CHANNELS + 3) // 4
    classes_u = payload + 2 + RANK
    classes_v = classes_u + width_u
    levels_u = classes_v + width_v
    levels_v = levels_u + tl.cast(width_u, tl.int64) * RANK
    unit = (tl.load(payload).to(tl.int32) << 16) | (tl.load(payload + 1).to(tl.int32) << 24)
    unit = unit.to(tl.float32, bitcast=True)
    unit = tl.where(tl.abs(unit) < float("inf"), tl.minimum(tl.maximum(unit, -MOST_UNIT), MOST_UNIT), 0.0)
    # 0 past the rank
    weight = tl.minimum(tl.load(payload + 2 + component, mask=component < RANK, other=0).to(tl.int32), MOST_WEIGHT)
    u = _factor(classes_u, levels_u, first_row // 4, width_u, component, RANK, ROWS // 4, SIZES)
    v = _factor(classes_v, levels_v, first_column // 4, width_v, component, RANK, COLUMNS // 4, SIZES) * weight[:, None]
    decoded = tl.dot(tl.trans(u.to(tl.float16)), v.to(tl.float16)) * unit
    put(
        out, state, payload + payload_bytes, block, state_block, trend_at, first_column, last_column,
        token, channel, tokens, CHANNELS, SPLIT, decoded,
        DTYPE, ROWS, COLUMNS, ORDER, EIGHT_BIT, USED, SOFT,
    )  # fmt: skip
