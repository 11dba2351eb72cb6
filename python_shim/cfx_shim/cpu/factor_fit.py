"""The search for ``lowrank_fit``'s factors: ``codecs._factor_fit`` with a vector for 16 tokens, or channels, at a time.

By the sender alone, so sums are taken in the order that is fast: equations are solved by an inverse, of which all rows make
use. What is kept of a factor, a side, are parts of ``low_rank_room.side_bytes`` in their order.
"""

import numpy as np

from . import low_rank_room, shared
from .arithmetic import called, inlined
from .lanes import total_of
from .matrices import multiply, put_gram, put_inverse
from .vectors import (
    LANES,
    all_floats,
    all_ints,
    at_least,
    below,
    bits_of_one,
    either,
    either_int,
    equal,
    float_at,
    single_at,
    floats_at,
    ints_at,
    mask_of_bits,
    multiplied_and_added,
    put_float,
    put_floats,
    put_ints,
    root_of,
    whole_at,
)

_VECTOR, _INFINITY = 4 * LANES, 0x7F800000

padded, side_bytes = inlined(low_rank_room.padded), inlined(low_rank_room.side_bytes)


@inlined
def panels_of(length):
    return (length + (LANES - 1)) // LANES


@inlined
def levels_at(side, panels, components):
    return side + panels * components * _VECTOR


@inlined
def _whole_at(side, panels, components):
    return side + 2 * panels * components * _VECTOR


@inlined
def classes_at(side, panels, components):
    return side + 3 * panels * components * _VECTOR


@inlined
def _gram_at(side, panels, components):
    return side + (3 * components + 1) * panels * _VECTOR


@inlined
def lanes_of(length, panel):
    """A Mask of the panel's tokens or channels that there are."""
    return mask_of_bits((1 << min(LANES, length - LANES * panel)) - 1)


@inlined
def class_factor(common, classes):
    """Floats of what Ints of classes stand for."""
    size = all_floats(single_at(common + shared.LEVELS))
    for index in range(1, 4):
        size = either(equal(classes, all_ints(index)), all_floats(single_at(common + shared.LEVELS + 8 * index)), size)
    return size


def _fit(common, x, turned, u, v, weights, room):
    """Factors ``u`` and ``v`` and ``weights`` for a block in panels, ``x`` of channels and ``turned`` of tokens.

    Sides, weights and ``room`` are all zeros.
    """
    tokens, channels, rank = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS), whole_at(common + shared.RANK)
    rounds, components = whole_at(common + shared.ROUNDS), padded(rank)
    width, of_u, of_v = LANES * panels_of(rank), panels_of(tokens), panels_of(channels)
    gram_u, gram_v = _gram_at(u, of_u, components), _gram_at(v, of_v, components)
    whole_u, whole_v = _whole_at(u, of_u, components), _whole_at(v, of_v, components)
    # what the search begins with is nearly orthogonal
    for k in range(rank):
        put_float(gram_v + 4 * (k * width + k), np.float32(1.0))
        put_float(weights + 4 * k, np.float32(1.0))
    step_u, step_v, panel_bytes = of_u * _VECTOR, of_v * _VECTOR, components * _VECTOR
    other = whole_at(common + shared.TABLES)
    for turn in range(rounds + 1):
        multiply(other, step_v, 4, components, turned, LANES * step_v, of_u, channels, u, _VECTOR, panel_bytes)
        _nearer(common, u, tokens, gram_v, weights, turn == 0, turn == rounds, room)
        multiply(whole_u, step_u, 4, components, x, LANES * step_u, of_v, tokens, v, _VECTOR, panel_bytes)
        put_gram(whole_u, step_u, rank, gram_u, width)
        _nearer(common, v, channels, gram_u, weights, turn == 0, turn == rounds, room)
        put_gram(whole_v, step_v, rank, gram_v, width)
        _put_weights(common, v, of_v, gram_u, gram_v, weights, room)
        other = whole_v


def _put_weights(common, v, panels, gram_u, gram_v, weights, room):
    """Those of the columns of U and V with the least ‖x - U·w·Vᵀ‖; 0 where there is no least. V was found for U as it is."""
    rank = whole_at(common + shared.RANK)
    components, width = padded(rank), LANES * panels_of(rank)
    inverse = room + 4 * components * width
    for at in range(0, 4 * rank * width, _VECTOR):
        put_floats(room + at, floats_at(gram_u + at) * floats_at(gram_v + at))
    put_inverse(room, rank, width, single_at(common + shared.RIDGE), inverse)
    for at in range(0, 4 * width, _VECTOR):
        put_floats(weights + at, all_floats(0.0))
    whole = _whole_at(v, panels, components)
    for k in range(rank):
        sums = all_floats(0.0)
        for panel in range(panels):
            by_u = floats_at(v + (panel * components + k) * _VECTOR)
            sums = multiplied_and_added(by_u, floats_at(whole + (k * panels + panel) * _VECTOR), sums)
        share, row = all_floats(total_of(sums)), inverse + 4 * k * width
        for at in range(0, 4 * width, _VECTOR):
            put_floats(weights + at, multiplied_and_added(share, floats_at(row + at), floats_at(weights + at)))
    for k in range(width):
        size = bits_of_one(float_at(weights + 4 * k)) & 0x7FFFFFFF
        if k >= rank or size >= _INFINITY:
            put_float(weights + 4 * k, np.float32(0.0))


def _nearer(common, side, length, gram, weights, first, last, room):
    """The factor brought nearer to x as the product with another one, whose Gram matrix, without ``weights``, is ``gram``.

    Of what is kept, target is x times the other one without its weights; levels, classes and whole numbers are written, the
    last 0 behind the last token or channel. ``first``: there are no levels yet; ``last``: they are revised.
    """
    rank = whole_at(common + shared.RANK)
    components, width, panels = padded(rank), LANES * panels_of(rank), panels_of(length)
    weighted, inverse = room, room + 4 * components * width
    values = inverse + 4 * components * width
    reached = values + panels * components * _VECTOR
    levels, classes = levels_at(side, panels, components), classes_at(side, panels, components)
    for k in range(rank):
        own = all_floats(float_at(weights + 4 * k))
        for at in range(0, 4 * width, _VECTOR):
            put_floats(weighted + 4 * k * width + at, floats_at(gram + 4 * k * width + at) * floats_at(weights + at) * own)
    put_inverse(weighted, rank, width, single_at(common + shared.RIDGE), inverse)
    for at in range(0, 4 * rank * width, _VECTOR):
        put_floats(inverse + at, floats_at(inverse + at) * floats_at(weights + at % (4 * width)))
    panel_bytes = components * _VECTOR
    multiply(inverse, 4 * width, 4, components, side, panel_bytes, panels, rank, values, _VECTOR, panel_bytes)
    if not first:
        multiply(weighted, 4 * width, 4, components, levels, panel_bytes, panels, rank, reached, _VECTOR, panel_bytes)
    for panel in range(panels):
        here = panel * panel_bytes
        if first:
            kind = all_ints(whole_at(common + shared.FIRST_CLASS))
            unit = _first_unit(common, values + here, rank)
        else:
            kind = _kind(common, side + here, weights, levels + here, reached + here, rank)
            unit = class_factor(common, kind)
        put_ints(classes + panel * _VECTOR, kind)
        steps = all_floats(0.5) / unit
        for k in range(0, rank * _VECTOR, _VECTOR):
            put_floats(levels + here + k, _nearest(floats_at(values + here + k) * steps))
    if last:
        multiply(weighted, 4 * width, 4, components, levels, panel_bytes, panels, rank, reached, _VECTOR, panel_bytes)
        for panel in range(panels):
            here = panel * panel_bytes
            size = class_factor(common, ints_at(classes + panel * _VECTOR))
            _revise(side + here, weights, levels + here, reached + here, weighted, width, rank, size)
    for panel in range(panels):
        size = class_factor(common, ints_at(classes + panel * _VECTOR))
        size = either(lanes_of(length, panel), size, all_floats(0.0))
        for k in range(rank):
            level = floats_at(levels + (panel * components + k) * _VECTOR)
            put_floats(_whole_at(side, panels, components) + (k * panels + panel) * _VECTOR, level * size)


@inlined
def _first_unit(common, values, rank):
    """Of half a step, before there is a class, for the ``rank`` vectors at ``values``."""
    squares = all_floats(0.0)
    for k in range(0, rank * _VECTOR, _VECTOR):
        value = floats_at(values + k)
        squares = multiplied_and_added(value, value, squares)
    return root_of(squares / all_floats(np.float32(rank))) * all_floats(single_at(common + shared.LEVEL_UNIT))


@inlined
def _kind(common, target, weights, levels, reached, rank):
    """The classes with which these levels fit best; NaN is the last one."""
    wanted, reach = all_floats(0.0), all_floats(0.0)
    for k in range(rank):
        level, at = floats_at(levels + k * _VECTOR), k * _VECTOR
        wanted = multiplied_and_added(floats_at(target + at) * all_floats(float_at(weights + 4 * k)), level, wanted)
        reach = multiplied_and_added(floats_at(reached + at), level, reach)
    share, kind = wanted / reach, all_ints(3)
    for index in range(2, -1, -1):
        edge = all_floats(single_at(common + shared.THRESHOLDS + 8 * index))
        kind = either_int(at_least(edge, share), all_ints(index), kind)
    return kind


@inlined
def _revise(target, weights, levels, reached, gram, width, rank, size):
    """Change the levels, component after component, to the best ones for all others as they are."""
    half = all_floats(0.5)
    # in steps of two levels
    steps = half / size
    for k in range(rank):
        at = k * _VECTOR
        wanted = floats_at(target + at) * all_floats(float_at(weights + 4 * k))
        put_floats(reached + at, wanted * steps - floats_at(reached + at) * half)
    for k in range(rank):
        row, at = gram + 4 * k * width, k * _VECTOR
        level = floats_at(levels + at)
        best = _nearest(floats_at(reached + at) / all_floats(float_at(row + 4 * k)) + level * half)
        put_floats(levels + at, best)
        change = (level - best) * half
        for m in range(k + 1, rank):
            missed = floats_at(reached + m * _VECTOR)
            put_floats(reached + m * _VECTOR, multiplied_and_added(change, all_floats(float_at(row + 4 * m)), missed))


@inlined
def _nearest(steps):
    """Of numbers in steps of two the nearest of -3, -1, 1 and 3; 1 for NaN."""
    level = either(below(steps, all_floats(0.0)), all_floats(-1.0), all_floats(1.0))
    level = either(below(steps, all_floats(-1.0)), all_floats(-3.0), level)
    return either(at_least(steps, all_floats(1.0)), all_floats(3.0), level)


_put_weights, _nearer = called(_put_weights), called(_nearer)
fit = called(_fit)
