"""Sums over a block's tokens, channel by channel, with the bits of ``codecs._sums.over_tokens``.

Groups of neighbouring lanes, in the order in which folding in halves adds groups up, so that few sums are kept at a time. Of each
lane several tokens are added up at once, whose sums stay in registers for a span of channels; from lane to lane each of these tokens
goes on to the one behind it, so that memory is read in order at so many places.
"""

import functools

import numpy as np

from . import shared
from .arithmetic import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    called,
    clear,
    fetch_ahead,
    grid_shift,
    inlined,
    magnitude,
    read_row,
    rounder_of,
    widened_at,
)
from .blocks import payload_of, state_of, x_of
from .eight_bit import read_span
from .groups import GROUP, group_at, groups_of, read_groups
from .parts import planes_of
from .trend import first_group
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    at_least,
    below,
    bits_of,
    bits_of_mask,
    either,
    either_int,
    floats_at,
    largest_of,
    prefetch,
    put_floats,
    put_int,
    put_short,
    sum_of,
    value_of,
    whole_at,
)

sums_bytes = inlined(shared.sums_bytes)

_SUM_LANES, _SPAN, _TOKENS, _ROOM = 64, shared.SUM_SPAN, shared.SUM_TOKENS, 64
# bytes: of a vector, and how far ahead memory is fetched for each of the tokens that are read at once
_VECTOR, _AHEAD = 4 * LANES, 2048
assert _SPAN == 4 * LANES
# what is summed up of x less its base: squares, magnitudes, the three products that a prediction is fitted from, itself,
# magnitudes without the prediction, itself with 0 for NaN and Inf, or squares without the prediction
SQUARES, MAGNITUDES, PRODUCTS, VALUES, MISSED, FINITE_VALUES, MISSED_SQUARES = 0, 1, 2, 3, 4, 5, 6


@inlined
def row_bytes_of(count):
    """Of ``count`` channels' sums, in whole spans."""
    return 4 * ((count + (_SPAN - 1)) // _SPAN * _SPAN)


@inlined
def rows_of(scratch, count):
    """(base, beta, sums) of ``count`` channels in scratch, as ``sum_up`` finds and leaves them."""
    base = scratch + _ROOM + 3 * 4 * _SPAN * _TOKENS
    return base, base + row_bytes_of(count), base + 2 * row_bytes_of(count)


@inlined
def sum_up(common, section, block, start, count, taken, stride, measure, scratch):
    """Sum up ``taken`` tokens, every ``stride``-th, of ``count`` channels from ``start`` on, as ``rows_of`` says.

    With order 0 the row of bases is taken off, or 0 where that is in it.
    """
    lanes, (_, _, stack) = whole_at(common + shared.LANES), rows_of(scratch, count)
    lane_bytes = row_bytes_of(count) * (3 if measure == PRODUCTS else 1)
    groups, depth, at_once = _SUM_LANES // lanes, 0, whole_at(common + shared.TOKENS_AT_ONCE)
    whole_rows = measure == MAGNITUDES and whole_at(common + shared.SUMS_AT) > 0
    if whole_rows:
        at_once = 1
    for leaf in range(groups):
        totals, first_lane = stack + depth * lanes * lane_bytes, _reversed_bits(leaf, groups) * lanes
        # each lane's sums where its first tokens come, so that they are in cache; of lanes that have none here
        there = min(lanes, max(0, taken - first_lane))
        clear(totals + there * lane_bytes, (lanes - there) * lane_bytes // 4)
        for begin in range(first_lane, taken, _SUM_LANES * at_once):
            for first in range(begin, min(begin + lanes, taken)):
                total = totals + (first - begin) * lane_bytes
                if begin == first_lane:
                    clear(total, lane_bytes // 4)
                if whole_rows:
                    _add_whole_row(common, section, block, first, total, scratch + whole_at(common + shared.SUMS_AT))
                else:
                    number = min(at_once, (taken - first + (_SUM_LANES - 1)) // _SUM_LANES)
                    _add_tokens(common, section, block, start, count, first * stride, number, stride, measure, total, scratch)
        depth += 1
        left = leaf
        while left & 1:
            depth -= 1
            _fold(stack + (depth - 1) * lanes * lane_bytes, lanes * lane_bytes)
            left >>= 1
    _fold_lanes(stack, lanes, lane_bytes)


@inlined
def _reversed_bits(number, end):
    """Of as many bits as numbers below ``end``, a power of two, have."""
    found = 0
    while end > 1:
        found = found << 1 | number & 1
        number >>= 1
        end >>= 1
    return found


@inlined
def _fold(low, size):
    """The ``size`` bytes of sums at ``low`` and those behind them."""
    for at in range(low, low + size, _VECTOR):
        put_floats(at, floats_at(at) + floats_at(at + size))


@called
def _fold_lanes(low, lanes, lane_bytes):
    """All ``lanes``, a power of two, into the first: eight at once, in halves, these in halves and the last two, or two."""
    while lanes >= 8:
        lanes //= 8
        size = lanes * lane_bytes
        for at in range(low, low + size, _VECTOR):
            one, two = floats_at(at) + floats_at(at + 4 * size), floats_at(at + size) + floats_at(at + 5 * size)
            three, four = floats_at(at + 2 * size) + floats_at(at + 6 * size), floats_at(at + 3 * size) + floats_at(at + 7 * size)
            put_floats(at, (one + three) + (two + four))
    while lanes > 1:
        lanes //= 2
        _fold(low, lanes * lane_bytes)


@called
def _add_tokens(common, section, block, start, count, token, number, stride, measure, total, scratch):
    """Add ``number`` tokens from ``token`` on, of one lane, to its sums."""
    order, tokens = whole_at(common + shared.ORDER), whole_at(common + shared.TOKENS)
    kind, item = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES)
    channels, split = whole_at(common + shared.CHANNELS), whole_at(common + shared.SPLIT)
    eight_bit = whole_at(common + shared.EIGHT_BIT)
    state_item = eight_bit if eight_bit else item
    x_step, state_step, step = whole_at(common + shared.X_TOKEN_STEP), channels * state_item, _SUM_LANES * stride
    x, state = x_of(common, section, block) + token * x_step + start * item, state_of(common, section, block)
    base = state + token * state_step + start * state_item
    trend, scale_step = state + whole_at(common + shared.TREND_AT), groups_of(split) + groups_of(channels - split)
    codes = trend + token * channels + start
    scales = trend + tokens * channels + token * scale_step + first_group(start, split)
    row_bytes, rest, x_rows, span = row_bytes_of(count), scratch, scratch + _ROOM, 4 * _SPAN
    base_row, beta, _ = rows_of(scratch, count)
    base_rows, trend_rows = x_rows + span * _TOKENS, x_rows + 2 * span * _TOKENS
    # what is read next: of whole rows what is behind; of parts of rows too, for their first ``near`` channels, and for the others the
    # next row's part; of parts shorter than what is fetched ahead the same channels of the next row
    near, x_ahead, base_ahead, codes_ahead = 0, stride * x_step, stride * state_step, stride * channels
    if count == channels and stride == 1:
        x_ahead, base_ahead, codes_ahead = _AHEAD, _AHEAD, _AHEAD // item
    elif count * item > _AHEAD:
        near = (count - _AHEAD // item) // _SPAN * _SPAN
        x_ahead, base_ahead = x_ahead + _AHEAD - count * item, base_ahead + _AHEAD - count * state_item
        codes_ahead += _AHEAD // item - count
    # with order 0 what is taken off is float32
    alike = kind == FLOAT32 or order > 0 or measure == VALUES or measure == FINITE_VALUES
    as_it_lies = alike and (order == 0 or not eight_bit)
    done = 0
    if as_it_lies and measure == PRODUCTS:
        done = count // _SPAN * _SPAN
        if near > 0:
            told = number, x, step * x_step, _AHEAD, base, step * state_step, _AHEAD
            of_trend = codes, step * channels, _AHEAD // item, scales, step * scale_step
            _add_products(kind, (*told, *of_trend, total, row_bytes, near))
        told = number, x + near * item, step * x_step, x_ahead, base + near * item, step * state_step, base_ahead
        of_trend = codes + near, step * channels, codes_ahead, scales + near // GROUP, step * scale_step
        _add_products(kind, (*told, *of_trend, total + 4 * near, row_bytes, done - near))
    for c in range(done, count, _SPAN):
        here = min(_SPAN, count - c)
        x_now, x_now_step = x + c * item, step * x_step
        base_now, base_now_step = base_row + 4 * c, 0
        if order > 0:
            base_now, base_now_step = base + c * state_item, step * state_step
        kind_now = kind
        if here < _SPAN or not as_it_lies or order == 2:
            for at in range(number):
                x_row, base_row_now, trend_row = x_rows + at * span, base_rows + at * span, trend_rows + at * span
                read_row(x_row, x_now + at * x_now_step, kind, 0, here, rest)
                if order > 0 and eight_bit:
                    read_span(base_row_now, trend_row if order == 2 else 0, state, token + at * step, start + c, here, common, rest)
                elif order > 0:
                    read_row(base_row_now, base_now + at * base_now_step, kind, 0, here, rest)
                    if order == 2:
                        read_groups(trend_row, codes + at * step * channels + c, scales + at * step * scale_step + c // GROUP, here, rest)
            x_now, x_now_step, kind_now = x_rows, span, FLOAT32
            if order > 0:
                base_now, base_now_step = base_rows, span
        if measure == PRODUCTS:
            _add_widened_products(number, x_now, base_now, trend_rows, total + 4 * c, row_bytes)
        else:
            x_ahead_now, base_ahead_now = (_AHEAD, _AHEAD) if c < near else (x_ahead, base_ahead)
            told = number, x_now, x_now_step, x_ahead_now, base_now, base_now_step, base_ahead_now
            _add(measure, kind_now, (*told, trend_rows, beta + 4 * c, total + 4 * c))


def _adder(measure, kind):
    """A function that adds a span of ``number`` tokens more to ``total``, of numbers of this ``kind``."""
    of_change, vector = measure not in (VALUES, FINITE_VALUES), _VECTOR if kind == FLOAT32 else _VECTOR // 2
    predicted, squared = measure in (MISSED, MISSED_SQUARES), measure in (SQUARES, MISSED_SQUARES)
    sized, finite = measure in (MAGNITUDES, MISSED), measure == FINITE_VALUES

    @inlined
    def term(index, x, x_ahead, base, base_ahead, trend, beta):
        place = vector * index
        prefetch(x + place + x_ahead)
        value = widened_at(x + place, kind, 0)
        if of_change:
            prefetch(base + place + base_ahead)
            value = value - widened_at(base + place, kind, 0)
        if predicted:
            value = value - floats_at(trend + _VECTOR * index) * floats_at(beta + _VECTOR * index)
        if squared:
            value = value * value
        if sized:
            value = magnitude(value)
        if finite:
            value = either(below(magnitude(value), all_floats(np.inf)), value, all_floats(0.0))
        return value

    @called
    def add(number, x, x_step, x_ahead, base, base_step, base_ahead, trend, beta, total):
        one, two = floats_at(total), floats_at(total + _VECTOR)
        three, four = floats_at(total + 2 * _VECTOR), floats_at(total + 3 * _VECTOR)
        for _ in range(number):
            one = one + term(0, x, x_ahead, base, base_ahead, trend, beta)
            two = two + term(1, x, x_ahead, base, base_ahead, trend, beta)
            three = three + term(2, x, x_ahead, base, base_ahead, trend, beta)
            four = four + term(3, x, x_ahead, base, base_ahead, trend, beta)
            x, base, trend = x + x_step, base + base_step, trend + 4 * _SPAN
        put_floats(total, one)
        put_floats(total + _VECTOR, two)
        put_floats(total + 2 * _VECTOR, three)
        put_floats(total + 3 * _VECTOR, four)

    return add


def _product_adder(kind):
    """As ``_adder``, of ``count`` channels, with the trend as it is stored, group after group: their sums take six registers."""
    vector = _VECTOR if kind == FLOAT32 else _VECTOR // 2

    @inlined
    def difference(x, x_ahead, base, base_ahead):
        prefetch(x + x_ahead)
        prefetch(base + base_ahead)
        return widened_at(x, kind, 0) - widened_at(base, kind, 0)

    @called
    def add(
        number, x, x_step, x_ahead, base, base_step, base_ahead, codes, codes_step, codes_ahead, scales, scale_step, total, row_bytes,
        count,
    ):  # fmt: skip
        for group in range(count // GROUP):
            of_group, place = 2 * vector * group, total + 4 * GROUP * group
            own_1, own_2 = floats_at(place), floats_at(place + _VECTOR)
            mixed_1, mixed_2 = floats_at(place + row_bytes), floats_at(place + row_bytes + _VECTOR)
            trends_1, trends_2 = floats_at(place + 2 * row_bytes), floats_at(place + 2 * row_bytes + _VECTOR)
            x_now, base_now, codes_now, scale_now = x + of_group, base + of_group, codes + GROUP * group, scales + group
            for _ in range(number):
                prefetch(codes_now + codes_ahead)
                last_1, last_2 = group_at(codes_now, scale_now)
                delta = difference(x_now, x_ahead, base_now, base_ahead)
                own_1, mixed_1, trends_1 = own_1 + delta * delta, mixed_1 + delta * last_1, trends_1 + last_1 * last_1
                delta = difference(x_now + vector, x_ahead, base_now + vector, base_ahead)
                own_2, mixed_2, trends_2 = own_2 + delta * delta, mixed_2 + delta * last_2, trends_2 + last_2 * last_2
                x_now, base_now = x_now + x_step, base_now + base_step
                codes_now, scale_now = codes_now + codes_step, scale_now + scale_step
            put_floats(place, own_1)
            put_floats(place + _VECTOR, own_2)
            put_floats(place + row_bytes, mixed_1)
            put_floats(place + row_bytes + _VECTOR, mixed_2)
            put_floats(place + 2 * row_bytes, trends_1)
            put_floats(place + 2 * row_bytes + _VECTOR, trends_2)

    return add


def _of_kinds(adder):
    """The one of three functions that ``adder(kind)`` gives which is for the ``kind`` of the numbers."""
    of_floats, of_halves, of_bfloats = (adder(kind) for kind in (FLOAT32, FLOAT16, BFLOAT16))

    @inlined
    def add(kind, told):
        if kind == FLOAT32:
            of_floats(*told)
        elif kind == FLOAT16:
            of_halves(*told)
        else:
            of_bfloats(*told)

    return add


_add_products = _of_kinds(_product_adder)
_add_squares, _add_magnitudes, _add_values, _add_finite = (
    _of_kinds(functools.partial(_adder, measure)) for measure in (SQUARES, MAGNITUDES, VALUES, FINITE_VALUES)
)
_add_missed, _add_missed_squares = _adder(MISSED, FLOAT32), _adder(MISSED_SQUARES, FLOAT32)


@called
def _add_widened_products(number, x, base, trend, total, row_bytes):
    """The same of rows of float32."""
    for at in range(0, 4 * _SPAN * number, _VECTOR):
        place = total + at % (4 * _SPAN)
        delta, last = floats_at(x + at) - floats_at(base + at), floats_at(trend + at)
        put_floats(place, floats_at(place) + delta * delta)
        put_floats(place + row_bytes, floats_at(place + row_bytes) + delta * last)
        put_floats(place + 2 * row_bytes, floats_at(place + 2 * row_bytes) + last * last)


@inlined
def _add(measure, kind, told):
    """``told``: what the functions that ``_adder`` gives take. What a prediction missed is of rows of float32."""
    if measure == SQUARES:
        _add_squares(kind, told)
    elif measure == MAGNITUDES:
        _add_magnitudes(kind, told)
    elif measure == VALUES:
        _add_values(kind, told)
    elif measure == MISSED:
        _add_missed(*told)
    elif measure == FINITE_VALUES:
        _add_finite(kind, told)
    else:
        _add_missed_squares(*told)


@inlined
def _add_whole_row(common, section, block, token, total, sums):
    """As ``_add_tokens``, of magnitudes, where a strip is whole rows that lie as they are added up. Leaves the token's own sums at
    ``sums``, and of 1 bit the codes in the message.
    """
    channels, x_step = whole_at(common + shared.CHANNELS), whole_at(common + shared.X_TOKEN_STEP)
    x, base = x_of(common, section, block) + token * x_step, state_of(common, section, block) + 4 * token * channels
    if whole_at(common + shared.BITS) == 1:
        plane = planes_of(common, payload_of(common, section, block)) + token * (channels // 8)
        _add_row_and_put_signs(common, total, x, base, channels, sums + 4 * token, plane)
    else:
        _add_row(common, total, x, base, channels, sums + 4 * token, 0)


def _row_adder(signs):
    """A function that adds a token more to magnitudes' sums, and leaves its own. ``signs``: and a bit for each number in ``plane``, 1 of
    those >= 0.
    """

    @called
    def add_row(common, total, x, base, channels, sums, plane):
        shift, largest = grid_shift(channels), all_ints(0)
        for c in range(0, 4 * channels, _VECTOR):
            fetch_ahead(x + c)
            fetch_ahead(base + c)
            missed = floats_at(x + c) - floats_at(base + c)
            if signs:
                put_short(plane + c // 32, bits_of_mask(at_least(missed, all_floats(0.0))))
            size = magnitude(missed)
            put_floats(total + c, floats_at(total + c) + size)
            bits = bits_of(size)
            largest = either_int(above(bits, largest), bits, largest)
        top = largest_of(largest)
        put_int(sums, top)
        rounder, found = rounder_of(all_ints(top), shift), all_ints(0)
        for c in range(0, 4 * channels, _VECTOR):
            size = magnitude(floats_at(x + c) - floats_at(base + c))
            found = found + (bits_of(size + value_of(rounder)) - rounder)
        put_int(sums + sums_bytes(whole_at(common + shared.TOKENS)), sum_of(found))

    return add_row


_add_row, _add_row_and_put_signs = _row_adder(False), _row_adder(True)
