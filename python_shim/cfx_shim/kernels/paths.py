"""The search for the paths of least error through the trellis of ``codecs._trellis``, whose docstring names what is used here.

A thread finds a path. Costs of the 8 states are 8 registers, and so are 8 words that say by which way the best path to each
state came: bit j for the j-th of 32 elements, whether from the state before with t''' = 1. That bit is the element's t''', so a
word and the state at its end hold all trellis bits of the 32, and those of the state before them. Words go to a scratch, a byte an
element, of which the way back reads one in eight.
"""

import triton
import triton.language as tl

from .arithmetic import beta_value, small_float_value, widened
from .placement import scale_of
from .states import read_at
from .trellis import bounded

_PATH = tl.constexpr(256)


@triton.jit
def find_paths(
    x,
    x_token,
    begin,
    trend_at,
    payload,
    betas,
    plane,
    words,
    first_token,
    tokens,
    dtype: tl.constexpr,
    CHANNELS: tl.constexpr,
    TOKENS: tl.constexpr,
    GROUP: tl.constexpr,
    PATHS: tl.constexpr,
    BLOCKS: tl.constexpr,
    RAGGED: tl.constexpr,
    LANES: tl.constexpr,
    ORDER: tl.constexpr,
    LEVELS: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """The trellis ``plane`` of ``TOKENS`` tokens of a block, whose scales are in the ``payload``.

    ``x``, ``begin``: of the block's tensor and state; ``betas``: where a payload has them; ``words``: int32, the program's own
    scratch, of 8 · ``LANES`` for each of the ``BLOCKS`` of 32 elements of a path. ``PATHS``: of a token; ``RAGGED``: whether they end
    before their last block does.
    """
    thread = tl.arange(0, LANES)
    for begins in range(0, TOKENS * PATHS, LANES):
        lane = begins + thread
        token, first = first_token + lane // PATHS, lane % PATHS * _PATH
        known = (lane < TOKENS * PATHS) & (token < tokens)
        c0 = tl.zeros([LANES], tl.float32)
        c1 = c0 + float("inf")
        c2, c3, c4, c5, c6, c7 = c1, c1, c1, c1, c1, c1
        for block in range(BLOCKS):
            w0 = tl.zeros([LANES], tl.uint32)
            w1, w2, w3, w4, w5, w6, w7 = w0, w0, w0, w0, w0, w0, w0
            for part in range(4):
                channel = first + (block * 4 + part) * 8
                left, scale = _left(
                    x, x_token, begin, trend_at, payload, betas, token, channel, known, tokens, dtype,
                    CHANNELS, GROUP, LANES, ORDER, EIGHT_BIT, U_BIAS, V_BIAS, SOFT,
                )  # fmt: skip
                for index in tl.static_range(8):
                    n0, n1, n2, n3, n4, n5, n6, n7, v0, v1, v2, v3, v4, v5, v6, v7 = _step(
                        _column(left, index, LANES), _column(scale, index, LANES),
                        c0, c1, c2, c3, c4, c5, c6, c7, w0, w1, w2, w3, w4, w5, w6, w7, LEVELS,
                    )  # fmt: skip
                    if RAGGED:
                        # behind a path's end nothing is reached
                        there = channel + index < CHANNELS
                        n0, n1, n2, n3 = tl.where(there, n0, c0), tl.where(there, n1, c1), tl.where(there, n2, c2), tl.where(there, n3, c3)
                        n4, n5, n6, n7 = tl.where(there, n4, c4), tl.where(there, n5, c5), tl.where(there, n6, c6), tl.where(there, n7, c7)
                        v0, v1, v2, v3 = tl.where(there, v0, w0), tl.where(there, v1, w1), tl.where(there, v2, w2), tl.where(there, v3, w3)
                        v4, v5, v6, v7 = tl.where(there, v4, w4), tl.where(there, v5, w5), tl.where(there, v6, w6), tl.where(there, v7, w7)
                    c0, c1, c2, c3, c4, c5, c6, c7 = n0, n1, n2, n3, n4, n5, n6, n7
                    w0, w1, w2, w3, w4, w5, w6, w7 = v0, v1, v2, v3, v4, v5, v6, v7
            room = words + block * (8 * LANES) + thread
            tl.store(room, w0)
            tl.store(room + LANES, w1)
            tl.store(room + 2 * LANES, w2)
            tl.store(room + 3 * LANES, w3)
            tl.store(room + 4 * LANES, w4)
            tl.store(room + 5 * LANES, w5)
            tl.store(room + 6 * LANES, w6)
            tl.store(room + 7 * LANES, w7)
        state, least = tl.zeros([LANES], tl.int32), c0
        state, least = tl.where(c1 < least, 1, state), tl.where(c1 < least, c1, least)
        state, least = tl.where(c2 < least, 2, state), tl.where(c2 < least, c2, least)
        state, least = tl.where(c3 < least, 3, state), tl.where(c3 < least, c3, least)
        state, least = tl.where(c4 < least, 4, state), tl.where(c4 < least, c4, least)
        state, least = tl.where(c5 < least, 5, state), tl.where(c5 < least, c5, least)
        state, least = tl.where(c6 < least, 6, state), tl.where(c6 < least, c6, least)
        state = tl.where(c7 < least, 7, state)
        tl.debug_barrier()
        bytes_of = plane + token.to(tl.int64) * ((CHANNELS + 7) // 8)
        for back in range(BLOCKS):
            channel = first + (BLOCKS - 1 - back) * 32
            taken = tl.load(words + ((BLOCKS - 1 - back) * 8 + state) * LANES + thread).to(tl.uint32, bitcast=True).to(tl.int64)
            count = tl.minimum(tl.maximum(CHANNELS - channel, 0), 32)
            # bits of the three elements before, of these, and none above
            bits = (taken >> (32 - count)) | (_turned(state).to(tl.int64) << count)
            state = _turned((bits & 7).to(tl.int32))
            for byte in tl.static_range(4):
                place = channel // 8 + byte
                tl.store(bytes_of + place, ((bits >> (3 + 8 * byte)) & 0xFF).to(tl.uint8), mask=known & (place * 8 < CHANNELS))
        # the next ones' words go to the same place
        tl.debug_barrier()


@triton.jit
def _left(
    x,
    x_token,
    begin,
    trend_at,
    payload,
    betas,
    token,
    first,
    known,
    tokens,
    dtype: tl.constexpr,
    CHANNELS: tl.constexpr,
    GROUP: tl.constexpr,
    LANES: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Of 8 channels of each lane's token from ``first`` on, float32 [LANES, 8]: what the base and the prediction leave, within the
    bounds that an encoder takes it in, and the scale."""
    channel = first[:, None] + tl.arange(0, 8)[None, :]
    inside = known[:, None] & (channel < CHANNELS)
    left = widened(tl.load(x + token.to(tl.int64)[:, None] * x_token + channel, mask=inside, other=0.0), SOFT)
    if ORDER >= 1:
        place = token.to(tl.int64)[:, None] * CHANNELS + channel
        kept = known & (first < CHANNELS)
        scale_place = scale_of(token, first, tokens, CHANNELS, CHANNELS if EIGHT_BIT else GROUP)
        _, _, _, _, held, last = read_at(
            begin, trend_at, place, inside, scale_place[:, None], kept[:, None], dtype, LANES, 8, ORDER, EIGHT_BIT, SOFT
        )
        left = left - held
        if ORDER == 2:
            codes = tl.load(betas + channel, mask=inside, other=0)
            left = left - last * beta_value(codes.to(tl.int8, bitcast=True))
    # the first of a token's two scales, or the second
    u = tl.load(payload + 2 * token + (first >= GROUP).to(tl.int32), mask=known, other=0).to(tl.int32)
    v = tl.load(payload + 2 * tokens + channel, mask=inside, other=0).to(tl.int32)
    scale = small_float_value(u, U_BIAS)[:, None] * small_float_value(v, V_BIAS)
    return bounded(left, scale), scale


@triton.jit
def _column(tile, index: tl.constexpr, LANES: tl.constexpr):
    """[LANES], of ``tile`` [LANES, 8]."""
    even, odd = tl.split(tl.reshape(tile, [LANES, 2, 2, 2]))
    if index % 2 == 1:
        even = odd
    low, high = tl.split(even)
    if index // 2 % 2 == 1:
        low = high
    left, right = tl.split(low)
    if index // 4 == 1:
        left = right
    return left


@triton.jit
def _step(
    x, scale, c0, c1, c2, c3, c4, c5, c6, c7, w0, w1, w2, w3, w4, w5, w6, w7, LEVELS: tl.constexpr
):
    """Costs and words after an element."""
    e0, e1 = _least(x, scale, 0, LEVELS), _least(x, scale, 1, LEVELS)
    e2, e3 = _least(x, scale, 2, LEVELS), _least(x, scale, 3, LEVELS)
    n0, n1, v0, v1 = _reached(c0, c4, w0, w4, e0, e2)
    n2, n3, v2, v3 = _reached(c1, c5, w1, w5, e2, e0)
    n4, n5, v4, v5 = _reached(c2, c6, w2, w6, e1, e3)
    n6, n7, v6, v7 = _reached(c3, c7, w3, w7, e3, e1)
    return n0, n1, n2, n3, n4, n5, n6, n7, v0, v1, v2, v3, v4, v5, v6, v7


@triton.jit
def _least(x, scale, subset: tl.constexpr, LEVELS: tl.constexpr):
    """The squared error of the best level of a subset."""
    error = x - scale * LEVELS[subset]
    least = error * error
    for k in tl.static_range(1, len(LEVELS) // 4):
        error = x - scale * LEVELS[4 * k + subset]
        error = error * error
        least = tl.where(error < least, error, least)
    return least


@triton.jit
def _reached(low, high, low_word, high_word, one, other):
    """Costs and words of the two states that both of two may come before: of t = 0, with the error ``one`` from ``low`` and ``other``
    from ``high``, and of t = 1, the other way round. ``low`` goes first."""
    low_word, high_word = low_word >> 1, (high_word >> 1) | 0x80000000
    low_even, high_even = low + one, high + other
    low_odd, high_odd = low + other, high + one
    even, odd = high_even < low_even, high_odd < low_odd
    return (
        tl.where(even, high_even, low_even),
        tl.where(odd, high_odd, low_odd),
        tl.where(even, high_word, low_word),
        tl.where(odd, high_word, low_word),
    )


@triton.jit
def _turned(three):
    """Of three bits the first as the last."""
    return ((three & 1) << 2) | (three & 2) | (three >> 2)
