"""The kernels of ``codecs.topk``: a group is a vector, so that its largest and where that stands take a few instructions.

They go by strips of 16 groups, whose values are one vector of float16 and whose positions are 8 bytes.
"""

import numpy as np

from . import shared
from .arithmetic import BETA, FLOAT32, clear, half_bits, half_value, inlined, magnitude, read_row, rounded_up, write_row
from .blocks import payload_of, section_of, state_of, x_of
from .parts import betas_of, move
from .eight_bit import write_span
from .states import read_strip, used_at, write_strip
from .trend import read_whole_trend, write_whole_trend
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    below,
    bits_of,
    bits_of_mask,
    byte_at,
    clear_bytes,
    copy_bytes,
    either,
    either_int,
    equal,
    float_at,
    floats_at,
    int_at,
    ints_at,
    largest_of,
    lowest_set,
    mask_of_bits,
    put_bytes,
    put_floats,
    put_int,
    put_ints,
    put_shorts,
    shorts_at,
    value_of,
    whole_at,
)

_STRIP = LANES * LANES
_INFINITY, _HALF_MAX = 0x7F800000, 65504.0


def topk_encode_kernel(common, sections, first, last, scratch):
    """As ``encode_kernel``."""
    blocks, tokens, channels = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    kind, item, order = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.ORDER)
    moves = order > 0 and whole_at(common + shared.FEEDBACK) != 0
    eight_bit = whole_at(common + shared.EIGHT_BIT)
    staged = kind != FLOAT32 or channels % LANES > 0 or eight_bit > 0
    rest, values, positions = scratch, scratch + 64, scratch + 128
    x_row, held_row, beta = scratch + 192, scratch + 192 + 4 * _STRIP, scratch + 192 + 8 * _STRIP
    trend = beta + 4 * rounded_up(channels)
    groups = (channels + LANES - 1) // LANES
    seen = 0
    for index in range(first, last):
        token, section = index % tokens, section_of(common, sections, index // tokens)
        block = index // tokens % blocks
        x = x_of(common, section, block)
        x += token * whole_at(common + shared.X_TOKEN_STEP)
        state = state_of(common, section, block)
        base, block_trend = state + token * channels * item, state + whole_at(common + shared.TREND_AT)
        payload = payload_of(common, section, block)
        stored = payload + 2 * token * groups
        places = payload + 2 * tokens * groups + token * ((groups + 1) // 2)
        if order == 2:
            if token == 0 or index == first:
                read_row(beta, betas_of(common, payload), BETA, 0, channels, rest)
            if not eight_bit:
                read_whole_trend(trend, block_trend, token, common, rest)
        for begin in range(0, channels, _STRIP):
            count = min(_STRIP, channels - begin)
            here = (count + LANES - 1) // LANES
            trend_now, beta_now = trend + 4 * begin, beta + 4 * begin
            x_now, held = x + item * begin, base + item * begin
            if staged:
                read_row(x_row, x_now, kind, 0, count, rest)
                x_now = x_row
                if order > 0:
                    read_strip(held_row, trend_now, state, token, begin, count, order, common, rest)
                    held = held_row
            largest = _find(x_now, held, trend_now, beta_now, order, here, values, positions, rest)
            if largest >= _INFINITY:
                seen = 1
            halves = half_bits(_bounded(floats_at(values)))
            put_floats(values, half_value(halves))
            put_shorts(rest, halves)
            copy_bytes(rest, stored + begin // LANES * 2, 2 * here)
            _put_pairs(places + begin // (2 * LANES), positions, here, rest)
            if moves:
                _spread(held, trend_now, beta_now, order, here, values, positions)
                if staged:
                    write_strip(held, trend_now, state, token, begin, count, order, common, rest)
        if order > 0 and not moves:
            # the trend of a base that is set is unknown
            clear(trend, rounded_up(channels))
            if not eight_bit:
                copy_bytes(x, base, channels * item)
        if eight_bit and not moves:
            for begin in range(0, channels, _STRIP):
                count = min(_STRIP, channels - begin)
                read_row(held_row, x + item * begin, kind, 0, count, rest)
                write_span(held_row, trend + 4 * begin, state, token, begin, count, common, rest)
        if order == 2 and not eight_bit:
            write_whole_trend(trend, block_trend, token, common, rest)
    return seen


def topk_decode_kernel(common, sections, first, last, scratch):
    """As ``decode_kernel``."""
    blocks, tokens, channels = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    kind, item, order = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.ORDER)
    eight_bit = whole_at(common + shared.EIGHT_BIT)
    staged = kind != FLOAT32 or channels % LANES > 0 or eight_bit > 0
    rest, values, positions, held_row = scratch, scratch + 64, scratch + 128, scratch + 192
    beta = held_row + 4 * _STRIP
    trend = beta + 4 * rounded_up(channels)
    groups = (channels + LANES - 1) // LANES
    for index in range(first, last):
        token, section = index % tokens, section_of(common, sections, index // tokens)
        block = index // tokens % blocks
        state = state_of(common, section, block)
        base, block_trend = state + token * channels * item, state + whole_at(common + shared.TREND_AT)
        payload = payload_of(common, section, block)
        stored = payload + 2 * token * groups
        places = payload + 2 * tokens * groups + token * ((groups + 1) // 2)
        used = used_at(section, block, token, common)
        if order == 2:
            if token == 0 or index == first:
                read_row(beta, betas_of(common, payload), BETA, 0, channels, rest)
            if not eight_bit:
                read_whole_trend(trend, block_trend, token, common, rest)
        for begin in range(0, channels, _STRIP):
            count = min(_STRIP, channels - begin)
            here = (count + LANES - 1) // LANES
            clear_bytes(rest, 2 * LANES)
            copy_bytes(stored + begin // LANES * 2, rest, 2 * here)
            found = half_value(shorts_at(rest))
            put_floats(values, either(below(magnitude(found), value_of(all_ints(_INFINITY))), found, all_floats(0.0)))
            for group in range(here):
                both = byte_at(places + (begin // LANES + group) // 2)
                put_int(positions + 4 * group, both >> 4 if group & 1 else both & 15)
            held = base + item * begin
            trend_now = trend + 4 * begin
            if staged:
                if order > 0:
                    read_strip(held_row, trend_now, state, token, begin, count, order, common, rest)
                held = held_row
            _spread(held, trend_now, beta + 4 * begin, order, here, values, positions)
            if staged and order > 0:
                if used > 0:
                    write_row(held, used + item * begin, kind, True, count, rest)
                write_strip(held, trend_now, state, token, begin, count, order, common, rest)
            elif staged:
                write_row(held, base + item * begin, kind, False, count, rest)
        if order == 2 and not eight_bit:
            write_whole_trend(trend, block_trend, token, common, rest)
    return 0


@inlined
def _find(x, held, trend, beta, order, groups, values, positions, room):
    """Each group's largest magnitude's number and its place, the first of equals, of what is to be coded.

    Returns the bits of the largest magnitude of all, which is no number where one of them is none; such count as 0.
    """
    tops = all_ints(0)
    for group in range(groups):
        missed = floats_at(x + 4 * LANES * group)
        if order > 0:
            missed = missed - floats_at(held + 4 * LANES * group)
        if order == 2:
            missed = missed - floats_at(trend + 4 * LANES * group) * floats_at(beta + 4 * LANES * group)
        bits = bits_of(missed)
        size = bits & all_ints(0x7FFFFFFF)
        tops = either_int(above(size, tops), size, tops)
        finite = below(size, all_ints(_INFINITY))
        size = either_int(finite, size, all_ints(0))
        put_ints(room, either_int(finite, bits, all_ints(0)))
        place = lowest_set(bits_of_mask(equal(size, all_ints(largest_of(size)))))
        put_int(positions + 4 * group, place)
        put_int(values + 4 * group, int_at(room + 4 * np.int64(place)))
    for group in range(groups, LANES):
        put_int(positions + 4 * group, np.int32(0))
        put_int(values + 4 * group, np.int32(0))
    return largest_of(tops)


@inlined
def _bounded(values):
    """Within float16's range."""
    values = either(above(values, all_floats(-_HALF_MAX)), values, all_floats(-_HALF_MAX))
    return either(below(values, all_floats(_HALF_MAX)), values, all_floats(_HALF_MAX))


@inlined
def _put_pairs(target, positions, groups, room):
    """4 bits each, the even group's in a byte's low ones."""
    put_bytes(room, ints_at(positions))
    pairs = shorts_at(room)
    put_bytes(room, pairs | (pairs >> all_ints(4)))
    copy_bytes(room, target, (groups + 1) // 2)


@inlined
def _spread(held, trend, beta, order, groups, values, positions):
    """Each group's value at its place and 0 beside it: what is ``held`` moves by it, or with order 0 it goes in its stead."""
    for group in range(groups):
        here, at = mask_of_bits(1 << int_at(positions + 4 * group)), 4 * LANES * group
        decoded = either(here, all_floats(float_at(values + 4 * group)), all_floats(0.0))
        if order > 0:
            move(order, held + at, trend + at, beta + at, decoded, all_floats(1.0))
        else:
            put_floats(held + at, decoded)
