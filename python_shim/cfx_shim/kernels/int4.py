"""The launches of ``codecs.int4``: one for the means of channels and one that codes, and one that decodes, for all peers.

A row of a program's tile is a token's channels, or where the second of its two parts begins within 32 channels, one part:
so it holds whole groups. A group's scale is searched for in registers.
"""

import triton
import triton.language as tl

from .arithmetic import fold_lanes, narrowed, token_scale_value, widened
from .eight_bit import per_element
from .means import means_at, put_means
from .placement import chosen, flag, rank_of, tile_of, units_of
from .starts import start_state

_GROUP = tl.constexpr(32)
_HALF = tl.constexpr(8)


@triton.jit
def means_kernel(
    x0,
    x1,
    x2,
    message,
    offset0,
    offset1,
    offset2,
    x_block,
    x_token,
    message_stride,
    flags,
    tokens,
    own,
    peers,
    CHANNELS: tl.constexpr,
    STRIP: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid: strips of channels, blocks, sections. ``flags`` >= 0: nothing was seen yet."""
    strip, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, _, offset = chosen(section, x0, x1, x2, x0, x1, x2, offset0, offset1, offset2)
    rank = rank_of(block, own)
    if (flags >= 0) & (strip + block + section == 0):
        # the launch that codes the rows comes after this one
        flag(message, message_stride, flags, peers, 0)
    channel = strip * STRIP + tl.arange(0, STRIP)
    known = channel < CHANNELS
    sums = tl.zeros([64, STRIP], tl.float32)
    for first in range(0, tokens, 64):
        token = first + tl.arange(0, 64)[:, None]
        place = rank * x_block + token.to(tl.int64) * x_token + channel[None, :]
        value = widened(tl.load(x + place, mask=(token < tokens) & known[None, :], other=0.0), SOFT)
        sums += tl.where(tl.abs(value) < float("inf"), value, 0.0)
    mean = tl.div_rn(fold_lanes(sums, STRIP), tl.cast(tokens, tl.float32))
    put_means(message + rank * message_stride + offset, channel, known, mean, 2)


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
    x_block,
    x_token,
    message_stride,
    state_block,
    trend_at,
    flags,
    tokens,
    own,
    peers,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    CODES: tl.constexpr,
    FRACTIONS: tl.constexpr,
    MANTISSAS: tl.constexpr,
    LEVELS: tl.constexpr,
    THRESHOLDS: tl.constexpr,
    CANDIDATES: tl.constexpr,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    ROUNDER: tl.constexpr,
    SMALLEST: tl.constexpr,
    MOST: tl.constexpr,
    STARTS: tl.constexpr,
    CONTINUES: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid: tiles of tokens, blocks, sections. ``STARTS`` and ``CONTINUES``: see ``encode.encode_kernel``."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, offset = chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2)
    rank = rank_of(block, own)
    payload = message + rank * message_stride + offset
    row, known, part, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
    scales, codes, units, levels, kept = places(payload, tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS, CODES)
    x += rank * x_block + (row // GROUPS).to(tl.int64)[:, None] * x_token + channel
    value = widened(tl.load(x, mask=inside, other=0.0), SOFT)
    finite = tl.abs(value) < float("inf")
    value = tl.where(finite, value, 0.0) - means_at(payload, channel, inside, 2)
    size = tl.abs(value)
    # of magnitudes, the bits rise with the value
    largest = tl.max(tl.reshape(size.to(tl.int32, bitcast=True), [ROWS, WIDTH // _GROUP, _GROUP]), axis=2)
    of_token = tl.max(largest, axis=1)
    if GROUPS == 2:
        both = tl.max(tl.reshape(of_token, [ROWS // 2, 2]), axis=1)
        of_token = tl.reshape(tl.broadcast_to(both[:, None], [ROWS // 2, 2]), [ROWS])
    bits = tl.minimum(of_token.to(tl.float32, bitcast=True), MOST).to(tl.int32, bitcast=True)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    tl.store(scales, bits.to(tl.int16), mask=known & (part == 0))
    scale = token_scale_value(bits, MOST)[:, None]
    largest = largest.to(tl.float32, bitcast=True)
    ratio = tl.where(scale > 0, tl.div_rn(largest, tl.broadcast_to(scale, largest.shape)), 0.0)
    reach = just_reaching(ratio, MANTISSAS)
    unit = scale * factor(reach, FRACTIONS)
    inverse = tl.where(unit >= SMALLEST, tl.div_rn(tl.full(unit.shape, 1.0, tl.float32), unit), 0.0)
    step = least_error(size, inverse, inside, LEVELS, THRESHOLDS, CANDIDATES, UP, DOWN, ROUNDER, ROWS, WIDTH)
    code = tl.where(largest > 0, tl.minimum(reach + step, 254), 255)
    tl.store(codes, code.to(tl.uint8), mask=units)
    unit = per_element(scale * factor(code, FRACTIONS), ROWS, WIDTH)
    index = tl.zeros([ROWS, WIDTH], tl.int32)
    for threshold in tl.static_range(len(THRESHOLDS)):
        index += (size >= unit * THRESHOLDS[threshold]).to(tl.int32)
    level = tl.where(inside, tl.where(value >= 0, index + _HALF, _HALF - 1 - index), 0)
    low, high = tl.split(tl.reshape(level, [ROWS, WIDTH // 2, 2]))
    tl.store(levels, (low | (high << 4)).to(tl.uint8), mask=kept)
    if STARTS >= 1:
        # means that stayed in registers would not leave enough of them to the search
        tl.debug_barrier()
        decoded = tl.where(inside, value_of(level, LEVELS) * unit + means_at(payload, channel, inside, 2), 0.0)
        start_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, decoded,
            x.dtype.element_ty, CHANNELS, ROWS, WIDTH, GROUP, GROUPS, STARTS, CONTINUES, EIGHT_BIT, SOFT, SPLIT,
        )  # fmt: skip
    if tl.max(tl.max((~finite).to(tl.int32), axis=1), axis=0) == 1:
        flag(message, message_stride, flags, peers, 1)


@triton.jit
def places(
    payload, tile, tokens, CHANNELS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, GROUP: tl.constexpr,
    GROUPS: tl.constexpr, CODES: tl.constexpr,
):  # fmt: skip
    """Pointers to a tile's token scales [ROWS], and to its group scales [ROWS, WIDTH // 32] and levels [ROWS, WIDTH // 2], each with
    whether they exist. ``CODES``: groups of a token."""
    row = tile * ROWS + tl.arange(0, ROWS)
    token, part = row // GROUPS, row % GROUPS
    scales = (payload + 2 * CHANNELS).to(tl.pointer_type(tl.int16)) + token
    unit, units = units_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
    codes = payload + 2 * CHANNELS + 2 * tokens
    within = tl.arange(0, WIDTH // 2)
    # two parts are of whole bytes
    column = (part * (GROUP // 2))[:, None] + within[None, :]
    kept = (token < tokens)[:, None] & (within < (GROUP + 1) // 2)[None, :] & (column < (CHANNELS + 1) // 2)
    levels = codes + tl.cast(tokens, tl.int64) * CODES + token.to(tl.int64)[:, None] * ((CHANNELS + 1) // 2) + column
    return scales, codes + unit, units, levels, kept


@triton.jit
def just_reaching(ratio, MANTISSAS: tl.constexpr):
    """``codecs.int4``'s code, int32, of the smallest scale that is at least ``ratio`` float32 >= 0 times the token's."""
    bits = ratio.to(tl.int32, bitcast=True)
    reach = (127 - (bits >> 23)) * 8
    for index in tl.static_range(len(MANTISSAS)):
        reach -= ((bits & 0x7FFFFF) > MANTISSAS[index]).to(tl.int32)
    return tl.minimum(tl.maximum(reach, 0), 254)


@triton.jit
def factor(code, FRACTIONS: tl.constexpr):
    """float32 of a group scale's code in int32, 0..255."""
    fraction = tl.full(code.shape, FRACTIONS[0], tl.float32)
    for index in tl.static_range(1, len(FRACTIONS)):
        fraction = tl.where((code & 7) == index, FRACTIONS[index], fraction)
    power = ((127 - (code >> 3)) << 23).to(tl.float32, bitcast=True)
    return tl.where(code == 255, 0.0, fraction * power)


@triton.jit
def least_error(
    size, inverse, inside, LEVELS: tl.constexpr, THRESHOLDS: tl.constexpr, CANDIDATES: tl.constexpr, UP: tl.constexpr,
    DOWN: tl.constexpr, ROUNDER: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """How many steps below the scale that just reaches is the best one of a group, int32 [ROWS, WIDTH // 32]. ``size``:
    magnitudes, ``inverse``: of that scale."""
    best = tl.zeros([ROWS, WIDTH // _GROUP], tl.int32)
    least = tl.full([ROWS, WIDTH // _GROUP], float("inf"), tl.float32)
    weight = 1.0
    # unrolled, it would hold several candidates in registers
    for step in tl.range(CANDIDATES, num_stages=1, loop_unroll_factor=1):
        relative = size * per_element(inverse, ROWS, WIDTH)
        level = tl.full([ROWS, WIDTH], LEVELS[0], tl.float32)
        for index in tl.static_range(len(THRESHOLDS)):
            level = tl.where(relative >= THRESHOLDS[index], LEVELS[index + 1], level)
        missed = relative - level
        square = tl.where(inside, (missed * missed + ROUNDER) - ROUNDER, 0.0)
        # exact in any order
        error = tl.sum(tl.reshape(square, [ROWS, WIDTH // _GROUP, _GROUP]), axis=2) * weight
        best = tl.where(error < least, step, best)
        least = tl.minimum(error, least)
        inverse = inverse * UP
        weight = weight * DOWN
    return best


@triton.jit
def value_of(level, LEVELS: tl.constexpr):
    """float32 of a level's number in int32, 0..15, over the scale."""
    upper = level >= _HALF
    index = tl.where(upper, level - _HALF, _HALF - 1 - level)
    size = tl.full(level.shape, LEVELS[0], tl.float32)
    for each in tl.static_range(1, len(LEVELS)):
        size = tl.where(index == each, LEVELS[each], size)
    return tl.where(upper, size, -size)


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
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    CODES: tl.constexpr,
    FRACTIONS: tl.constexpr,
    LEVELS: tl.constexpr,
    MOST: tl.constexpr,
    STARTS: tl.constexpr,
    CONTINUES: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid and constants as for encode; ``out`` and ``DTYPE`` as in ``decode.decode_kernel``."""
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    out, state, offset = chosen(section, out0, out1, out2, state0, state1, state2, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    _, known, _, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
    scales, codes, units, levels, kept = places(payload, tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS, CODES)
    scale = token_scale_value(tl.load(scales, mask=known, other=0).to(tl.int32), MOST)[:, None]
    unit = scale * factor(tl.load(codes, mask=units, other=255).to(tl.int32), FRACTIONS)
    pair = tl.load(levels, mask=kept, other=0).to(tl.int32)
    level = tl.reshape(tl.join(pair & 15, pair >> 4), [ROWS, WIDTH])
    decoded = value_of(level, LEVELS) * per_element(unit, ROWS, WIDTH) + means_at(payload, channel, inside, 2)
    out += block.to(tl.int64) * tokens * CHANNELS + place
    if STARTS >= 1:
        decoded = start_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, tl.where(inside, decoded, 0.0), DTYPE,
            CHANNELS, ROWS, WIDTH, GROUP, GROUPS, STARTS, CONTINUES, EIGHT_BIT, SOFT, SPLIT,
        )  # fmt: skip
    if STARTS == 0 or EIGHT_BIT:
        tl.store(out, narrowed(decoded, DTYPE, SOFT), mask=inside)
