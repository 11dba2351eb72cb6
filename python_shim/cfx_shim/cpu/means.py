"""Channels' means in a payload, as ``codecs._means`` keeps them."""

import numpy as np

from . import shared
from .arithmetic import FLOAT16, half_bits, inlined, magnitude
from .parts import read_parts
from .vectors import LANES, above, all_floats, below, either, equal, floats_at, put_floats, whole_at


@inlined
def mean_bits(means):
    """float16's bits of means as they are stored."""
    means = either(equal(means, means), means, all_floats(0.0))
    means = either(above(means, all_floats(-65504.0)), means, all_floats(-65504.0))
    return half_bits(either(below(means, all_floats(65504.0)), means, all_floats(65504.0)))


@inlined
def read_means(common, planes, row, width, rest):
    """The means behind ``planes`` into the parts of ``row``, 0 for NaN and Inf, which no encoder writes."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    stored_means(common, planes + whole_at(common + shared.BITS) * tokens * ((channels + 7) // 8), row, width, rest)


@inlined
def stored_means(common, means, row, width, rest):
    """The same of ``means``, wherever they are."""
    read_parts(row, means, FLOAT16, 0, 2, common, rest)
    for c in range(0, 4 * width, 4 * LANES):
        values = floats_at(row + c)
        put_floats(row + c, either(below(magnitude(values), all_floats(np.inf)), values, all_floats(0.0)))
