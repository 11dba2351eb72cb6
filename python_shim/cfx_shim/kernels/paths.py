"""The search for the paths of least error through the trellis of ``codecs._trellis``, whose docstring names what is used here.

A thread finds a path, and loads of eight elements what it needs while it works on the eight before. Costs of the 8 states are 8
registers, and so are 8 words that say by which way the best path to each state came: bit j for the j-th of 32 elements, whether from
the state before with t''' = 1. That bit is the element's t''', so a word and the state at its end hold all trellis bits of the 32, and
those of the state before them. Words go to a scratch, a byte an element, of which the way back reads one in eight.
"""

import triton
import triton.language as tl

from . import eight_bit
from .arithmetic import beta_value, small_float_value, widened
from .placement import chosen, rank_of, scale_of
from .trellis import bounded

_PATH = tl.constexpr(256)


@triton.jit
def paths_kernel(
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
    words,
    x_block,
    x_token,
    message_stride,
    state_block,
    trend_at,
    tokens,
    own,
    CHANNELS: tl.constexpr,
    GROUP: tl.constexpr,
    PATHS: tl.constexpr,
    BLOCKS: tl.constexpr,
    RAGGED: tl.constexpr,
    LANES: tl.constexpr,
    ORDER: tl.constexpr,
    LEVELS: tl.constexpr,
    BITS: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """The trellis plane of payloads that hold their scales. Grid: ``LANES`` paths, blocks, sections.

    ``words``: int32, 8 · ``LANES`` for each of the ``BLOCKS`` of 32 elements of a path, of all programs one after the other.
    ``PATHS``: of a token; ``RAGGED``: whether they end before their last block does.
    """
    program, peer, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, offset = chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2)
    rank = rank_of(peer, own)
    payload = message + rank * message_stride + offset
    x += rank * x_block
    begin = state + peer.to(tl.int64) * state_block
    row_bytes: tl.constexpr = (CHANNELS + 7) // 8
    plane = payload + 2 * tokens + CHANNELS
    betas = plane + BITS * tokens * row_bytes
    thread = tl.arange(0, LANES)
    words += ((section * tl.num_programs(1) + peer).to(tl.int64) * tl.num_programs(0) + program) * (8 * BLOCKS * LANES)
    lane = program * LANES + thread
    token, first = lane // PATHS, lane % PATHS * _PATH
    known = token < tokens
    value, held, code, kept_scale, beta, u, v = _loaded(
        x, x_token, begin, trend_at, payload, betas, token, first, known, tokens, CHANNELS, GROUP, ORDER, EIGHT_BIT
    )
    c0 = tl.zeros([LANES], tl.float32)
    c1 = c0 + float("inf")
    c2, c3, c4, c5, c6, c7 = c1, c1, c1, c1, c1, c1
    for block in range(BLOCKS):
        w0 = tl.zeros([LANES], tl.uint32)
        w1, w2, w3, w4, w5, w6, w7 = w0, w0, w0, w0, w0, w0, w0
        for part in range(4):
            channel = first + (block * 4 + part) * 8
            left, scale = _left(value, held, code, kept_scale, beta, u, v, LANES, ORDER, EIGHT_BIT, U_BIAS, V_BIAS, SOFT)
            value, held, code, kept_scale, beta, u, v = _loaded(
                x, x_token, begin, trend_at, payload, betas, token, channel + 8, known & (block * 4 + part + 1 < 4 * BLOCKS),
                tokens, CHANNELS, GROUP, ORDER, EIGHT_BIT,
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
    bytes_of = plane + token.to(tl.int64) * row_bytes
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


@triton.jit
def _loaded(
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
    CHANNELS: tl.constexpr,
    GROUP: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
):
    """Of 8 channels of each lane's token from ``first`` on what ``_left`` takes, [LANES, 8] and for each lane; what there is none
    of is the tensor's."""
    channel = first[:, None] + tl.arange(0, 8)[None, :]
    inside = known[:, None] & (channel < CHANNELS)
    value = tl.load(x + token.to(tl.int64)[:, None] * x_token + channel, mask=inside, other=0.0)
    held, code, kept_scale, beta = value, value, value, value
    if ORDER >= 1:
        place = token.to(tl.int64)[:, None] * CHANNELS + channel
        if not EIGHT_BIT:
            held = tl.load(begin.to(tl.pointer_type(x.dtype.element_ty)) + place, mask=inside, other=0.0)
        if EIGHT_BIT or ORDER == 2:
            codes = begin
            if not EIGHT_BIT:
                codes = (begin + trend_at).to(tl.pointer_type(tl.int8))
            code = tl.load(codes + place, mask=inside, other=0)
            scale_place = scale_of(token, first, tokens, CHANNELS, CHANNELS if EIGHT_BIT else GROUP)
            kept_scale = tl.load(codes + scale_place[:, None], mask=(known & (first < CHANNELS))[:, None], other=0)
        if ORDER == 2:
            beta = tl.load(betas + channel, mask=inside, other=0)
    # the first of a token's two scales, or the second
    u = tl.load(payload + 2 * token + (first >= GROUP).to(tl.int32), mask=known, other=0)
    v = tl.load(payload + 2 * tokens + channel, mask=inside, other=0)
    return value, held, code, kept_scale, beta, u, v


@triton.jit
def _left(
    value,
    held,
    code,
    kept_scale,
    beta,
    u,
    v,
    LANES: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    U_BIAS: tl.constexpr,
    V_BIAS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """float32 [LANES, 8]: what the base and the prediction leave, within the bounds that an encoder takes it in, and the scale."""
    left = widened(value, SOFT)
    if ORDER >= 1:
        if EIGHT_BIT:
            base, last = eight_bit.values(code, kept_scale, ORDER, LANES, 8)
        else:
            base = widened(held, SOFT)
            if ORDER == 2:
                last, _ = eight_bit.values(code, kept_scale, 1, LANES, 8)
        left = left - base
        if ORDER == 2:
            left = left - last * beta_value(beta.to(tl.int8, bitcast=True))
    scale = small_float_value(u.to(tl.int32), U_BIAS)[:, None] * small_float_value(v.to(tl.int32), V_BIAS)
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
