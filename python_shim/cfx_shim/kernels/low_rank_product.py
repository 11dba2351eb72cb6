"""The decode launch of ``codecs.lowrank`` and ``codecs.lowrank_int4``: all peers' blocks of all sections, each receiver's base moved in
place. Sums are those of ``codecs._low_rank.product``: rank by rank, of products that are rounded.

The sender moves its base by the same launch, on its own messages.
"""

import triton
import triton.language as tl

from .low_rank_store import put, tile_at
from .placement import chosen, rank_of


@triton.jit
def _finite(half):
    """float32, 0 for what is no number."""
    value = half.to(tl.float32)
    return tl.where(tl.abs(value) < float("inf"), value, 0.0)


@triton.jit
def _entries(factor, bounds, component, entry, length, entry_step, component_step, FOUR_BITS: tl.constexpr):
    """float32 of a component's numbers: float16 so many apart, or 4 bits between ``bounds``, float16, in rows of so many bytes."""
    there = entry < length
    if FOUR_BITS:
        least = _finite(tl.load(bounds + 2 * component))
        step = tl.div_rn(_finite(tl.load(bounds + 2 * component + 1)) - least, tl.cast(15.0, tl.float32))
        pair = tl.load(factor + component * component_step + entry // 2, mask=there, other=0).to(tl.int32)
        return ((pair >> (4 * (entry % 2))) & 15).to(tl.float32) * step + least
    place = factor.to(tl.pointer_type(tl.float16)) + component * component_step + entry.to(tl.int64) * entry_step
    return _finite(tl.load(place, mask=there, other=0.0))


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
    channels,
    split,
    rank,
    own,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FOUR_BITS: tl.constexpr,
    DTYPE: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    USED: tl.constexpr,
    SOFT: tl.constexpr,
):
    """As ``low_rank_store.put`` has it, and as ``tile_at`` there has ``split``.

    Grid: tiles of [ROWS, COLUMNS], blocks, sections. ``payload_bytes``: behind them there are betas, with order 2.
    """
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    out, state, offset = chosen(section, out0, out1, out2, state0, state1, state2, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    down, first_column, last_column = tile_at(tile, channels, split, COLUMNS)
    token, channel = down * ROWS + tl.arange(0, ROWS), first_column + tl.arange(0, COLUMNS)
    bounds = payload.to(tl.pointer_type(tl.float16))
    if FOUR_BITS:
        u, u_step, u_component = payload + 8 * rank, 0, (tl.cast(tokens, tl.int64) + 1) // 2
        v, v_component = u + u_component * rank, (tl.cast(channels, tl.int64) + 1) // 2
    else:
        u, u_step, u_component = payload, rank, tl.cast(1, tl.int64)
        v, v_component = payload + 2 * tl.cast(tokens, tl.int64) * rank, tl.cast(channels, tl.int64)
    first_u = _entries(u, bounds, 0, token, tokens, u_step, u_component, FOUR_BITS)
    first_v = _entries(v, bounds + 2 * rank, 0, channel, channels, 1, v_component, FOUR_BITS)
    decoded = first_u[:, None] * first_v[None, :]
    for component in tl.range(1, rank, num_stages=1, loop_unroll_factor=1):
        of_u = _entries(u, bounds, component, token, tokens, u_step, u_component, FOUR_BITS)
        of_v = _entries(v, bounds + 2 * rank, component, channel, channels, 1, v_component, FOUR_BITS)
        decoded = decoded + of_u[:, None] * of_v[None, :]
    put(
        out, state, payload + payload_bytes, block, state_block, trend_at, first_column, last_column,
        token, channel, tokens, channels, split, decoded,
        DTYPE, ROWS, COLUMNS, ORDER, EIGHT_BIT, USED, SOFT,
    )  # fmt: skip
