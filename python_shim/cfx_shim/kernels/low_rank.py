"""The launches that find ``lowrank_fit``'s factors, but for the matrix products: the counterparts of ``codecs._factor_fit``.

Only the sender searches, so these sum in whatever order is fast; what both ends compute is in ``low_rank_decode``. Factors
have K columns, the power of two from the rank on, of which those past the rank are 0. Blocks of all sections lie one
after the other.

Products are of float16, which tensor cores multiply and which levels are not seen to need more than: ``whole`` and what is
multiplied by it, ``target``, come over 64, the products of two factors, ``gram``, over 64². So no sum of up to 99,000 numbers
passes float16.
"""

import triton
import triton.language as tl

from .arithmetic import beta_value, widened
from .placement import chosen, flag, rank_of, tile_of
from .states import read_state, write_state

UNIT = 64.0
_UNIT = tl.constexpr(UNIT)


@triton.jit
def open_kernel(largest, blocks, message, message_stride, flags, peers, first, BLOCKS: tl.constexpr):
    """Nothing is seen yet: ``largest`` [B] becomes 0, and with ``first`` the messages' flags."""
    block = tl.arange(0, BLOCKS)
    tl.store(largest + block, tl.zeros([BLOCKS], tl.int32), mask=block < blocks)
    if first == 1:
        flag(message, message_stride, flags, peers, 0)


@triton.jit
def residual_kernel(
    x0,
    x1,
    x2,
    state0,
    state1,
    state2,
    residual,
    largest,
    message,
    betas0,
    betas1,
    betas2,
    message_stride,
    x_block,
    x_token,
    state_block,
    trend_at,
    flags,
    tokens,
    own,
    peers,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    ORDER: tl.constexpr,
    FOLLOWS: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    SPLIT: tl.constexpr,
    SOFT: tl.constexpr,
):
    """``residual`` [B, N, C] float32: what base and prediction leave of x, 0 for NaN and Inf; ``largest`` [B]: the bits of its
    magnitudes' maximum. The state becomes x if it ``FOLLOWS``.

    Grid: tiles of tokens, blocks, sections. ``betas``: where in a message they are, with order 2.
    """
    tile, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, betas = chosen(section, x0, x1, x2, state0, state1, state2, betas0, betas1, betas2)
    row, _, _, channel, place, inside, _, _ = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, CHANNELS, 1)
    rank = rank_of(block, own)
    x += rank * x_block + row.to(tl.int64)[:, None] * x_token + channel
    value = widened(tl.load(x, mask=inside, other=0.0), SOFT)
    size, left = tl.cast(tokens, tl.int64) * CHANNELS, value
    if ORDER >= 1:
        base, trend, scales, kept, held, last = read_state(
            state, block, state_block, trend_at, tile, tokens, place, inside, x.dtype.element_ty,
            CHANNELS, ROWS, WIDTH, CHANNELS, 1, ORDER, EIGHT_BIT, SOFT, SPLIT,
        )  # fmt: skip
        left = left - held
        if ORDER == 2:
            codes = tl.load(message + rank * message_stride + betas + channel, mask=inside, other=0)
            left = left - last * beta_value(codes.to(tl.int8, bitcast=True))
        if FOLLOWS:
            write_state(
                base, trend, scales, value, tl.zeros_like(value), inside, kept,
                ORDER, ROWS, WIDTH, EIGHT_BIT, SOFT, CHANNELS, 1, SPLIT,
            )  # fmt: skip
    finite = tl.abs(left) < float("inf")
    left = tl.where(finite, left, 0.0)
    which = section * tl.num_programs(1) + block
    tl.store(residual + which * size + place, left, mask=inside)
    tl.atomic_max(largest + which, tl.max(tl.max(tl.abs(left).to(tl.int32, bitcast=True), axis=1), axis=0))
    if tl.max(tl.max((~finite).to(tl.int32), axis=1), axis=0) == 1:
        flag(message, message_stride, flags, peers, 1)


@triton.jit
def _ratio(above, below):
    """Elementwise, 0 where it is no number."""
    ratio = above / below
    return tl.where(tl.abs(ratio) < float("inf"), ratio, 0.0)


@triton.jit
def _diagonal(gram, block, component, rank, K: tl.constexpr):
    """Square roots of the diagonal of the block's [K, K], for ``component`` of any shape; 1 past the rank."""
    square = tl.load(gram + block * K * K + component * (K + 1)).to(tl.float32)
    return tl.where(component < rank, tl.sqrt(square) * _UNIT, 1.0)


@triton.jit
def weights_kernel(
    gram_u,
    gram_v,
    by_v,
    u,
    weights,
    tokens,
    rank,
    ridge,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    K: tl.constexpr,
):
    """``weights`` [B, K] of ``Steps.weights``, by ``TURNS`` of conjugate gradients. Grid: blocks."""
    block = tl.program_id(0).to(tl.int64)
    row, column = tl.arange(0, K)[:, None], tl.arange(0, K)[None, :]
    sums = tl.zeros([K], tl.float32)
    for first in range(0, tokens, ROWS):
        token = first + tl.arange(0, ROWS)[:, None]
        place = (block * tokens + token) * K + column
        there = token < tokens
        found = tl.load(by_v + place, mask=there, other=0.0).to(tl.float32)
        sums += tl.sum(found * tl.load(u + place, mask=there, other=0.0).to(tl.float32), axis=0)
    # with ones on the diagonal
    square = block * K * K + row * K + column
    down = _diagonal(gram_u, block, row, rank, K) * _diagonal(gram_v, block, row, rank, K)
    across = _diagonal(gram_u, block, column, rank, K) * _diagonal(gram_v, block, column, rank, K)
    gram = tl.load(gram_u + square).to(tl.float32) * tl.load(gram_v + square).to(tl.float32) * (_UNIT * _UNIT * _UNIT * _UNIT)
    gram = _ratio(_ratio(gram, down), across)
    component = tl.arange(0, K)
    roots = _diagonal(gram_u, block, component, rank, K) * _diagonal(gram_v, block, component, rank, K)
    left = _ratio(sums * (_UNIT * _UNIT), roots)
    found, along = tl.zeros([K], tl.float32), left
    energy = tl.sum(left * left, axis=0)
    for _ in tl.range(TURNS, num_stages=1, loop_unroll_factor=1):
        # a sum down the columns goes along them, and the matrix is symmetric
        reached = tl.sum(gram * _down(along, row, column), axis=0) + along * ridge
        step = _ratio(energy, tl.sum(along * reached, axis=0))
        found += along * step
        left -= reached * step
        before = energy
        energy = tl.sum(left * left, axis=0)
        along = left + along * _ratio(energy, before)
    tl.store(weights + block * K + component, tl.where(component < rank, _ratio(found, roots), 0.0))


@triton.jit
def _down(vector, row, column):
    """[K] as [K, 1]."""
    return tl.sum(tl.where(row == column, vector[None, :], 0.0), axis=1)[:, None]


@triton.jit
def _nearest(steps):
    """Of numbers in steps of two the nearest of -3, -1, 1 and 3; 1 for NaN."""
    down = tl.floor(tl.where(steps == steps, steps, 0.0))
    return tl.minimum(tl.maximum(down, -2.0), 1.0) * 2.0 + 1.0


@triton.jit
def _size(classes, SIZES: tl.constexpr):
    size = tl.full(classes.shape, SIZES[0], tl.float32)
    for index in tl.static_range(1, len(SIZES)):
        size = tl.where(classes == index, SIZES[index], size)
    return size


@triton.jit
def _with_ones(gram, block, rank, K: tl.constexpr):
    """The block's [K, K] with rows and columns scaled to a diagonal of ones, as float16; and what columns were divided by."""
    row, column = tl.arange(0, K)[:, None], tl.arange(0, K)[None, :]
    root = _diagonal(gram, block, column, rank, K)
    square = tl.load(gram + block * K * K + row * K + column).to(tl.float32) * (_UNIT * _UNIT)
    return _ratio(_ratio(square, _diagonal(gram, block, row, rank, K)), root).to(tl.float16), root


@triton.jit
def nearer_kernel(
    target,
    gram,
    weights,
    levels,
    classes,
    whole,
    length,
    rank,
    ridge,
    level_unit,
    FIRST: tl.constexpr,
    FIRST_CLASS: tl.constexpr,
    SIZES: tl.constexpr,
    EDGES: tl.constexpr,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    K: tl.constexpr,
):
    """``levels`` [B, L, K] int8, ``classes`` [B, L] uint8 and ``whole`` [B, L, K] of ``Steps.nearer``.

    ``FIRST``: there are none yet. The equations are solved by ``TURNS`` of conjugate gradients, each row by itself, with
    columns scaled so that the Gram matrix has ones on its diagonal; then float16 is enough for it, and four turns find
    levels as good as exact solutions do. Grid: tiles of rows, blocks.
    """
    block = tl.program_id(1).to(tl.int64)
    row, column = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None], tl.arange(0, K)[None, :]
    there, place = row < length, (block * length + row) * K + column
    square, root = _with_ones(gram, block, rank, K)
    wanted = tl.load(target + place, mask=there, other=0.0).to(tl.float32) * _UNIT / root
    most = tl.max(tl.abs(wanted), axis=1)[:, None]
    left = _ratio(wanted, most)
    found, along = tl.zeros([ROWS, K], tl.float32), left
    energy = tl.sum(left * left, axis=1)[:, None]
    # unrolled, it would hold the matrix in registers
    for _ in tl.range(TURNS, num_stages=1, loop_unroll_factor=1):
        reached = tl.dot(along.to(tl.float16), square) + along * ridge
        step = _ratio(energy, tl.sum(along * reached, axis=1)[:, None])
        found += along * step
        left -= reached * step
        before = energy
        energy = tl.sum(left * left, axis=1)[:, None]
        along = left + along * _ratio(energy, before)
    weighed = tl.load(weights + block * K + column) * root
    values = found * most / weighed
    if FIRST:
        kind = tl.full([ROWS, 1], FIRST_CLASS, tl.int32)
        unit = tl.sqrt(tl.sum(tl.where(column < rank, values * values, 0.0), axis=1)[:, None] / rank) * level_unit
    else:
        largest = tl.max(tl.abs(weighed), axis=1)[:, None]
        level = tl.load(levels + place, mask=there, other=0).to(tl.float32) * _ratio(weighed, largest)
        reach = tl.sum(tl.dot(level.to(tl.float16), square) * level, axis=1)[:, None] * largest
        share = tl.sum(wanted * level, axis=1)[:, None] / reach
        kind = tl.zeros([ROWS, 1], tl.int32)
        for index in tl.static_range(len(EDGES)):
            # NaN is the last class
            kind += (~(share <= EDGES[index])).to(tl.int32)
        unit = _size(kind, SIZES)
    level = tl.where(column < rank, _nearest(values / (unit * 2.0)), 0.0)
    tl.store(levels + place, level.to(tl.int8), mask=there)
    tl.store(whole + place, (level * _size(kind, SIZES) / _UNIT).to(tl.float16), mask=there)
    tl.store(classes + block * length + row, kind.to(tl.uint8), mask=there)


@triton.jit
def revise_kernel(
    target,
    gram,
    weights,
    levels,
    classes,
    whole,
    length,
    rank,
    SIZES: tl.constexpr,
    ROWS: tl.constexpr,
    K: tl.constexpr,
):
    """``levels`` and ``whole`` as ``_factor_fit._revise`` leaves them, in the terms of ``nearer_kernel``; its grid."""
    block = tl.program_id(1).to(tl.int64)
    row, column = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None], tl.arange(0, K)[None, :]
    there, place = row < length, (block * length + row) * K + column
    square, root = _with_ones(gram, block, rank, K)
    weighed = tl.load(weights + block * K + column) * root
    largest = tl.max(tl.abs(weighed), axis=1)[:, None]
    size = _size(tl.load(classes + block * length + row, mask=there, other=0).to(tl.int32), SIZES)
    level = tl.load(levels + place, mask=there, other=0).to(tl.float32)
    rebuilt = tl.dot((level * _ratio(weighed, largest)).to(tl.float16), square) * largest
    wanted = tl.load(target + place, mask=there, other=0.0).to(tl.float32) * _UNIT / root
    missed = wanted / (size * 2.0) - rebuilt * 0.5
    for component in tl.range(0, rank, num_stages=1, loop_unroll_factor=1):
        here = column == component
        own = tl.sum(tl.where(here, weighed, 0.0), axis=1)[:, None]
        own_root = tl.sum(tl.where(here, root, 0.0), axis=1)[:, None]
        beside = tl.load(gram + (block * K + component) * K + column).to(tl.float32) * (_UNIT * _UNIT)
        beside = _ratio(beside, root * own_root) * own
        before = tl.sum(tl.where(here, level, 0.0), axis=1)[:, None]
        best = _nearest(tl.sum(tl.where(here, missed, 0.0), axis=1)[:, None] / own + before * 0.5)
        missed -= (best - before) * 0.5 * beside
        level = tl.where(here, best, level)
    tl.store(levels + place, level.to(tl.int8), mask=there)
    tl.store(whole + place, (level * size / _UNIT).to(tl.float16), mask=there)


@triton.jit
def pack_kernel(
    weights,
    scale,
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
    own,
    peers,
    rank,
    most_unit,
    MOST_WEIGHT: tl.constexpr,
    BYTES: tl.constexpr,
    K: tl.constexpr,
):
    """The payloads' bytes; ``scale`` [B] is what x was divided by. Grid: rows of bytes (classes and components of U, then of V), blocks, sections."""
    line, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    _, _, offset = chosen(section, message, message, message, message, message, message, offset0, offset1, offset2)
    payload = message + rank_of(block, own) * message_stride + offset
    which = section * tl.num_programs(1) + block
    known = tl.arange(0, K)
    weight = tl.load(weights + which * K + known)
    size = tl.abs(weight)
    unit = tl.max(size, axis=0) / MOST_WEIGHT
    if line == 0:
        wholes = tl.minimum(tl.where(unit > 0, size / unit, 0.0), MOST_WEIGHT)
        wholes = (wholes + 12582912.0) - 12582912.0
        tl.store(payload + 2 + known, wholes.to(tl.uint8), mask=known < rank)
        scaled = unit * tl.load(scale + which)
        bits = scaled.to(tl.int32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        tl.store(payload, (bits & 0xFF).to(tl.uint8))
        tl.store(payload + 1, ((bits >> 8) & 0xFF).to(tl.uint8))
        if ~(scaled < most_unit):
            flag(message, message_stride, flags, peers, 1)
    of_v = line > rank
    length = tl.where(of_v, channels, tokens)
    component = tl.where(of_v, line - rank - 1, line) - 1
    width_u, width_v = (tokens + 3) // 4, (channels + 3) // 4
    width = tl.where(of_v, width_v, width_u)
    classes_at = 2 + rank + tl.where(of_v, width_u, 0)
    levels_at = 2 + rank + width_u + width_v + tl.where(of_v, rank * width_u, 0)
    target = payload + tl.where(component < 0, classes_at, levels_at + component * width)
    turned = of_v & (tl.load(weights + which * K + tl.maximum(component, 0)) < 0)
    for first in range(0, width, BYTES):
        byte = first + tl.arange(0, BYTES)
        packed = tl.zeros([BYTES], tl.int32)
        for field in tl.static_range(4):
            entry = byte * 4 + field
            there = entry < length
            place = which.to(tl.int64) * length + entry
            if component < 0:
                if of_v:
                    code = tl.load(classes_v + place, mask=there, other=0).to(tl.int32)
                else:
                    code = tl.load(classes_u + place, mask=there, other=0).to(tl.int32)
            else:
                if of_v:
                    level = tl.load(levels_v + place * K + component, mask=there, other=-3).to(tl.int32)
                else:
                    level = tl.load(levels_u + place * K + component, mask=there, other=-3).to(tl.int32)
                code = (tl.where(turned & there, -level, level) + 3) // 2
            packed |= code << (2 * field)
        tl.store(target + byte, packed.to(tl.uint8), mask=byte < width)
