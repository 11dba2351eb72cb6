"""Matrices of low rank's search and decoding: products in tiles, Gram matrices, and the inverse of a small one.

A product's rounding is its sender's own business, or nobody's where its numbers are whole; each sum has one order all the
same, whatever is computed beside it. Panels: see ``low_rank_room``.
"""

import numpy as np

from .arithmetic import called, called_with
from .lanes import total_of
from .vectors import (
    LANES,
    TILE_PANELS,
    TILE_ROWS,
    all_floats,
    float_at,
    floats_at,
    multiplied_and_added,
    negated,
    put_float,
    put_floats,
    put_rounded_tile,
    put_tile,
)

_VECTOR = 4 * LANES


def _product(put):
    """``put``, one of ``vectors``' tiles, over ``rows``, whole tiles of them, and ``many`` panels; of an odd number one is computed
    twice."""

    @called_with(11)
    def multiply(factor, row_step, step, rows, panels, panel_step, many, count, target, target_row_step, target_panel_step):
        apart = min(many - 1, 1)
        for first in range(0, many, TILE_PANELS):
            panel = max(min(first, many - TILE_PANELS), 0)
            for row in range(0, rows, TILE_ROWS):
                put(
                    factor + row * row_step,
                    row_step,
                    step,
                    panels + panel * panel_step,
                    apart * panel_step,
                    count,
                    target + row * target_row_step + panel * target_panel_step,
                    target_row_step,
                    apart * target_panel_step,
                )

    return multiply


multiply, multiply_rounded = _product(put_tile), _product(put_rounded_tile)


@called
def put_gram(rows, row_step, rank, target, width):
    """Of ``rows``, whole vectors, products with each other: ``target`` [rank, width]. Four rows at a time may go past the rank."""
    for k in range(rank):
        for m in range(0, k + 1, 4):
            first, one = all_floats(0.0), rows + m * row_step
            second, third, fourth = first, first, first
            for at in range(0, row_step, _VECTOR):
                own = floats_at(rows + k * row_step + at)
                first = multiplied_and_added(own, floats_at(one + at), first)
                second = multiplied_and_added(own, floats_at(one + row_step + at), second)
                third = multiplied_and_added(own, floats_at(one + 2 * row_step + at), third)
                fourth = multiplied_and_added(own, floats_at(one + 3 * row_step + at), fourth)
            _put_both(target, width, k, m, total_of(first))
            _put_both(target, width, k, m + 1, total_of(second))
            _put_both(target, width, k, m + 2, total_of(third))
            _put_both(target, width, k, m + 3, total_of(fourth))


@called
def _put_both(target, width, k, m, value):
    put_float(target + 4 * (k * width + m), value)
    put_float(target + 4 * (m * width + k), value)


@called
def put_inverse(matrix, rank, width, ridge, target):
    """Of the symmetric ``matrix`` [rank, width] with ``ridge`` times its mean diagonal added; anything where that is singular.

    By Gauss and Jordan's steps in place, whose pivots are positive where the matrix is.
    """
    trace = np.float32(0.0)
    for k in range(rank):
        trace += float_at(matrix + 4 * (k * width + k))
    more = trace / np.float32(rank) * ridge
    for at in range(0, 4 * rank * width, _VECTOR):
        put_floats(target + at, floats_at(matrix + at))
    for k in range(rank):
        place = target + 4 * (k * width + k)
        put_float(place, float_at(place) + more)
    for k in range(rank):
        row = target + 4 * k * width
        inverse = all_floats(np.float32(1.0) / float_at(row + 4 * k))
        put_float(row + 4 * k, np.float32(1.0))
        for at in range(row, row + 4 * width, _VECTOR):
            put_floats(at, floats_at(at) * inverse)
        for m in range(rank):
            if m != k:
                other = target + 4 * m * width
                share = negated(all_floats(float_at(other + 4 * k)))
                put_float(other + 4 * k, np.float32(0.0))
                for at in range(0, 4 * width, _VECTOR):
                    put_floats(other + at, multiplied_and_added(share, floats_at(row + at), floats_at(other + at)))
