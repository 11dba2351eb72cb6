"""The launches that find ``lowrank_fit``'s factors and store them: the counterparts of ``codecs._factor_fit``.

Only the sender searches, so these sum in whatever order is fast; what both ends compute is in ``low_rank_decode``. Factors
have K components, the power of two from the rank on, of which those past the rank are 0. Blocks of all sections lie one
after the other.

A launch finds one factor for the other one: each of its programs finds some of the rows, and adds what it has of sums over
all rows, which only the next launch reads. These sums are of whole numbers, so that they do not depend on who comes first: of
products of factors, int32; and of products with x, ``shares``, int64 in steps of 2⁻²⁰, which a block of fewer than 2³² numbers
does not overflow.

Products are of float16, which tensor cores multiply and which levels are not seen to need more than.
"""

import triton
import triton.language as tl

from .placement import chosen, flag, rank_of
from .residual import scale_of_block

_STEPS = tl.constexpr(1048576.0)
# adding and taking it away rounds a float32 below 2^22 to the nearest even integer
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def _ratio(above, below):
    """Elementwise, 0 where it is no number."""
    ratio = above / below
    return tl.where(tl.abs(ratio) < float("inf"), ratio, 0.0)


@triton.jit
def _roots(gram, block, component, rank, K: tl.constexpr):
    """Square roots of the diagonal of the block's [K, K], for ``component`` of any shape; 1 past the rank. No level is 0, so none is."""
    square = tl.load(gram + block * K * K + component * (K + 1)).to(tl.float32)
    return tl.where(component < rank, tl.sqrt(square), 1.0)


@triton.jit
def _with_ones(gram, block, rank, K: tl.constexpr):
    """The block's [K, K] with rows and columns scaled to a diagonal of ones; and what rows were divided by, [K, 1]."""
    row, column = tl.arange(0, K)[:, None], tl.arange(0, K)[None, :]
    root = _roots(gram, block, row, rank, K)
    square = tl.load(gram + block * K * K + row * K + column).to(tl.float32)
    return square * (1.0 / root) * (1.0 / _roots(gram, block, column, rank, K)), root


@triton.jit
def _weights(shares, gram_u, gram_v, block, rank, ridge, TURNS: tl.constexpr, K: tl.constexpr):
    """``Steps.weights`` of a block, [K, 1], 0 past the rank; by ``TURNS`` of conjugate gradients."""
    row, column = tl.arange(0, K)[:, None], tl.arange(0, K)[None, :]
    root = _roots(gram_u, block, row, rank, K) * _roots(gram_v, block, row, rank, K)
    beside = _roots(gram_u, block, column, rank, K) * _roots(gram_v, block, column, rank, K)
    place = block * K * K + row * K + column
    square = tl.load(gram_u + place).to(tl.float32) * tl.load(gram_v + place).to(tl.float32)
    # with ones on the diagonal
    square = square * (1.0 / root) * (1.0 / beside)
    left = tl.load(shares + block * K + row).to(tl.float32) / _STEPS / root
    found, along = tl.zeros([K, 1], tl.float32), left
    energy = tl.sum(left * left, axis=0)[None, :]
    for _ in tl.range(TURNS, num_stages=1, loop_unroll_factor=1):
        across = tl.sum(tl.where(row == column, along, 0.0), axis=0)[None, :]
        reached = tl.sum(square * across, axis=1)[:, None] + along * ridge
        step = _ratio(energy, tl.sum(along * reached, axis=0)[None, :])
        found += along * step
        left -= reached * step
        before = energy
        energy = tl.sum(left * left, axis=0)[None, :]
        along = left + along * _ratio(energy, before)
    return tl.where(row < rank, found / root, 0.0)


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
def nearer_kernel(
    x,
    other,
    gram_other,
    gram_own,
    gram_before,
    shares,
    weights,
    levels,
    classes,
    whole,
    length,
    other_length,
    stride,
    other_stride,
    rank,
    ridge,
    level_unit,
    OF_U: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    FIRST_CLASS: tl.constexpr,
    SIZES: tl.constexpr,
    EDGES: tl.constexpr,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    INNER: tl.constexpr,
    K: tl.constexpr,
):
    """``Steps.nearer_u``, or ``Steps.nearer_v``: ``levels`` [B, K, L] int8, ``classes`` [B, L] uint8, ``whole`` [B, K, L] float16 of a
    factor, found for the ``other`` one, of ``other_length``, and ``x`` [B, N, C] float16. Grid: tiles of rows, blocks. Rows of
    levels and whole numbers are ``stride`` apart, or ``other_stride``, multiples of 16, and 0 behind the last one.

    ``gram_other`` [B, K, K] is read and ``gram_own`` added to. Who finds U computes ``weights`` [B, K] of V as it is and of U
    before, with ``gram_before`` and ``shares`` [B, K]; who finds V reads them, and adds its own ``shares``. ``FIRST``: there are no
    levels yet, and weights are 1; ``LAST``: levels are revised.

    The equations are solved by ``TURNS`` of conjugate gradients, each row by itself, with columns scaled so that the Gram
    matrix has ones on its diagonal; then float16 is enough for it, and four turns find levels as good as exact solutions do.

    All is held as [K, ROWS]: products then have as many rows as several warps share.
    """
    tile, block = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row, component = (tile * ROWS + tl.arange(0, ROWS))[None, :], tl.arange(0, K)[:, None]
    there, place = row < length, (block * K + component) * stride + row
    if FIRST:
        weight = tl.full([K, 1], 1.0, tl.float32)
    elif OF_U:
        weight = _weights(shares, gram_before, gram_other, block, rank, ridge, TURNS, K)
        if tile == 0:
            tl.store(weights + block * K + component, weight)
    else:
        weight = tl.load(weights + block * K + component)
    target = tl.zeros([K, ROWS], tl.float32)
    x += block * length * other_length
    for first in range(0, other_length, INNER):
        down, along = first + tl.arange(0, INNER)[:, None], first + tl.arange(0, INNER)[None, :]
        left = tl.load(other + (block * K + component) * other_stride + along, mask=along < other_stride, other=0.0)
        if OF_U:
            token = tile * ROWS + tl.arange(0, ROWS)[:, None]
            taken = (token < length) & (along < other_length)
            right = tl.trans(tl.load(x + token.to(tl.int64) * other_length + along, mask=taken, other=0.0))
        else:
            right = tl.load(x + down.to(tl.int64) * length + row, mask=(down < other_length) & there, other=0.0)
        target = tl.dot(left, right, target)
    square, root = _with_ones(gram_other, block, rank, K)
    square, wanted = square.to(tl.float16), target / root
    level, kind = _found(
        wanted, square, weight * root, levels + place, there, component < rank, rank, ridge, level_unit,
        FIRST, FIRST_CLASS, SIZES, EDGES, TURNS, ROWS, K,
    )  # fmt: skip
    size = _size(kind, SIZES)
    if LAST:
        level = _revised(wanted, square, weight * root, root, gram_other + block * K * K, level, size, rank, K)
    level = tl.where(there & (component < rank), level, 0.0)
    number = (level * size).to(tl.float16)
    tl.store(levels + place, level.to(tl.int8), mask=there)
    tl.store(classes + block * length + row, kind.to(tl.uint8), mask=there)
    tl.store(whole + place, number, mask=there)
    if not OF_U:
        share = tl.sum(wanted * level * size, axis=1)[:, None] * (root * _STEPS)
        tl.atomic_add(shares + block * K + component, share.to(tl.int64), sem="relaxed")
    products = tl.dot(number, tl.trans(number)).to(tl.int32)
    tl.atomic_add(gram_own + block * K * K + component * K + tl.arange(0, K)[None, :], products, sem="relaxed")


@triton.jit
def _found(
    wanted,
    square,
    weighed,
    levels,
    there,
    within,
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
    """Levels [K, ROWS] and classes [1, ROWS] for what is ``wanted`` [K, ROWS], in components as ``square`` [K, K] has them."""
    most = tl.max(tl.abs(wanted), axis=0)[None, :]
    left = _ratio(wanted, most)
    found, along = tl.zeros([K, ROWS], tl.float32), left
    energy = tl.sum(left * left, axis=0)[None, :]
    # unrolled, it would hold the matrix in registers
    for _ in tl.range(TURNS, num_stages=1, loop_unroll_factor=1):
        reached = tl.dot(square, along.to(tl.float16)) + along * ridge
        step = _ratio(energy, tl.sum(along * reached, axis=0)[None, :])
        found += along * step
        left -= reached * step
        before = energy
        energy = tl.sum(left * left, axis=0)[None, :]
        along = left + along * _ratio(energy, before)
    # over the row's largest number
    values = found / weighed
    if FIRST:
        kind = tl.full([1, ROWS], FIRST_CLASS, tl.int32)
        unit = tl.sqrt(tl.sum(tl.where(within, values * values, 0.0), axis=0)[None, :] / rank) * level_unit
    else:
        largest = tl.max(tl.abs(weighed), axis=0)[None, :]
        level = tl.load(levels, mask=there, other=0).to(tl.float32) * _ratio(weighed, largest)
        reach = tl.sum(tl.dot(square, level.to(tl.float16)) * level, axis=0)[None, :] * largest
        share = tl.sum(wanted * level, axis=0)[None, :] / reach
        kind = tl.zeros([1, ROWS], tl.int32)
        for index in tl.static_range(len(EDGES)):
            # NaN is the last class
            kind += (~(share <= EDGES[index])).to(tl.int32)
        unit = _ratio(_size(kind, SIZES), most)
    return tl.where(within, _nearest(values / (unit * 2.0)), 0.0), kind


@triton.jit
def _revised(wanted, square, weighed, root, gram, level, size, rank, K: tl.constexpr):
    """``level`` as ``_factor_fit._revise`` leaves it, in the terms of ``_found``; ``gram`` is the block's, whose ``root`` made ``square``."""
    row = tl.arange(0, K)[:, None]
    largest = tl.max(tl.abs(weighed), axis=0)[None, :]
    rebuilt = tl.dot(square, (level * _ratio(weighed, largest)).to(tl.float16)) * largest
    missed = wanted / (size * 2.0) - rebuilt * 0.5
    inverse = 0.5 / root
    for component in tl.range(0, rank, num_stages=1, loop_unroll_factor=1):
        here = row == component
        own = tl.sum(tl.where(here, weighed, 0.0), axis=0)[None, :]
        own_inverse = tl.sum(tl.where(here, inverse, 0.0), axis=0)[None, :] * 2.0
        beside = tl.load(gram + component * K + row).to(tl.float32) * inverse * (own_inverse * own)
        before = tl.sum(tl.where(here, level, 0.0), axis=0)[None, :]
        best = _nearest(tl.sum(tl.where(here, missed, 0.0), axis=0)[None, :] / own + before * 0.5)
        missed -= (best - before) * beside
        level = tl.where(here, best, level)
    return level


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
    weight = _weights(shares, gram_u, gram_v, which, rank, ridge, TURNS, K)
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
