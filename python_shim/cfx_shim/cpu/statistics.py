"""The statistics kernel: channel scales, and with a prediction beta, of strips of channels, in one pass over a block. What
has to be known first is a pass before it: means that are taken off, and beta where scales are means of what is left by the
prediction. Sums are those of ``column_sums``.
"""

import numpy as np

from . import shared
from .arithmetic import beta_code, beta_value, called, clear, half_scale, half_value, inlined, small_float
from .blocks import payload_of, section_of
from .column_sums import MAGNITUDES, MISSED, PRODUCTS, SQUARES, VALUES, row_bytes_of, rows_of, sum_up
from .means import mean_bits
from .parts import betas_of, channel_scales_of
from .vectors import (
    LANES,
    above,
    all_floats,
    below,
    copy_bytes,
    either,
    single_at,
    floats_at,
    put_bytes,
    put_floats,
    put_shorts,
    root_of,
    whole_at,
)


def statistics_kernel(common, sections, first, last, scratch):
    """Store v, and with order 2 beta, of the strips ``first`` to ``last``, counted through all blocks of all sections.

    They begin anew where groups of the trend's channels do.
    """
    blocks, (of_first, strips) = whole_at(common + shared.BLOCKS), strips_of(common)
    for index in range(first, last):
        section, strip = section_of(common, sections, index // strips), index % strips
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


@called
def _strip(common, section, block, strip, of_first, scratch):
    start, count = channels_of(common, strip, of_first)
    rest, (base_row, beta_row, total) = scratch, rows_of(scratch, count)
    taken, stride = whole_at(common + shared.TAKEN), whole_at(common + shared.STRIDE)
    # with order 0 there is no base, or what is taken off stands in its place
    clear(base_row, row_bytes_of(count) // 4)
    centred, order, size = whole_at(common + shared.CENTRED), whole_at(common + shared.ORDER), whole_at(common + shared.SCALES)
    passes = 1
    if centred or (order == 2 and size == 2):
        passes = 2
    for number in range(passes):
        measure = SQUARES
        if centred and number == 0:
            measure = VALUES
        elif order == 2 and number == 0:
            measure = PRODUCTS
        elif order == 2:
            measure = MISSED
        elif size == 2:
            measure = MAGNITUDES
        sum_up(common, section, block, start, count, taken, stride, measure, scratch)
        if measure == VALUES:
            _store_means(common, section, block, start, count, total, base_row, rest)
        elif measure == PRODUCTS:
            _store_betas(common, section, block, start, count, total, beta_row, rest)
    if size:
        store_scales(common, _scales_at(common, section, block) + size * start, count, taken, total, rest)


@inlined
def _store_means(common, section, block, start, count, total, row, rest):
    """Means of the sums at ``total`` into the block's message, and as stored into ``row``."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    payload = payload_of(common, section, block)
    means = payload + 2 * tokens + channels + whole_at(common + shared.BITS) * tokens * ((channels + 7) // 8)
    all_tokens = all_floats(np.float32(tokens))
    for c in range(0, count, LANES):
        codes = mean_bits(floats_at(total + 4 * c) / all_tokens)
        put_shorts(rest, codes)
        copy_bytes(rest, means + 2 * (start + c), 2 * min(count - c, LANES))
        put_floats(row + 4 * c, half_value(codes))


@inlined
def _store_betas(common, section, block, start, count, total, row, rest):
    """Betas of the sums at ``total`` into the block's message, and as stored into ``row``. Squares become what they leave."""
    betas, row_bytes = betas_of(common, payload_of(common, section, block)) + start, row_bytes_of(count)
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
    return channel_scales_of(common, payload_of(common, section, block))


@inlined
def store_scales(common, scales, count, taken, total, rest):
    """The stored ``scales`` become those of the sums over ``taken`` tokens at ``total``."""
    bias, mean = whole_at(common + shared.V_BIAS), all_floats(single_at(common + shared.MEAN_MAGNITUDE))
    size, of_taken = whole_at(common + shared.SCALES), all_floats(np.float32(taken))
    for c in range(0, count, LANES):
        own, here = floats_at(total + 4 * c) / of_taken, min(count - c, LANES)
        if size == 2:
            put_shorts(rest, half_scale(own))
        else:
            put_bytes(rest, small_float(root_of(own) * mean, bias))
        copy_bytes(rest, scales + size * c, size * here)
