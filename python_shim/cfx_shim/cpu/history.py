"""The kernel for ``statistics.PREVIOUS``: what a send takes from the step before, and what it keeps for the step after.

It goes before the kernel that codes, for which the message then holds all but tokens' scales, and finds states as they were.
"""

from . import shared
from .arithmetic import (
    BETA,
    beta_code,
    called,
    clear,
    grid_shift,
    inlined,
    largest_bits,
    read_row,
    rounded_up,
    rounder_of,
    signed_sum_on_grid,
    value_of_steps,
)
from .blocks import payload_of, section_of, state_of, x_of
from .column_sums import MAGNITUDES, MISSED, MISSED_SQUARES, SQUARES, rows_of, sum_up
from .parts import ROW, betas_of, channel_scales_of, parts_of, read_parts
from .states import read_state
from .statistics import channels_of, store_scales, strips_of
from .vectors import (
    above,
    all_floats,
    all_ints,
    byte_at,
    clear_bytes,
    copy_bytes,
    either,
    floats_at,
    ints_at,
    largest_of,
    put_byte,
    put_bytes,
    put_floats,
    put_int,
    whole_at,
)

# bytes of one number for each token of the largest sample
_COLUMN = 8 * ROW
# scratch for the sums of a block's beta, of two products in two halves: a column of largest magnitudes' bits each, then one
# of steps of their grid each, then rows
_SUMS_AT, _ROWS_AT = ROW, ROW + 8 * _COLUMN
assert shared.history_bytes(0) == _ROWS_AT


def history_kernel(common, sections, first, last, scratch):
    """Of the blocks ``first`` to ``last``, counted through all sections."""
    blocks = whole_at(common + shared.BLOCKS)
    for index in range(first, last):
        section, block = section_of(common, sections, index), index % blocks
        payload = payload_of(common, section, block)
        history = whole_at(section + shared.HISTORY) + block * whole_at(common + shared.HISTORY_STEP)
        if whole_at(common + shared.FROM_HISTORY):
            _take(common, payload, history)
        _keep(common, section, block, payload, history, scratch)
    return 0


@inlined
def _beta_at(common):
    """How far behind a history's beginning its beta is: behind its scales."""
    return whole_at(common + shared.SCALES) * whole_at(common + shared.CHANNELS)


@called
def _take(common, payload, history):
    """A block's channel scales and betas into its message."""
    copy_bytes(history, channel_scales_of(common, payload), _beta_at(common))
    if whole_at(common + shared.ORDER) == 2:
        betas, beta = betas_of(common, payload), byte_at(history + _beta_at(common))
        for c in range(whole_at(common + shared.CHANNELS)):
            put_byte(betas + c, beta)


@called
def _keep(common, section, block, payload, history, scratch):
    """A block's history becomes that of this step, with the betas that its message holds."""
    order, size = whole_at(common + shared.ORDER), whole_at(common + shared.SCALES)
    taken, stride = whole_at(common + shared.HISTORY_TAKEN), whole_at(common + shared.HISTORY_STRIDE)
    of_first, strips = strips_of(common)
    measure = MAGNITUDES if size == 2 else SQUARES
    if order == 2:
        measure = MISSED if size == 2 else MISSED_SQUARES
    for strip in range(strips):
        start, count = channels_of(common, strip, of_first)
        _, beta, total = rows_of(scratch, count)
        if order == 2:
            read_row(beta, betas_of(common, payload) + start, BETA, 0, count, scratch)
        sum_up(common, section, block, start, count, taken, stride, measure, scratch)
        store_scales(common, history + size * start, count, taken, total, scratch)
    if order == 2:
        _sum_products(common, section, block, taken, stride, scratch)
        put_bytes(scratch, _beta_of_sums(common, scratch + _SUMS_AT))
        copy_bytes(scratch, history + _beta_at(common), 1)
    else:
        put_byte(history + _beta_at(common), 0)


@inlined
def _halves(common):
    """How many channels either half of ``codecs._log_scales`` has."""
    channels = whole_at(common + shared.CHANNELS)
    first = min(channels, 8 * ((channels + 15) // 16))
    return first, channels - first


@called
def _sum_products(common, section, block, taken, stride, scratch):
    """Of each token in the sample, (x - b) · d and d · d over the channels of either half."""
    kind, item = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES)
    x = x_of(common, section, block)
    state = state_of(common, section, block)
    _, _, _, width = parts_of(common)
    x_row, held, trend = scratch + _ROWS_AT, scratch + _ROWS_AT + 4 * width, scratch + _ROWS_AT + 8 * width
    sums, behind = scratch + _SUMS_AT, scratch + _ROWS_AT + 12 * width
    # of tokens that are not there
    clear(sums, 8 * _COLUMN // 4)
    for index in range(taken):
        token, place = index * stride, sums + 4 * index
        read_parts(x_row, x + token * whole_at(common + shared.X_TOKEN_STEP), kind, 0, item, common, scratch)
        read_state(held, trend, state, token, 2, common, scratch)
        for at in range(0, 4 * width, ROW):
            last = floats_at(trend + at)
            put_floats(x_row + at, (floats_at(x_row + at) - floats_at(held + at)) * last)
            put_floats(trend + at, last * last)
        _put_sums(common, place, x_row, behind)
        _put_sums(common, place + 2 * _COLUMN, trend, behind)


@called
def _put_sums(common, place, row, behind):
    """Of both halves of ``row``, of which the second goes to ``behind``."""
    first, second = _halves(common)
    middle, begin = whole_at(common + shared.MIDDLE), first
    # in a row of two parts the second one begins at a whole vector
    if middle < first + second:
        begin = rounded_up(middle)
    copy_bytes(row + 4 * begin, behind, 4 * second)
    clear_bytes(row + 4 * first, 4 * (rounded_up(first) - first))
    clear_bytes(behind + 4 * second, 4 * (rounded_up(second) - second))
    _put_sum(place, row, first)
    _put_sum(place + _COLUMN, behind, second)


@inlined
def _put_sum(place, row, count):
    """What ``_sum`` reads: the bits of the largest magnitude of ``count`` numbers, and their sum in steps of its grid."""
    largest = largest_of(largest_bits(row, 0, count))
    put_int(place, largest)
    rounder = rounder_of(all_ints(largest), grid_shift(count))
    put_int(place + 4 * _COLUMN, signed_sum_on_grid(row, 0, count, rounder))


@inlined
def _sum(place, count):
    return value_of_steps(ints_at(place + 4 * _COLUMN), ints_at(place), grid_shift(count))


@inlined
def _beta_of_sums(common, sums):
    """The byte of what the sample's sums give, in every lane: ``predictor.fit_block``."""
    of_first, of_second = _halves(common)
    for at in range(sums, sums + _COLUMN, ROW):
        put_floats(at, _sum(at, of_first) + _sum(at + _COLUMN, of_second))
        put_floats(at + 2 * _COLUMN, _sum(at + 2 * _COLUMN, of_first) + _sum(at + 3 * _COLUMN, of_second))
    size = _COLUMN
    while size > 4:
        size //= 2
        for at in range(sums, sums + size, ROW):
            put_floats(at, floats_at(at) + floats_at(at + size))
            put_floats(at + 2 * _COLUMN, floats_at(at + 2 * _COLUMN) + floats_at(at + 2 * _COLUMN + size))
    mixed, trends = floats_at(sums), floats_at(sums + 2 * _COLUMN)
    return beta_code(either(above(trends, all_floats(0.0)), mixed / trends, all_floats(0.0)))
