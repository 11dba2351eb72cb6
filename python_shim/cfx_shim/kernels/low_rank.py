"""The launches that find ``lowrank_fit``'s factors: the counterparts of ``codecs._factor_fit``.

Only the sender searches, so these sum in whatever order is fast; what both ends compute is in ``low_rank_decode``. Factors
have K components, the power of two from the rank on, of which those past the rank are 0. Blocks of all sections lie one
after the other.

One factor is found for the other one: each program finds some of its rows, and adds what it has of sums over all rows, which only
the next factor needs; before that comes a barrier, or a launch begins. These sums are of whole numbers, so that they do not
depend on who comes first: of products of factors, int32; and of products with x, ``shares``, int64 in steps of 2⁻²⁰, which a
block of fewer than 2³² numbers does not overflow.
"""

import triton
import triton.language as tl

from .barrier import PATIENCE, wait_for_all
from .low_rank_solve import STEPS, ratio, solved, weights_of, with_ones
from .placement import flag


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


# by whatever a launch begins with and ends, it is the same kernel
@triton.jit(do_not_specialize=["first", "last"])
def search_kernel(
    x,
    whole,
    grams,
    shares,
    weights,
    levels,
    classes,
    arrived,
    message,
    message_stride,
    flags,
    peers,
    first,
    last,
    blocks,
    tokens,
    channels,
    token_stride,
    channel_stride,
    rank,
    ridge,
    level_unit,
    FIRST_CLASS: tl.constexpr,
    SIZES: tl.constexpr,
    EDGES: tl.constexpr,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    INNER: tl.constexpr,
    STAGES: tl.constexpr,
    K: tl.constexpr,
):
    """``_factor_fit.fit`` from its factor ``first`` up to ``last``, U and V by turns, none of which is revised, with a barrier between
    any two. Any number of programs, one axis. A barrier that failed sets flags.

    ``x`` [B, N, C] float16. Of U, and of V behind it, ``levels`` [B, K, L] int8, ``classes`` [B, L] uint8 and ``whole`` [B, K, L]
    float16, in rows that are ``token_stride`` or ``channel_stride`` apart, multiples of 16, and 0 behind the last one; behind all
    comes the ``whole`` V that the search begins with. ``grams`` [1 + turns, 2, B, K, K]: of U and V, from V's to begin with on; ``shares``
    [turns, B, K]; both are 0 where nothing was found yet. ``weights`` [B, K]: of V as it was before the turn, and U before it.
    """
    patience = tl.cast(PATIENCE, tl.int32)
    for number in tl.range(first, last, num_stages=1):
        if number > first:
            patience = wait_for_all(arrived, (number - first) * tl.num_programs(0), patience)
        length = tl.where(number % 2 == 1, channels, tokens)
        tiles = (length + ROWS - 1) // ROWS
        for place in tl.range(tl.program_id(0), tiles * blocks, tl.num_programs(0), num_stages=1):
            _nearer(
                x, whole, grams, shares, weights, levels, classes, place % tiles, (place // tiles).to(tl.int64), number // 2,
                blocks, tokens, channels, token_stride, channel_stride, rank, ridge, level_unit, number % 2 == 1, number < 2,
                False, FIRST_CLASS, SIZES, EDGES, TURNS, ROWS, INNER, STAGES, K,
            )  # fmt: skip
    if patience == 0:
        flag(message, message_stride, flags, peers, 1)


@triton.jit
def revise_kernel(
    x,
    whole,
    grams,
    shares,
    weights,
    levels,
    classes,
    turn,
    blocks,
    tokens,
    channels,
    token_stride,
    channel_stride,
    rank,
    ridge,
    level_unit,
    OF_V: tl.constexpr,
    FIRST_CLASS: tl.constexpr,
    SIZES: tl.constexpr,
    EDGES: tl.constexpr,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    INNER: tl.constexpr,
    STAGES: tl.constexpr,
    K: tl.constexpr,
):
    """U or V of a ``turn`` behind the first, revised. Grid: tiles of rows, blocks. The rest as in ``search_kernel``."""
    _nearer(
        x, whole, grams, shares, weights, levels, classes, tl.program_id(0), tl.program_id(1).to(tl.int64), turn,
        blocks, tokens, channels, token_stride, channel_stride, rank, ridge, level_unit, OF_V, False,
        True, FIRST_CLASS, SIZES, EDGES, TURNS, ROWS, INNER, STAGES, K,
    )  # fmt: skip


@triton.jit
def _nearer(
    x,
    whole,
    grams,
    shares,
    weights,
    levels,
    classes,
    tile,
    block,
    turn,
    blocks,
    tokens,
    channels,
    token_stride,
    channel_stride,
    rank,
    ridge,
    level_unit,
    of_v,
    begins,
    REVISES: tl.constexpr,
    FIRST_CLASS: tl.constexpr,
    SIZES: tl.constexpr,
    EDGES: tl.constexpr,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    INNER: tl.constexpr,
    STAGES: tl.constexpr,
    K: tl.constexpr,
):
    """``_factor_fit._nearer`` of a tile of rows of U or V of a block.

    Who finds U computes the weights of V as it is and of U before; who finds V reads them, and adds its own shares. ``begins``:
    there are no levels yet, and weights are 1. All is held as [K, ROWS]: products then have as many rows as several warps share.
    """
    of_blocks = tl.cast(blocks, tl.int64) * K
    behind = of_blocks * token_stride
    # of U before, V before, U, V
    gram = grams + 2 * turn * of_blocks * K
    if of_v:
        length, other_length, stride, other_stride = channels, tokens, channel_stride, token_stride
        other, gram_other, gram_own = whole, gram + 2 * of_blocks * K, gram + 3 * of_blocks * K
        shares += turn * of_blocks
        levels, classes, whole = levels + behind, classes + tl.cast(blocks, tl.int64) * tokens, whole + behind
    else:
        length, other_length, stride, other_stride = tokens, channels, token_stride, channel_stride
        other, gram_other, gram_own = whole + behind, gram + of_blocks * K, gram + 2 * of_blocks * K
        shares += (turn - 1) * of_blocks
        if begins:
            other += of_blocks * channel_stride
    row, component = (tile * ROWS + tl.arange(0, ROWS))[None, :], tl.arange(0, K)[:, None]
    there, place = row < length, (block * K + component) * stride + row
    target = tl.zeros([K, ROWS], tl.float32)
    x += block * length * other_length
    other += (block * K + component) * other_stride
    if of_v:
        for first in tl.range(0, other_length, INNER, num_stages=STAGES):
            down, along = first + tl.arange(0, INNER)[:, None], first + tl.arange(0, INNER)[None, :]
            left = tl.load(other + along, mask=along < other_stride, other=0.0)
            right = tl.load(x + down.to(tl.int64) * length + row, mask=(down < other_length) & there, other=0.0)
            target = tl.dot(left, right, target)
    else:
        token = tile * ROWS + tl.arange(0, ROWS)[:, None]
        for first in tl.range(0, other_length, INNER, num_stages=STAGES):
            along = first + tl.arange(0, INNER)[None, :]
            left = tl.load(other + along, mask=along < other_stride, other=0.0)
            taken = (token < length) & (along < other_length)
            right = tl.load(x + token.to(tl.int64) * other_length + along, mask=taken, other=0.0)
            target = tl.dot(left, tl.trans(right), target)
    square, root = with_ones(gram_other, block, rank, K)
    square, wanted = square.to(tl.float16), target / root
    if begins:
        weight = tl.full([K, 1], 1.0, tl.float32)
    elif of_v:
        weight = tl.load(weights + block * K + component)
    else:
        weight = weights_of(shares, gram, square, root, block, rank, ridge, TURNS, K)
        if tile == 0:
            tl.store(weights + block * K + component, weight)
    level, kind = _found(
        wanted, square, weight * root, levels + place, there, component < rank, rank, ridge, level_unit,
        begins, FIRST_CLASS, SIZES, EDGES, TURNS, ROWS, K,
    )  # fmt: skip
    size = _size(kind, SIZES)
    if REVISES:
        level = _revised(wanted, square, weight * root, root, gram_other + block * K * K, level, size, rank, K)
    level = tl.where(there & (component < rank), level, 0.0)
    number = (level * size).to(tl.float16)
    tl.store(levels + place, level.to(tl.int8), mask=there)
    tl.store(classes + block * length + row, kind.to(tl.uint8), mask=there)
    tl.store(whole + place, number, mask=there)
    if of_v:
        share = tl.sum(wanted * level * size, axis=1)[:, None] * (root * STEPS)
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
    begins,
    FIRST_CLASS: tl.constexpr,
    SIZES: tl.constexpr,
    EDGES: tl.constexpr,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    K: tl.constexpr,
):
    """Levels [K, ROWS] and classes [1, ROWS] for what is ``wanted`` [K, ROWS], in components as ``square`` [K, K] has them."""
    found, most = solved(square, wanted, ridge, TURNS)
    # over the row's largest number
    values = found / weighed
    if begins:
        kind = tl.full([1, ROWS], FIRST_CLASS, tl.int32)
        unit = tl.sqrt(tl.sum(tl.where(within, values * values, 0.0), axis=0)[None, :] / rank) * level_unit
    else:
        largest = tl.max(tl.abs(weighed), axis=0)[None, :]
        level = tl.load(levels, mask=there, other=0).to(tl.float32) * ratio(weighed, largest)
        reach = tl.sum(tl.dot(square, level.to(tl.float16)) * level, axis=0)[None, :] * largest
        share = tl.sum(wanted * level, axis=0)[None, :] / reach
        kind = tl.zeros([1, ROWS], tl.int32)
        for index in tl.static_range(len(EDGES)):
            # NaN is the last class
            kind += (~(share <= EDGES[index])).to(tl.int32)
        unit = ratio(_size(kind, SIZES), most)
    return tl.where(within, _nearest(values / (unit * 2.0)), 0.0), kind


@triton.jit
def _revised(wanted, square, weighed, root, gram, level, size, rank, K: tl.constexpr):
    """``level`` as ``_factor_fit._revise`` leaves it, in the terms of ``_found``; ``gram`` is the block's, whose ``root`` made ``square``."""
    row = tl.arange(0, K)[:, None]
    largest = tl.max(tl.abs(weighed), axis=0)[None, :]
    rebuilt = tl.dot(square, (level * ratio(weighed, largest)).to(tl.float16)) * largest
    # in steps of two of its own level each
    missed = (wanted / (size * 2.0) - rebuilt * 0.5) / weighed
    each = tl.broadcast_to(weighed / root, level.shape)
    beside_of_one = 0.5 / (root * weighed)
    for component in tl.range(0, rank, num_stages=1, loop_unroll_factor=1):
        here = row == component
        # all that is wanted of a row is found at once, for between warps that takes a barrier
        of_row = tl.join(tl.join(missed, level), tl.join(each, each))
        missing, own = tl.split(tl.sum(tl.where(here[:, :, None, None], of_row, 0.0), axis=0))
        missing, before = tl.split(missing)
        own, _ = tl.split(own)
        best = _nearest(missing + before * 0.5)[None, :]
        beside = tl.load(gram + component * K + row).to(tl.float32) * beside_of_one
        missed -= (best - before[None, :]) * own[None, :] * beside
        level = tl.where(here, best, level)
    return level
