"""The digits of ``codecs.ternary``, whose docstring names what is packed: a token's codes as two planes of bits in scratch,
one where the digit is 2 and one where it is 0, and from there and back by ``tables.digits``.

``planes`` are ``step`` bytes apart, laid out as for ``parts.copy_planes``; behind them is room for what is kept in between.
``rows``: where the block's codes begin in its message.
"""

import numpy as np

from . import shared
from .arithmetic import inlined, magnitude, rounded_up
from .parts import by_vectors
from .groups import groups_of
from .vectors import (
    LANES,
    all_floats,
    at_least,
    bits_of_mask,
    byte_at,
    either,
    single_at,
    floats_at,
    int_at,
    mask_of_bits,
    negated,
    put_byte,
    put_int,
    put_short,
    short_at,
    whole_at,
)

# of eight digits that are all 1; bytes of the first table
_MIDDLE, _SUMS_BYTES = (3**8 - 1) // 2, 2 * 256


@inlined
def _code_at(c, told):
    """The digits of a vector into ``planes``; returns what is decoded."""
    threshold, level, planes, step, delta, v, u = told
    zero, missed, scale = all_floats(0.0), floats_at(delta + 4 * c), u * floats_at(v + 4 * c)
    positive, reached = at_least(missed, zero), at_least(magnitude(missed), scale * threshold)
    sign, there = bits_of_mask(positive), bits_of_mask(reached)
    put_short(planes + c // 8, there & sign)
    put_short(planes + step + c // 8, there & ~sign)
    value = level * scale
    return either(reached, either(positive, value, negated(value)), zero)


@inlined
def _decoded_at(c, told):
    level, planes, step, v, u = told
    value = level * (u * floats_at(v + 4 * c))
    less = either(mask_of_bits(short_at(planes + step + c // 8)), negated(value), all_floats(0.0))
    return either(mask_of_bits(short_at(planes + c // 8)), value, less)


_code_and_move, _move = by_vectors(_code_at), by_vectors(_decoded_at)


@inlined
def code_digits(common, planes, step, first, last, delta, v, u, moves, order, held, trend, beta):
    """A part of one token into ``planes``, from scale ``u``; moves its state unless told not to."""
    level, threshold = all_floats(single_at(common + shared.LEVELS + 8)), all_floats(single_at(common + shared.THRESHOLDS))
    told = threshold, level, planes, step, delta, v, u
    if moves:
        _code_and_move(first, last, order, held, trend, beta, all_floats(single_at(common + shared.GAIN)), told)
    else:
        for c in range(first, last, LANES):
            _code_at(c, told)


@inlined
def decode_digits(common, planes, step, first, last, v, u, order, held, trend, beta):
    """The other way: moves a part's state, or with order 0 puts what is decoded at ``held``."""
    told = all_floats(single_at(common + shared.LEVELS + 8)), planes, step, v, u
    _move(first, last, order, held, trend, beta, all_floats(single_at(common + shared.GAIN)), told)


@inlined
def put_digits(common, planes, step, rows, token):
    """A token's digits from ``planes`` into its rows."""
    channels, middle, table = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE), whole_at(common + shared.TABLES)
    low, whole_row, plane, last, size = _rows_of(common, rows, token)
    words = planes + 2 * step
    for word in range(0, size, 3):
        put_int(words + 4 * (word // 3), np.int32(0))
    for part in range(2):
        begin, count = (0, middle) if part == 0 else (rounded_up(middle) // 8, channels - middle)
        plus, minus, eights = planes + begin, planes + step + begin, (count + 7) // 8
        if count % 8:
            # behind the last channel digits are 1
            known, end = (1 << count % 8) - 1, eights - 1
            put_byte(plus + end, byte_at(plus + end) & known)
            put_byte(minus + end, byte_at(minus + end) & known)
        for unit in range(groups_of(count)):
            whole, weight = 0, 1
            for place in range(4 * unit, 4 * unit + 4):
                eight = _MIDDLE
                if place < eights:
                    eight += short_at(table + 2 * np.int64(byte_at(plus + place))) - short_at(table + 2 * np.int64(byte_at(minus + place)))
                    put_byte(low + place, np.int32(eight))
                whole += (eight >> 8) * weight
                weight *= 26
            put_byte(whole_row + unit, np.int32(whole))
            put_byte(whole_row + plane + unit, np.int32(whole >> 8))
            word = words + 4 * (unit // 4)
            put_int(word, np.int32(int_at(word) | (whole >> 16) << (6 * (unit % 4) + 3 * part)))
        low, whole_row = low + eights, whole_row + groups_of(count)
    for place in range(size):
        put_byte(last + place, int_at(words + 4 * (place // 3)) >> (8 * (place % 3)))


@inlined
def take_digits(common, planes, step, rows, token):
    """The other way."""
    channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    table = whole_at(common + shared.TABLES) + _SUMS_BYTES
    low, whole_row, plane, last, size = _rows_of(common, rows, token)
    for part in range(2):
        begin, count = (0, middle) if part == 0 else (rounded_up(middle) // 8, channels - middle)
        plus, minus, eights = planes + begin, planes + step + begin, (count + 7) // 8
        for unit in range(groups_of(count)):
            bit = 6 * unit + 3 * part
            column = bit // 8
            top = byte_at(last + column)
            if column + 1 < size:
                top |= byte_at(last + column + 1) << 8
            whole = byte_at(whole_row + unit) | byte_at(whole_row + plane + unit) << 8 | (top >> bit % 8 & 7) << 16
            rest = np.uint32(whole)
            for place in range(4 * unit, 4 * unit + 4):
                if place < eights:
                    eight = np.int64(byte_at(low + place)) | np.int64(rest % np.uint32(26)) << 8
                    rest //= np.uint32(26)
                    both = short_at(table + 2 * eight)
                    put_byte(plus + place, both)
                    put_byte(minus + place, both >> 8)
        low, whole_row = low + eights, whole_row + groups_of(count)


@inlined
def _rows_of(common, rows, token):
    """A token's row of q, of m's lowest bits, bytes to that of its next ones, the row of its last ones, and that one's size."""
    tokens, channels, middle = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    eights, first = (channels + 7) // 8, groups_of(middle)
    wholes, size = first + groups_of(channels - middle), (3 * first + 3) // 4
    behind = rows + tokens * eights
    return rows + token * eights, behind + token * wholes, tokens * wholes, behind + 2 * tokens * wholes + token * size, size
