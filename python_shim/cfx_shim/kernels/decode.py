"""The decode launch: all peers' blocks of all sections, each receiver's state moved in place."""

import triton
import triton.language as tl

from .arithmetic import beta_value, narrowed, small_float_value, widened
from .bit_planes import unpack
from .placement import chosen, rank_of, tile_of
from .reconstruct import move, reconstruct


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
    tokens,
    own,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    ORDER: tl.constexpr,
    HALF_SCALES: tl.constexpr,
    BITS: tl.constexpr,
    LEVELS: tl.constexpr,
    GAIN: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid as for encode. Order 0 writes [B, N, C] to ``out``; else the base holds what was received and ``out`` is unused."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    out, state, offset = chosen(section, out0, out1, out2, state0, state1, state2, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    row, known, _, channel, place, inside, byte, kept = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
    scales = (2 if HALF_SCALES else 1) * (GROUPS * tokens + CHANNELS)
    plane = tokens * ((CHANNELS + 7) // 8)
    if HALF_SCALES:
        u = tl.load(payload.to(tl.pointer_type(tl.float16)) + row, mask=known, other=0.0).to(tl.float32)
        v = tl.load((payload + 2 * GROUPS * tokens).to(tl.pointer_type(tl.float16)) + channel, mask=inside, other=0.0)
        v = v.to(tl.float32)
    else:
        u = small_float_value(tl.load(payload + row, mask=known, other=0).to(tl.int32), U_BIAS)
        v = small_float_value(tl.load(payload + GROUPS * tokens + channel, mask=inside, other=0).to(tl.int32), V_BIAS)
    rest = payload + scales + byte
    words = tl.zeros([ROWS, WIDTH // 8], tl.int32)
    for bit in tl.static_range(BITS):
        words |= tl.load(rest + bit * plane, mask=kept, other=0).to(tl.int32) << (8 * bit)
    decoded = reconstruct(unpack(words, ROWS, WIDTH), u[:, None] * v, LEVELS)
    if ORDER == 0:
        dtype: tl.constexpr = out.dtype.element_ty
        tl.store(out + block.to(tl.int64) * tokens * CHANNELS + place, narrowed(decoded, dtype, SOFT), mask=inside)
    else:
        base = state + block.to(tl.int64) * ORDER * tokens * CHANNELS + place
        trend = base + tokens.to(tl.int64) * CHANNELS
        held = widened(tl.load(base, mask=inside, other=0.0), SOFT)
        predicted = held
        if ORDER == 2:
            codes = tl.load(payload + scales + BITS * plane + channel, mask=inside, other=0)
            beta = beta_value(codes.to(tl.int8, bitcast=True))
            predicted = widened(tl.load(trend, mask=inside, other=0.0), SOFT) * beta
        move(base, trend, held, predicted, decoded, inside, ORDER, GAIN, SOFT)
