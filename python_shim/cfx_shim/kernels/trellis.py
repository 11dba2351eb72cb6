"""Paths of ``codecs._trellis``, whose docstring names what is used here: found by one launch, and read in registers.

A program finds as many paths as it has threads, each thread its own: costs of the 8 states are 8 registers, and what was decided
goes to a scratch of 16 bits an element (bit s: state s was reached from the state before with t''' = 1; from bit 8 on the best
index of each subset), to be read backwards.
"""

import triton
import triton.language as tl

from .arithmetic import small_float_value
from .placement import chosen, rank_of

_PATH = tl.constexpr(256)


@triton.jit
def bytes_before(plane, byte, kept, CHANNELS: tl.constexpr):
    """Of the trellis plane, whose bytes of a tile are at ``plane`` (pointers): the byte before each, 0 at a path's beginning."""
    begins = byte % ((CHANNELS + 7) // 8) % (_PATH // 8) == 0
    return tl.load(plane - 1, mask=kept & ~begins, other=0).to(tl.int32)


@triton.jit
def signs_and_indices(words, before, BITS: tl.constexpr):
    """Bytes of planes as ``reconstruct`` takes them, one plane more, from the payload's ``words``; one bit plane a byte.

    ``before``: of the trellis plane the byte before, 0 at a path's beginning.
    """
    trellis = words & 0xFF
    both = (trellis << 8) | before
    one, two, three = both >> 7, both >> 6, both >> 5
    # the level's index, lowest bit first: t'', t xor t' xor t''', and the payload's other planes
    level = (two & 0xFF) | (((trellis ^ one ^ three) & 0xFF) << 8)
    if BITS > 1:
        level |= (words >> 8) << 16
    top = (level >> (8 * BITS)) & 0xFF
    # a level below 0 counts downwards
    index = top
    for bit in tl.static_range(BITS):
        index |= (~((level >> (8 * bit)) ^ top) & 0xFF) << (8 * bit + 8)
    return index


@triton.jit
def _reached(low, high, low_step, high_step):
    """(cost of a state, whether by the branch from ``high``), of which ``low`` goes first."""
    low, high = low + low_step, high + high_step
    return tl.where(high < low, high, low), (high < low).to(tl.int32)


@triton.jit
def _least(x, scale, subset: tl.constexpr, LEVELS: tl.constexpr):
    """(squared error of the best level of a subset, its index there)."""
    error = x - scale * LEVELS[subset]
    least = error * error
    index = tl.zeros(x.shape, tl.int32)
    for k in tl.static_range(1, len(LEVELS) // 4):
        error = x - scale * LEVELS[4 * k + subset]
        error = error * error
        index = tl.where(error < least, k, index)
        least = tl.where(error < least, error, least)
    return least, index


@triton.jit
def _step(x, scale, c0, c1, c2, c3, c4, c5, c6, c7, LEVELS: tl.constexpr):
    """The costs after an element, and what was decided."""
    bound = scale * 64.0
    x = tl.where(x > bound, bound, tl.where(x < -bound, -bound, x))
    e0, k0 = _least(x, scale, 0, LEVELS)
    e1, k1 = _least(x, scale, 1, LEVELS)
    e2, k2 = _least(x, scale, 2, LEVELS)
    e3, k3 = _least(x, scale, 3, LEVELS)
    n0, h0 = _reached(c0, c4, e0, e2)
    n1, h1 = _reached(c0, c4, e2, e0)
    n2, h2 = _reached(c1, c5, e2, e0)
    n3, h3 = _reached(c1, c5, e0, e2)
    n4, h4 = _reached(c2, c6, e1, e3)
    n5, h5 = _reached(c2, c6, e3, e1)
    n6, h6 = _reached(c3, c7, e3, e1)
    n7, h7 = _reached(c3, c7, e1, e3)
    taken = h0 | (h1 << 1) | (h2 << 2) | (h3 << 3) | (h4 << 4) | (h5 << 5) | (h6 << 6) | (h7 << 7)
    taken |= (k0 << 8) | (k1 << 10) | (k2 << 12) | (k3 << 14)
    return n0, n1, n2, n3, n4, n5, n6, n7, taken


@triton.jit
def path_kernel(
    residual,
    decided,
    message,
    offset0,
    offset1,
    offset2,
    message_stride,
    tokens,
    own,
    CHANNELS: tl.constexpr,
    GROUP: tl.constexpr,
    LANES: tl.constexpr,
    BITS: tl.constexpr,
    LEVELS: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
):
    """The bit planes of ``residual`` [B, N, C] float32, in messages that hold the scales. Grid: tiles of paths, blocks, sections.

    ``decided``: int16, as many as the paths' elements, whole ones.
    """
    block, section = tl.program_id(1), tl.program_id(2)
    _, _, offset = chosen(section, message, message, message, message, message, message, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    paths: tl.constexpr = (CHANNELS + _PATH - 1) // _PATH
    longest: tl.constexpr = min(_PATH, (CHANNELS + 7) // 8 * 8)
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    token, first = lane // paths, lane % paths * _PATH
    known = token < tokens
    which = (section * tl.num_programs(1) + block).to(tl.int64)
    residual += which * tokens * CHANNELS + token.to(tl.int64) * CHANNELS + first
    lanes = tl.num_programs(0) * LANES
    decided += which * lanes * longest + lane
    left = small_float_value(tl.load(payload + 2 * token, mask=known, other=0).to(tl.int32), U_BIAS)
    right = small_float_value(tl.load(payload + 2 * token + 1, mask=known, other=0).to(tl.int32), U_BIAS)
    scales = payload + 2 * tokens + first
    c0 = tl.zeros([LANES], tl.float32)
    c1 = c0 + float("inf")
    c2, c3, c4, c5, c6, c7 = c1, c1, c1, c1, c1, c1
    for index in range(longest):
        there = known & (first + index < CHANNELS)
        x = tl.load(residual + index, mask=there, other=0.0)
        v = small_float_value(tl.load(scales + index, mask=there, other=0).to(tl.int32), V_BIAS)
        scale = tl.where(first + index < GROUP, left, right) * v
        n0, n1, n2, n3, n4, n5, n6, n7, taken = _step(x, scale, c0, c1, c2, c3, c4, c5, c6, c7, LEVELS)
        # behind a path's end nothing is reached
        c0, c1, c2, c3 = tl.where(there, n0, c0), tl.where(there, n1, c1), tl.where(there, n2, c2), tl.where(there, n3, c3)
        c4, c5, c6, c7 = tl.where(there, n4, c4), tl.where(there, n5, c5), tl.where(there, n6, c6), tl.where(there, n7, c7)
        tl.store(decided + index * lanes, taken.to(tl.int16))
    state, least = tl.zeros([LANES], tl.int32), c0
    state, least = tl.where(c1 < least, 1, state), tl.where(c1 < least, c1, least)
    state, least = tl.where(c2 < least, 2, state), tl.where(c2 < least, c2, least)
    state, least = tl.where(c3 < least, 3, state), tl.where(c3 < least, c3, least)
    state, least = tl.where(c4 < least, 4, state), tl.where(c4 < least, c4, least)
    state, least = tl.where(c5 < least, 5, state), tl.where(c5 < least, c5, least)
    state, least = tl.where(c6 < least, 6, state), tl.where(c6 < least, c6, least)
    state = tl.where(c7 < least, 7, state)
    row: tl.constexpr = (CHANNELS + 7) // 8
    plane = tokens * row
    rest = payload + 2 * tokens + CHANNELS + token * row + first // 8
    tl.debug_barrier()
    for back in range(longest // 8):
        byte = longest // 8 - 1 - back
        bits = tl.zeros([LANES], tl.int32)
        low, high = bits, bits
        for place in tl.static_range(7, -1, -1):
            index = byte * 8 + place
            there = first + index < CHANNELS
            taken = tl.load(decided + index * lanes).to(tl.int32)
            oldest = (taken >> state) & 1
            subset = 2 * ((state ^ (state >> 1) ^ oldest) & 1) + (state >> 2)
            k = taken >> (8 + 2 * subset)
            bits |= tl.where(there, state & 1, 0) << place
            low |= tl.where(there, k & 1, 0) << place
            high |= tl.where(there, (k >> 1) & 1, 0) << place
            state = tl.where(there, (state >> 1) | (oldest << 2), state)
        kept = known & (first + byte * 8 < CHANNELS)
        tl.store(rest + byte, bits.to(tl.uint8), mask=kept)
        if BITS > 1:
            tl.store(rest + plane + byte, low.to(tl.uint8), mask=kept)
        if BITS > 2:
            tl.store(rest + 2 * plane + byte, high.to(tl.uint8), mask=kept)
