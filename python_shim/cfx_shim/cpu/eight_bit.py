"""State in 8 bits in and out of rows of float32: ``state.EightBitState``.

With order 1 its numbers are bytes, as those of a trend beside a native base; with order 2 words hold a base and its trend.
"""

import numpy as np

from . import shared
from .arithmetic import inlined, rounded_up
from .groups import GROUP, coded, groups_of, inverse_of, read_groups, scale_of, scale_value, write_groups
from .vectors import (
    LANES,
    all_ints,
    as_floats,
    clear_bytes,
    copy_bytes,
    floats_at,
    put_floats,
    put_short,
    put_shorts,
    short_at,
    shorts_at,
    whole_at,
)

# of a word: the largest codes, bits of the trend's and what cuts off the base's, each with its sign
_MOST_BASE, _MOST_TREND = 511.0, 31.0
_TREND_BITS, _BASE_MASK, _TREND_MASK = 6, 0x3FF, 0x3F
_BASE_SIGN, _TREND_SIGN = 0x200, 0x20


@inlined
def read_span(held, trend, state, token, start, count, common, rest):
    """Channels ``start``, a multiple of 32, to ``start + count`` of a token's base. ``trend``: where those of its trend go, or 0."""
    codes, scales = _span_at(state, token, start, common)
    if whole_at(common + shared.EIGHT_BIT) == 1:
        read_groups(held, codes, scales, count, rest)
    else:
        _read_words(held, trend, codes, scales, count, rest)


@inlined
def write_span(held, trend, state, token, start, count, common, rest):
    """The other way; zeros are behind the last channels of rows, up to whole vectors."""
    codes, scales = _span_at(state, token, start, common)
    if whole_at(common + shared.EIGHT_BIT) == 1:
        write_groups(held, codes, scales, count, rest)
    else:
        _write_words(held, trend, codes, scales, count, rest)


@inlined
def part_row(row, common):
    """Moves a row's second part to where it begins, at a whole vector."""
    channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    second = rounded_up(middle)
    if second > middle and middle < channels:
        copy_bytes(row + 4 * middle, row + 4 * second, 4 * (channels - middle))
        clear_bytes(row + 4 * middle, 4 * (second - middle))
        end = second + channels - middle
        clear_bytes(row + 4 * end, 4 * (rounded_up(end) - end))


@inlined
def join_row(row, common):
    """The other way."""
    channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    second = rounded_up(middle)
    if second > middle and middle < channels:
        copy_bytes(row + 4 * second, row + 4 * middle, 4 * (channels - middle))
        clear_bytes(row + 4 * channels, 4 * (rounded_up(channels) - channels))


@inlined
def _span_at(state, token, start, common):
    """Where a token's codes and scales are, from channel ``start`` on."""
    channels, item = whole_at(common + shared.CHANNELS), whole_at(common + shared.EIGHT_BIT)
    scales = state + item * (whole_at(common + shared.TOKENS) * channels + token * groups_of(channels))
    return state + item * (token * channels + start), scales + item * (start // GROUP)


@inlined
def _read_words(held, trend, codes, scales, count, rest):
    for c in range(0, count, GROUP):
        here, source, both = min(count - c, GROUP), codes + 2 * c, short_at(scales + 2 * (c // GROUP))
        if here < GROUP:
            clear_bytes(rest, 2 * GROUP)
            copy_bytes(source, rest, 2 * here)
            source = rest
        scale, trend_scale = scale_value(both & 0xFF), scale_value(both >> 8)
        for at in range(0, here, LANES):
            words, place = shorts_at(source + 2 * at), 4 * (c + at)
            base = ((words >> all_ints(_TREND_BITS)) ^ all_ints(_BASE_SIGN)) - all_ints(_BASE_SIGN)
            put_floats(held + place, as_floats(base) * scale)
            if trend > 0:
                change = ((words & all_ints(_TREND_MASK)) ^ all_ints(_TREND_SIGN)) - all_ints(_TREND_SIGN)
                put_floats(trend + place, as_floats(change) * trend_scale)


@inlined
def _write_words(held, trend, codes, scales, count, rest):
    for c in range(0, count, GROUP):
        here = min(count - c, GROUP)
        scale, trend_scale = scale_of(held + 4 * c, here, _MOST_BASE), scale_of(trend + 4 * c, here, _MOST_TREND)
        put_short(scales + 2 * (c // GROUP), np.int32(scale | trend_scale << 8))
        inverse, trend_inverse = inverse_of(scale), inverse_of(trend_scale)
        for at in range(c, c + here, LANES):
            base = coded(floats_at(held + 4 * at) * inverse, scale, _MOST_BASE) & all_ints(_BASE_MASK)
            change = coded(floats_at(trend + 4 * at) * trend_inverse, trend_scale, _MOST_TREND) & all_ints(_TREND_MASK)
            words = (base << all_ints(_TREND_BITS)) | change
            if at + LANES <= count:
                put_shorts(codes + 2 * at, words)
            else:
                put_shorts(rest, words)
                copy_bytes(rest, codes + 2 * at, 2 * (count - at))
