"""The statistics kernel: channel scales, and with a prediction beta, of strips of channels, in one pass over a block. What
has to be known first is a pass before it: means that are taken off, and beta where scales are means of what is left by the
prediction.

Sums over tokens are those of ``codecs._sums``: 64 lanes, folded in halves. A strip takes as many neighbouring lanes at a
time as the caller says, so that what it reads lies side by side and what it sums up stays in cache.
"""

import numpy as np

from . import shared
from .arithmetic import (
    FLOAT32,
    beta_code,
    beta_value,
    called,
    clear,
    fetch_ahead,
    grid_shift,
    half_scale,
    half_value,
    inlined,
    magnitude,
    read_row,
    rounded_up,
    rounder_of,
    small_float,
)
from .means import mean_bits
from .parts import betas_of, channel_scales_of, planes_of
from .eight_bit import read_span
from .groups import groups_of, read_groups
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
    copy_bytes,
    either,
    either_int,
    float_at,
    floats_at,
    largest_of,
    put_bytes,
    put_floats,
    put_int,
    put_short,
    put_shorts,
    root_of,
    sum_of,
    value_of,
    whole_at,
)

sums_bytes = inlined(shared.sums_bytes)

_SUM_LANES = 64
# what is summed up of x less its base: squares, magnitudes, the three products that a prediction is fitted from, itself,
# magnitudes without the prediction, itself with 0 for NaN and Inf, or squares without the prediction
SQUARES, MAGNITUDES, _PRODUCTS, _VALUES, MISSED, FINITE_VALUES, MISSED_SQUARES = 0, 1, 2, 3, 4, 5, 6


def statistics_kernel(common, sections, first, last, scratch):
    """Store v, and with order 2 beta, of the strips ``first`` to ``last``, counted through all blocks of all sections.

    They begin anew where groups of the trend's channels do.
    """
    blocks, (of_first, strips) = whole_at(common + shared.BLOCKS), strips_of(common)
    for index in range(first, last):
        section, strip = sections + index // (blocks * strips) * shared.SECTION_BYTES, index % strips
        _strip(common, section, index // strips % blocks, strip, of_first, scratch)
    return 0


@inlined
def take_statistics(common, section, block, scratch):
    """The same of all strips of a block, and where ``shared.SUMS_AT`` says so the sums of its tokens, and of 1 bit the codes."""
    of_first, strips = strips_of(common)
    for strip in range(strips):
        _strip(common, section, block, strip, of_first, scratch)


@inlined
def strips_of(common):
    """(strips before channels begin anew, all of a block's)."""
    channels, split, width = whole_at(common + shared.CHANNELS), whole_at(common + shared.SPLIT), whole_at(common + shared.STRIP)
    of_first = (split + width - 1) // width
    return of_first, of_first + (channels - split + width - 1) // width


@inlined
def channels_of(common, strip, of_first):
    """(the first channel, how many) of one of a block's strips, of which ``of_first`` are before channels begin anew."""
    split, width = whole_at(common + shared.SPLIT), whole_at(common + shared.STRIP)
    start, end = strip * width, split
    if strip >= of_first:
        start, end = split + (strip - of_first) * width, whole_at(common + shared.CHANNELS)
    return start, min(width, end - start)


@inlined
def rows_of(scratch, count):
    """(base, beta, sums) of ``count`` channels in scratch, as ``sum_up`` finds and leaves them."""
    row_bytes = 4 * rounded_up(count)
    return scratch + 64 + row_bytes, scratch + 64 + 3 * row_bytes, scratch + 64 + 4 * row_bytes


@called
def _strip(common, section, block, strip, of_first, scratch):
    start, count = channels_of(common, strip, of_first)
    rest, row_bytes, (base_row, beta_row, total) = scratch, 4 * rounded_up(count), rows_of(scratch, count)
    taken, stride = whole_at(common + shared.TAKEN), whole_at(common + shared.STRIDE)
    # with order 0 there is no base, or what is taken off stands in its place
    clear(base_row, rounded_up(count))
    centred, order, size = whole_at(common + shared.CENTRED), whole_at(common + shared.ORDER), whole_at(common + shared.SCALES)
    passes = 1
    if centred or (order == 2 and size == 2):
        passes = 2
    for number in range(passes):
        measure = SQUARES
        if centred and number == 0:
            measure = _VALUES
        elif order == 2 and number == 0:
            measure = _PRODUCTS
        elif order == 2:
            measure = MISSED
        elif size == 2:
            measure = MAGNITUDES
        sum_up(common, section, block, start, count, taken, stride, measure, scratch)
        if measure == _VALUES:
            _store_means(common, section, block, start, count, total, base_row, rest)
        elif measure == _PRODUCTS:
            _store_betas(common, section, block, start, count, total, row_bytes, beta_row, rest)
    if size:
        store_scales(common, _scales_at(common, section, block) + size * start, count, taken, total, rest)


@inlined
def sum_up(common, section, block, start, count, taken, stride, measure, scratch):
    """Leaves the sums over ``taken`` tokens, every ``stride``-th, behind ``scratch``' first 64 bytes and four rows, of which the
    second is the base with order 0, and the last beta."""
    order, tokens = whole_at(common + shared.ORDER), whole_at(common + shared.TOKENS)
    kind, item = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES)
    lanes = whole_at(common + shared.LANES)
    rank = block + (block >= whole_at(common + shared.OWN))
    x_step = whole_at(common + shared.X_TOKEN_STEP)
    x = whole_at(section + shared.X) + rank * whole_at(common + shared.X_BLOCK_STEP) + start * item
    payload = whole_at(section + shared.PAYLOAD) + rank * whole_at(common + shared.MESSAGE_STEP)
    state = whole_at(section + shared.STATE) + block * whole_at(common + shared.STATE_BLOCK_STEP)
    base = state + start * item
    channels, split = whole_at(common + shared.CHANNELS), whole_at(common + shared.SPLIT)
    state_step, scale_step = channels * item, groups_of(split) + groups_of(channels - split)
    trend = state + whole_at(common + shared.TREND_AT)
    codes, scales = trend + start, trend + tokens * channels + first_group(start, split)
    width, sums_at, eight_bit = rounded_up(count), whole_at(common + shared.SUMS_AT), whole_at(common + shared.EIGHT_BIT)
    staged = kind != FLOAT32 or width != count
    row_bytes, sums = 4 * width, 3 if measure == _PRODUCTS else 1
    lane_bytes = sums * row_bytes
    rest, x_row, base_row = scratch, scratch + 64, scratch + 64 + row_bytes
    trend_row, beta_row, stack = (
        scratch + 64 + 2 * row_bytes, scratch + 64 + 3 * row_bytes, scratch + 64 + 4 * row_bytes,
    )  # fmt: skip
    # groups of lanes in the order in which folding in halves adds them up, so that few of their sums are kept at a time
    groups, depth = _SUM_LANES // lanes, 0
    for leaf in range(groups):
        total = stack + depth * lanes * lane_bytes
        clear(total, lanes * sums * width)
        for begin in range(_reversed_bits(leaf, groups) * lanes, taken, _SUM_LANES):
            if measure == MAGNITUDES and sums_at > 0:
                here, sums_here = min(lanes, taken - begin), scratch + sums_at + 4 * begin
                x_here, base_here = x + begin * x_step, base + begin * state_step
                if whole_at(common + shared.BITS) == 1:
                    plane = planes_of(common, payload) + begin * (channels // 8)
                    _add_rows_and_put_signs(common, total, x_here, base_here, width, here, sums_here, plane)
                else:
                    _add_rows(common, total, x_here, base_here, width, here, sums_here, 0)
                continue
            for index in range(begin, min(begin + lanes, taken)):
                token = index * stride
                x_now, base_now = x + token * x_step, base_row
                fetch_ahead(x_now, count * item)
                if staged:
                    read_row(x_row, x_now, kind, 0, count, rest)
                    x_now = x_row
                if eight_bit and order > 0:
                    read_span(base_row, trend_row if order == 2 else 0, state, token, start, count, common, rest)
                elif order > 0:
                    base_now = base + token * state_step
                    fetch_ahead(base_now, count * item)
                    if staged:
                        read_row(base_row, base_now, kind, 0, count, rest)
                        base_now = base_row
                if order == 2 and not eight_bit:
                    read_groups(trend_row, codes + token * channels, scales + token * scale_step, count, rest)
                _add(total + (index - begin) * lane_bytes, row_bytes, x_now, base_now, trend_row, beta_row, measure)
        depth += 1
        left = leaf
        while left & 1:
            depth -= 1
            _fold(stack + (depth - 1) * lanes * lane_bytes, lanes * lane_bytes)
            left >>= 1
    while lanes > 1:
        lanes //= 2
        _fold(stack, lanes * lane_bytes)


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
def _add(total, row_bytes, x, base, trend, beta, measure):
    """A token more."""
    if measure == _PRODUCTS:
        for at in range(0, row_bytes, 4 * LANES):
            delta, last = floats_at(x + at) - floats_at(base + at), floats_at(trend + at)
            own, mixed, trends = total + at, total + row_bytes + at, total + 2 * row_bytes + at
            put_floats(own, floats_at(own) + delta * delta)
            put_floats(mixed, floats_at(mixed) + delta * last)
            put_floats(trends, floats_at(trends) + last * last)
    elif measure == MAGNITUDES:
        for at in range(0, row_bytes, 4 * LANES):
            delta = floats_at(x + at) - floats_at(base + at)
            put_floats(total + at, floats_at(total + at) + magnitude(delta))
    elif measure == MISSED:
        for at in range(0, row_bytes, 4 * LANES):
            delta = floats_at(x + at) - floats_at(base + at) - floats_at(trend + at) * floats_at(beta + at)
            put_floats(total + at, floats_at(total + at) + magnitude(delta))
    elif measure == MISSED_SQUARES:
        for at in range(0, row_bytes, 4 * LANES):
            delta = floats_at(x + at) - floats_at(base + at) - floats_at(trend + at) * floats_at(beta + at)
            put_floats(total + at, floats_at(total + at) + delta * delta)
    elif measure == _VALUES:
        for at in range(0, row_bytes, 4 * LANES):
            put_floats(total + at, floats_at(total + at) + floats_at(x + at))
    elif measure == FINITE_VALUES:
        for at in range(0, row_bytes, 4 * LANES):
            value = floats_at(x + at)
            value = either(below(magnitude(value), all_floats(np.inf)), value, all_floats(0.0))
            put_floats(total + at, floats_at(total + at) + value)
    else:
        for at in range(0, row_bytes, 4 * LANES):
            delta = floats_at(x + at) - floats_at(base + at)
            put_floats(total + at, floats_at(total + at) + delta * delta)


def _rows_adder(signs):
    """A function that adds ``count`` tokens more to magnitudes' sums, where a strip is whole rows that lie as they are added
    up, and leaves the tokens' own sums where ``shared.SUMS_AT`` says. ``signs``: and a bit for each number in ``plane``, 1 of
    those >= 0.
    """

    @called
    def add_rows(common, total, x, base, channels, count, sums, plane):
        x_step, steps = whole_at(common + shared.X_TOKEN_STEP), sums + sums_bytes(whole_at(common + shared.TOKENS))
        shift = grid_shift(channels)
        for at in range(0, 4 * count, 4):
            fetch_ahead(x, 4 * channels)
            fetch_ahead(base, 4 * channels)
            largest = all_ints(0)
            for c in range(0, 4 * channels, 4 * LANES):
                missed = floats_at(x + c) - floats_at(base + c)
                if signs:
                    put_short(plane + c // 32, bits_of_mask(at_least(missed, all_floats(0.0))))
                size = magnitude(missed)
                put_floats(total + c, floats_at(total + c) + size)
                bits = bits_of(size)
                largest = either_int(above(bits, largest), bits, largest)
            top = largest_of(largest)
            put_int(sums + at, top)
            rounder, found = rounder_of(all_ints(top), shift), all_ints(0)
            for c in range(0, 4 * channels, 4 * LANES):
                size = magnitude(floats_at(x + c) - floats_at(base + c))
                found = found + (bits_of(size + value_of(rounder)) - rounder)
            put_int(steps + at, sum_of(found))
            x, base, total, plane = x + x_step, base + 4 * channels, total + 4 * channels, plane + channels // 8

    return add_rows


_add_rows, _add_rows_and_put_signs = _rows_adder(False), _rows_adder(True)


@inlined
def _fold(low, size):
    """The ``size`` bytes of sums at ``low`` and those behind them."""
    for at in range(low, low + size, 4 * LANES):
        put_floats(at, floats_at(at) + floats_at(at + size))


@inlined
def _store_means(common, section, block, start, count, total, row, rest):
    """Means of the sums at ``total`` into the block's message, and as stored into ``row``."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    rank = block + (block >= whole_at(common + shared.OWN))
    payload = whole_at(section + shared.PAYLOAD) + rank * whole_at(common + shared.MESSAGE_STEP)
    means = payload + 2 * tokens + channels + whole_at(common + shared.BITS) * tokens * ((channels + 7) // 8)
    all_tokens = all_floats(np.float32(tokens))
    for c in range(0, count, LANES):
        codes = mean_bits(floats_at(total + 4 * c) / all_tokens)
        put_shorts(rest, codes)
        copy_bytes(rest, means + 2 * (start + c), 2 * min(count - c, LANES))
        put_floats(row + 4 * c, half_value(codes))


@inlined
def _store_betas(common, section, block, start, count, total, row_bytes, row, rest):
    """Betas of the sums at ``total`` into the block's message, and as stored into ``row``. Squares become what they leave."""
    rank = block + (block >= whole_at(common + shared.OWN))
    betas = betas_of(common, whole_at(section + shared.PAYLOAD) + rank * whole_at(common + shared.MESSAGE_STEP)) + start
    for c in range(0, count, LANES):
        own, mixed = floats_at(total + 4 * c), floats_at(total + row_bytes + 4 * c)
        trends = floats_at(total + 2 * row_bytes + 4 * c)
        codes = beta_code(either(above(trends, all_floats(0.0)), mixed / trends, all_floats(0.0)))
        put_bytes(rest, codes)
        copy_bytes(rest, betas + c, min(count - c, LANES))
        beta = beta_value(codes)
        put_floats(row + 4 * c, beta)
        missed = own - (mixed * all_floats(2.0) - trends * beta) * beta
        # rounding may leave less than nothing; a NaN stays
        put_floats(total + 4 * c, either(below(missed, all_floats(0.0)), all_floats(0.0), missed))


@inlined
def _scales_at(common, section, block):
    """Where the scales of a block's channels are in its message."""
    rank = block + (block >= whole_at(common + shared.OWN))
    return channel_scales_of(common, whole_at(section + shared.PAYLOAD) + rank * whole_at(common + shared.MESSAGE_STEP))


@inlined
def store_scales(common, scales, count, taken, total, rest):
    """The stored ``scales`` become those of the sums over ``taken`` tokens at ``total``."""
    bias, mean = whole_at(common + shared.V_BIAS), all_floats(float_at(common + shared.MEAN_MAGNITUDE))
    size, of_taken = whole_at(common + shared.SCALES), all_floats(np.float32(taken))
    for c in range(0, count, LANES):
        own, here = floats_at(total + 4 * c) / of_taken, min(count - c, LANES)
        if size == 2:
            put_shorts(rest, half_scale(own))
        else:
            put_bytes(rest, small_float(root_of(own) * mean, bias))
        copy_bytes(rest, scales + size * c, size * here)
