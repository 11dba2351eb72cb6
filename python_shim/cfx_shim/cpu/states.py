"""A token's part of a state of either kind in and out of rows of float32, in the parts of what codes it or as one."""

from . import shared
from .arithmetic import FLOAT16, called, clear, inlined, read_row, rounded_up, write_row
from .eight_bit import join_row, part_row, read_span, write_span
from .parts import read_parts, write_parts
from .trend import read_trend, write_trend
from .vectors import LANES, above, all_floats, below, clear_bytes, copy_bytes, either, floats_at, put_floats, whole_at

_HALF_MAX = 65504.0


@inlined
def place_of(state, token, common):
    """Where a token's part of a native base is."""
    return state + token * whole_at(common + shared.CHANNELS) * whole_at(common + shared.ITEM_BYTES)


@called
def read_state(held, trend, state, token, order, common, rest):
    """A token's base, and with ``order`` 2 its trend, into parts of rows. ``state``: where that of its block begins."""
    if whole_at(common + shared.EIGHT_BIT):
        read_span(held, trend if order == 2 else 0, state, token, 0, whole_at(common + shared.CHANNELS), common, rest)
        part_row(held, common)
        if order == 2:
            part_row(trend, common)
    else:
        kind, item = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES)
        read_parts(held, place_of(state, token, common), kind, 0, item, common, rest)
        if order == 2:
            read_trend(trend, state + whole_at(common + shared.TREND_AT), token, common, rest)


@called
def write_state(held, trend, state, token, order, common, rest):
    """The other way, as ``_Layout.move`` does it: what is ``held`` may be in float32 what the tensor's type cannot hold.

    Rows of a state in 8 bits do not stay what they are.
    """
    if whole_at(common + shared.EIGHT_BIT):
        channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
        _saturate(held, rounded_up(middle) + channels - middle, common)
        _write_eight_bit(held, trend, state, token, order, common, rest)
    else:
        write_parts(held, place_of(state, token, common), True, common, rest)
        if order == 2:
            write_trend(trend, state + whole_at(common + shared.TREND_AT), token, common, rest)


@called
def set_state(held, trend, width, x, state, token, order, common, rest):
    """The base becomes the numbers at ``x``, and its trend unknown. ``held``, ``trend``: scratch of ``width`` numbers."""
    if order == 2:
        clear(trend, width)
    if whole_at(common + shared.EIGHT_BIT):
        read_parts(held, x, whole_at(common + shared.KIND), 0, whole_at(common + shared.ITEM_BYTES), common, rest)
        _write_eight_bit(held, trend, state, token, order, common, rest)
    else:
        size = whole_at(common + shared.CHANNELS) * whole_at(common + shared.ITEM_BYTES)
        copy_bytes(x, place_of(state, token, common), size)
        if order == 2:
            write_trend(trend, state + whole_at(common + shared.TREND_AT), token, common, rest)


@inlined
def read_strip(held, trend, state, token, start, count, order, common, rest):
    """Channels ``start``, a multiple of 32, to ``start + count`` of a token's base, side by side; with ``order`` 2 those of a trend
    that shares words with it, too. A trend beside a native base is apart.
    """
    if whole_at(common + shared.EIGHT_BIT):
        read_span(held, trend if order == 2 else 0, state, token, start, count, common, rest)
    else:
        kind, item = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES)
        read_row(held, place_of(state, token, common) + start * item, kind, 0, count, rest)


@inlined
def write_strip(held, trend, state, token, start, count, order, common, rest):
    """The other way, as ``write_state``."""
    if whole_at(common + shared.EIGHT_BIT):
        _saturate(held, count, common)
        _clear_behind(held, count)
        if order == 2:
            _clear_behind(trend, count)
        write_span(held, trend, state, token, start, count, common, rest)
    else:
        kind, item = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES)
        write_row(held, place_of(state, token, common) + start * item, kind, True, count, rest)


@inlined
def used_at(section, block, token, common):
    """Where a receiver puts what it uses now, which a base in 8 bits does not hold; 0 of a native one, and where none is told."""
    values = whole_at(section + shared.X)
    if whole_at(common + shared.EIGHT_BIT) == 0 or values == 0:
        return 0
    return place_of(values, block * whole_at(common + shared.TOKENS) + token, common)


@inlined
def _write_eight_bit(held, trend, state, token, order, common, rest):
    join_row(held, common)
    if order == 2:
        join_row(trend, common)
    write_span(held, trend, state, token, 0, whole_at(common + shared.CHANNELS), common, rest)


@inlined
def _clear_behind(row, count):
    """Zeros behind ``count`` numbers, up to whole vectors."""
    clear_bytes(row + 4 * count, 4 * (rounded_up(count) - count))


@inlined
def _saturate(row, count, common):
    """Within float16's range, where that is the tensor's type."""
    if whole_at(common + shared.KIND) == FLOAT16:
        for at in range(row, row + 4 * count, 4 * LANES):
            values = floats_at(at)
            values = either(above(values, all_floats(_HALF_MAX)), all_floats(_HALF_MAX), values)
            put_floats(at, either(below(values, all_floats(-_HALF_MAX)), all_floats(-_HALF_MAX), values))
