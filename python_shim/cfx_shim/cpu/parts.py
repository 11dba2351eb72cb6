"""A token's channels in parts: those that share one of its scales, each of which begins at a whole vector of scratch.

What coding and decoding do alike is here; both move a state by ``move``, so the two ends cannot part.
"""

from . import shared
from .arithmetic import BETA, FLOAT32, HALF_SCALE, SMALL_FLOAT, called, fetch_ahead, inlined, magnitude, read_row, rounded_up, write_row
from .vectors import (
    LANES,
    all_ints,
    bits_of,
    byte_at,
    copy_bytes,
    floats_at,
    larger,
    largest_of,
    put_byte,
    put_floats,
    whole_at,
)

# bytes of one vector
ROW = 4 * LANES


@inlined
def parts_of(common):
    """(how many parts, channels of the first, where it ends in a row, a row's numbers)."""
    channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    second = rounded_up(middle)
    width = second + rounded_up(channels - middle)
    if whole_at(common + shared.HALF_SCALES):
        return 1, channels, width, width
    return 2, middle, second, width


@inlined
def is_staged(common):
    """Whether tokens go through scratch because they, or their state, are not whole vectors of float32 as they lie."""
    whole = whole_at(common + shared.RAGGED) == 0 and whole_at(common + shared.KIND) == FLOAT32
    return not whole or whole_at(common + shared.EIGHT_BIT) != 0


@inlined
def read_parts(row, address, kind, bias, item, common, rest):
    """``read_row`` of all channels, each part at its place."""
    channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    read_row(row, address, kind, bias, middle, rest)
    if middle < channels:
        read_row(row + 4 * rounded_up(middle), address + item * middle, kind, bias, channels - middle, rest)


@inlined
def write_parts(row, address, saturate, common, rest):
    channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    kind, item = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES)
    write_row(row, address, kind, saturate, middle, rest)
    if middle < channels:
        write_row(row + 4 * rounded_up(middle), address + item * middle, kind, saturate, channels - middle, rest)


@inlined
def read_channels(common, payload, v, beta, rest):
    """Channel scales and betas as stored, in float32; returns where the codes begin."""
    scales, bias = channel_scales_of(common, payload), whole_at(common + shared.V_BIAS)
    if whole_at(common + shared.HALF_SCALES):
        read_parts(v, scales, HALF_SCALE, 0, 2, common, rest)
    else:
        read_parts(v, scales, SMALL_FLOAT, bias, 1, common, rest)
    if whole_at(common + shared.ORDER) == 2:
        read_betas(common, payload, beta, rest)
    return planes_of(common, payload)


@inlined
def channel_scales_of(common, payload):
    """Where a payload's scales of channels begin: behind those of tokens, of 2 bytes."""
    return payload + 2 * whole_at(common + shared.TOKENS)


@inlined
def planes_of(common, payload):
    """Where a payload's codes begin: behind all scales."""
    return channel_scales_of(common, payload) + whole_at(common + shared.SCALES) * whole_at(common + shared.CHANNELS)


@inlined
def betas_of(common, payload):
    """Where a payload's betas are, one for each channel."""
    return payload + whole_at(common + shared.BETAS_AT)


@inlined
def read_betas(common, payload, beta, rest):
    read_parts(beta, betas_of(common, payload), BETA, 0, 1, common, rest)


@inlined
def differences(delta, x, held, trend, beta, order, first, last):
    """What is to be coded of a row, into ``delta``; returns the maximum of its magnitudes' bits."""
    largest = all_ints(0)
    for c in range(first, last, LANES):
        fetch_ahead(x + 4 * c)
        fetch_ahead(held + 4 * c)
        missed = floats_at(x + 4 * c) - floats_at(held + 4 * c)
        if order == 2:
            missed = missed - floats_at(trend + 4 * c) * floats_at(beta + 4 * c)
        put_floats(delta + 4 * c, missed)
        largest = larger(bits_of(magnitude(missed)), largest)
    return largest_of(largest)


def by_vectors(decoded_at):
    """A function that moves channels ``first`` to ``last`` of a token's state by what ``decoded_at(c, told)`` gives for those from
    ``c`` on, a vector; with order 0 that is put at ``held``.
    """

    @inlined
    def go(first, last, order, held, trend, beta, gain, told):
        for c in range(first, last, LANES):
            decoded = decoded_at(c, told)
            fetch_ahead(held + 4 * c)
            if order == 0:
                put_floats(held + 4 * c, decoded)
            else:
                move(order, held + 4 * c, trend + 4 * c, beta + 4 * c, decoded, gain)

    return go


@inlined
def move(order, held, trend, beta, decoded, gain):
    """A vector of a token's state, at ``held`` and ``trend``, by what was decoded."""
    if order == 2:
        predicted = floats_at(trend) * floats_at(beta)
        put_floats(held, floats_at(held) + (decoded + predicted))
        put_floats(trend, decoded * gain + predicted)
    else:
        put_floats(held, floats_at(held) + decoded)


@called
def copy_planes(common, source, source_step, target, target_step, to_message):
    """A token's planes between a message, where parts follow each other, and scratch, where each begins at a vector."""
    channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    first, place = (middle + 7) // 8, rounded_up(middle) // 8
    rest = (channels - middle + 7) // 8
    for plane in range(whole_at(common + shared.BITS)):
        here, there = source + plane * source_step, target + plane * target_step
        copy_bytes(here, there, first)
        copy_bytes(here + (place if to_message else first), there + (first if to_message else place), rest)
        if to_message and channels % 8:
            # behind a row's last channel there are zeros
            end = there + (channels + 7) // 8 - 1
            put_byte(end, byte_at(end) & ((1 << channels % 8) - 1))
