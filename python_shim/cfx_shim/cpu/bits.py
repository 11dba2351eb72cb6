"""Codes of one to five bits: a part of one token into planes of a bit each, ``plane_step`` apart, and back."""

from . import shared
from .arithmetic import inlined, magnitude
from .levels import halving, picker
from .parts import by_vectors
from .vectors import (
    LANES,
    all_floats,
    at_least,
    bits_of_mask,
    either,
    single_at,
    floats_at,
    mask_of_bits,
    negated,
    put_floats,
    put_short,
    short_at,
)


def coder(bits, centred=False, direct=False):
    """A part of one token: its bits into planes ``plane_step`` apart, from scale ``u``; moves its state unless told not to.

    ``centred``: instead, what is decoded and what was ``held`` of it go to ``trend``. ``direct``: for what is to be coded
    there is x itself.
    """
    planes_beside = bits - 1
    level_of = picker(planes_beside, 8)
    (begin_0, bound_0), (begin_1, bound_1), (begin_2, bound_2), (begin_3, bound_3) = halving(planes_beside)

    @inlined
    def code_at(c, told):
        """A vector's bits into their planes; returns what is decoded."""
        common, planes, plane_step, delta, v, u, held = told
        missed, scale = floats_at(delta + 4 * c), u * floats_at(v + 4 * c)
        if direct:
            missed = missed - floats_at(held + 4 * c)
        positive = at_least(missed, all_floats(0.0))
        put_short(planes + c // 8, bits_of_mask(positive))
        size, top, second, third, fourth = magnitude(missed), positive, positive, positive, positive
        thresholds, plane = common + shared.THRESHOLDS, planes + c // 8 + planes_beside * plane_step
        if planes_beside > 0:
            top = at_least(size, scale * bound_0(thresholds + begin_0, top, second, third, fourth))
            put_short(plane, bits_of_mask(top))
        if planes_beside > 1:
            second = at_least(size, scale * bound_1(thresholds + begin_1, top, second, third, fourth))
            put_short(plane - plane_step, bits_of_mask(second))
        if planes_beside > 2:
            third = at_least(size, scale * bound_2(thresholds + begin_2, top, second, third, fourth))
            put_short(plane - 2 * plane_step, bits_of_mask(third))
        if planes_beside > 3:
            fourth = at_least(size, scale * bound_3(thresholds + begin_3, top, second, third, fourth))
            put_short(plane - 3 * plane_step, bits_of_mask(fourth))
        value = level_of(common + shared.LEVELS, top, second, third, fourth) * scale
        return either(positive, value, negated(value))

    go = by_vectors(code_at)

    @inlined
    def code(common, planes, plane_step, first, last, delta, v, u, moves, order, held, trend, beta):
        told = common, planes, plane_step, delta, v, u, held
        if not moves:
            for c in range(first, last, LANES):
                code_at(c, told)
        elif centred:
            for c in range(first, last, LANES):
                put_floats(trend + 4 * c, code_at(c, told) + floats_at(held + 4 * c))
        else:
            go(first, last, order, held, trend, beta, all_floats(single_at(common + shared.GAIN)), told)

    return code


def decoder(bits, centred=False):
    """The other way: what a part of one token's bits stand for moves its state, or with order 0 is put at ``held``.

    ``centred``: with order 0, and ``beta`` is what was taken off.
    """
    planes_beside = bits - 1
    level_of = picker(planes_beside, 8)

    @inlined
    def decoded_at(c, told):
        levels, planes, plane_step, v, u = told
        positive, plane = mask_of_bits(short_at(planes + c // 8)), planes + c // 8 + planes_beside * plane_step
        top, second, third, fourth = positive, positive, positive, positive
        if planes_beside > 0:
            top = mask_of_bits(short_at(plane))
        if planes_beside > 1:
            second = mask_of_bits(short_at(plane - plane_step))
        if planes_beside > 2:
            third = mask_of_bits(short_at(plane - 2 * plane_step))
        if planes_beside > 3:
            fourth = mask_of_bits(short_at(plane - 3 * plane_step))
        value = level_of(levels, top, second, third, fourth) * (u * floats_at(v + 4 * c))
        return either(positive, value, negated(value))

    go = by_vectors(decoded_at)

    @inlined
    def decode(common, planes, plane_step, first, last, v, u, order, held, trend, beta):
        told = common + shared.LEVELS, planes, plane_step, v, u
        if centred:
            for c in range(first, last, LANES):
                put_floats(held + 4 * c, decoded_at(c, told) + floats_at(beta + 4 * c))
        else:
            go(first, last, order, held, trend, beta, all_floats(single_at(common + shared.GAIN)), told)

    return decode
