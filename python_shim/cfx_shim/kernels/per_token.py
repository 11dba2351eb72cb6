"""The launches of codecs with one scale a token and a byte an element: they need no state and no statistics, so that one
launch encodes and one decodes, for all peers.

A program holds a few whole rows, so that what it codes is read once.
"""

import triton
import triton.language as tl

from .arithmetic import (
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
from .placement import chosen, flag, rank_of, tile_of


@triton.jit
def encode_kernel(
    x0,
    x1,
    x2,
    message,
    offset0,
    offset1,
    offset2,
    counter,
    x_block,
    x_token,
    message_stride,
    flags,
    tokens,
    own,
    peers,
    first,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    MOST: tl.constexpr,
    BOUND: tl.constexpr,
    FLOATS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid: tiles of tokens, blocks, sections. ``counter``: one int64, 0 between launches."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, _, offset = chosen(section, x0, x1, x2, x0, x1, x2, offset0, offset1, offset2)
    rank = rank_of(block, own)
    payload = message + rank * message_stride + offset
    row, known, _, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, CHANNELS, 1)
    x += rank * x_block + row.to(tl.int64)[:, None] * x_token + channel
    value = widened(tl.load(x, mask=inside, other=0.0), SOFT)
    # of magnitudes, the bits rise with the value, NaN above all
    largest = tl.max(tl.abs(value).to(tl.int32, bitcast=True), axis=1).to(tl.float32, bitcast=True)
    finite = largest < float("inf")
    bits = token_scale(tl.where(finite, largest, 0.0), MOST)
    tl.store(payload.to(tl.pointer_type(tl.int16)) + row, bits.to(tl.int16), mask=known)
    scale = token_scale_value(bits, BOUND)[:, None]
    relative = over_scale(value, scale, x.dtype.element_ty.primitive_bitwidth == 16)
    code = float_byte(relative, MOST) if FLOATS else whole_byte(relative, MOST)
    tl.store(payload + 2 * tokens + place, code.to(tl.uint8), mask=inside)
    report(tl.max((~finite).to(tl.int32), axis=0), counter, message, message_stride, flags, peers, first)


@triton.jit
def report(seen, counter, message, message_stride, flags, peers, first):
    """Count this program, and above 32 bits whether it has ``seen`` NaN or Inf; the last program writes the flags.

    Nothing but the count passes between programs, so that it needs no order with other accesses.
    """
    programs = tl.num_programs(0).to(tl.int64) * tl.num_programs(1) * tl.num_programs(2)
    counted = seen.to(tl.int64) * 4294967296 + 1
    counted += tl.atomic_add(counter, counted, sem="relaxed")
    if (counted & 0xFFFFFFFF) == programs:
        tl.store(counter, tl.cast(0, tl.int64))
        if counted > programs:
            flag(message, message_stride, flags, peers, 1)
        elif first == 1:
            flag(message, message_stride, flags, peers, 0)


@triton.jit
def decode_kernel(
    out0,
    out1,
    out2,
    message,
    offset0,
    offset1,
    offset2,
    message_stride,
    tokens,
    own,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    MOST: tl.constexpr,
    BOUND: tl.constexpr,
    FLOATS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid as for encode. ``out`` takes [B, N, C]."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    out, _, offset = chosen(section, out0, out1, out2, out0, out1, out2, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    row, known, _, _, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, CHANNELS, 1)
    bits = tl.load(payload.to(tl.pointer_type(tl.int16)) + row, mask=known, other=0).to(tl.int32)
    code = tl.load(payload + 2 * tokens + place, mask=inside, other=0).to(tl.int32)
    value = float_byte_value(code) if FLOATS else whole_byte_value(code)
    decoded = value * token_scale_value(bits, BOUND)[:, None]
    out += block.to(tl.int64) * tokens * CHANNELS + place
    tl.store(out, narrowed(decoded, out.dtype.element_ty, SOFT), mask=inside)
