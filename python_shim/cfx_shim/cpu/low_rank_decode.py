"""The kernel that multiplies low rank's factors out, of any of its codecs, and moves a receiver's state by that.

Those of ``lowrank_fit`` are whole numbers of at most 11 bits and their sums have at most 24, so that products are exact in
any order, fused or not. Those of ``lowrank`` and ``lowrank_int4`` are any: products are rounded, then added in their order.
"""

import numpy as np

from . import shared
from .arithmetic import BETA, FLOAT16, FLOAT32, called_with, half_value, inlined, magnitude, read_row, write_row
from .blocks import payload_of, section_of, state_of
from .factor_fit import class_factor, padded, panels_of
from .lanes import fields_of, nibbles_of
from .matrices import multiply, multiply_rounded
from .parts import betas_of, move
from .states import read_strip, used_at, write_strip
from .trend import read_whole_trend, write_whole_trend
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    as_floats,
    below,
    bits_of,
    byte_at,
    copy_bytes,
    either,
    float_at,
    single_at,
    floats_at,
    int_at,
    put_floats,
    short_at,
    shorts_at,
    value_of,
    whole_at,
)

_VECTOR, _INFINITY = 4 * LANES, 0x7F800000


def low_rank_decode_kernel(common, sections, first, last, scratch):
    """As ``decode_kernel``."""
    blocks, tokens = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS)
    while first < last:
        index, begin = first // tokens, first % tokens
        end = min(tokens, begin + last - first)
        section, block = section_of(common, sections, index), index % blocks
        base = state_of(common, section, block)
        payload = payload_of(common, section, block)
        decode_tokens(common, payload, base, used_at(section, block, 0, common), begin, end, scratch)
        first += end - begin
    return 0


def _decode_tokens(common, payload, base, used, first, last, scratch):
    """Tokens ``first`` to ``last`` of one block: its state moves, or with order 0 they are written there.

    ``used``: where what a receiver uses beside a base in 8 bits goes, from the block's first token on, or 0.
    """
    channels, rank, bits = whole_at(common + shared.CHANNELS), whole_at(common + shared.RANK), whole_at(common + shared.BITS)
    kind, item, order = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.ORDER)
    of_v, width = panels_of(channels), LANES * panels_of(rank)
    eight_bit = whole_at(common + shared.EIGHT_BIT) > 0
    staged = kind != FLOAT32 or channels % LANES > 0 or eight_bit
    panel_bytes, row_step = padded(rank) * _VECTOR, of_v * _VECTOR
    rest, bounds = scratch, scratch + 64
    v = bounds + 16 * width
    u = v + of_v * panel_bytes
    sums = u + width * _VECTOR
    held_row, beta, unit = sums + LANES * row_step, sums + LANES * row_step + row_step, all_floats(1.0)
    trend, block_trend = beta + row_step, base + whole_at(common + shared.TREND_AT)
    if order == 2:
        read_row(beta, betas_of(common, payload), BETA, 0, channels, rest)
    if bits == 2:
        unit = _unit(common, payload)
    elif bits == 4:
        _read_bounds(bounds, payload, rank, rest)
    for panel in range(of_v):
        _read_v(common, payload, panel, bounds, v + panel * panel_bytes, rest)
    for panel in range(first // LANES, (last + LANES - 1) // LANES):
        _read_u(common, payload, panel, width, bounds, u, rest)
        if bits == 2:
            multiply(u, 4, _VECTOR, LANES, v, panel_bytes, of_v, rank, sums, row_step, _VECTOR)
        elif bits == 4:
            multiply_rounded(u, 4, _VECTOR, LANES, v, panel_bytes, of_v, rank, sums, row_step, _VECTOR)
        else:
            multiply_rounded(u, 4 * width, 4, LANES, v, panel_bytes, of_v, rank, sums, row_step, _VECTOR)
        for token in range(max(first, panel * LANES), min(last, (panel + 1) * LANES)):
            place, row = base + token * channels * item, sums + (token - panel * LANES) * row_step
            if order == 0:
                for at in range(0, row_step, _VECTOR):
                    put_floats(row + at, floats_at(row + at) * unit)
                write_row(row, place, kind, False, channels, rest)
                continue
            held = place
            if staged:
                held = held_row
                read_strip(held, trend, base, token, 0, channels, order, common, rest)
            if order == 2 and not eight_bit:
                read_whole_trend(trend, block_trend, token, common, rest)
            for at in range(0, row_step, _VECTOR):
                move(order, held + at, trend + at, beta + at, floats_at(row + at) * unit, all_floats(1.0))
            if used > 0:
                write_row(held, used + token * channels * item, kind, True, channels, rest)
            if staged:
                write_strip(held, trend, base, token, 0, channels, order, common, rest)
            if order == 2 and not eight_bit:
                write_whole_trend(trend, block_trend, token, common, rest)


@inlined
def _read_v(common, payload, panel, bounds, target, rest):
    """A panel of V: ``rank`` vectors."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    rank, bits = whole_at(common + shared.RANK), whole_at(common + shared.BITS)
    if bits == 2:
        classes = payload + 2 + rank + row_bytes(tokens, 2)
        levels = classes + row_bytes(channels, 2) + rank * row_bytes(tokens, 2)
        _read_whole(common, classes, levels, channels, panel, rank, target, rest)
        for k in range(rank):
            weight = min(byte_at(payload + 2 + k), int(single_at(common + shared.MOST)))
            put_floats(target + k * _VECTOR, floats_at(target + k * _VECTOR) * as_floats(all_ints(weight)))
    elif bits == 4:
        codes = payload + 8 * rank + rank * row_bytes(tokens, 4)
        _read_steps(bounds + 8 * rank, codes, channels, panel, rank, target, rest)
    else:
        here = min(LANES, channels - LANES * panel)
        for k in range(rank):
            source = payload + 2 * (tokens * rank + k * channels + LANES * panel)
            if here < LANES:
                copy_bytes(source, rest, 2 * here)
                source = rest
            put_floats(target + k * _VECTOR, _finite(half_value(shorts_at(source))))


@inlined
def _read_u(common, payload, panel, width, bounds, target, rest):
    """A panel of U: ``rank`` vectors; of float16 16 rows of ``width``, as they are stored."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    rank, bits = whole_at(common + shared.RANK), whole_at(common + shared.BITS)
    if bits == 2:
        classes = payload + 2 + rank
        _read_whole(common, classes, classes + row_bytes(tokens, 2) + row_bytes(channels, 2), tokens, panel, rank, target, rest)
    elif bits == 4:
        _read_steps(bounds, payload + 8 * rank, tokens, panel, rank, target, rest)
    else:
        for row in range(min(LANES, tokens - LANES * panel)):
            place = target + 4 * row * width
            read_row(place, payload + 2 * (LANES * panel + row) * rank, FLOAT16, 0, rank, rest)
            for at in range(place, place + 4 * width, _VECTOR):
                put_floats(at, _finite(floats_at(at)))


@inlined
def row_bytes(length, bits):
    return (length * bits + 7) // 8


@inlined
def _finite(values):
    """0 for NaN and Inf, which no encoder writes."""
    return either(below(bits_of(magnitude(values)), all_ints(_INFINITY)), values, all_floats(0.0))


@inlined
def _unit(common, payload):
    """A vector of nothing but the unit, within its bounds."""
    most = single_at(common + shared.LARGEST_SCALE)
    value = _finite(value_of(all_ints(short_at(payload) << 16)))
    value = either(above(value, all_floats(-most)), value, all_floats(-most))
    return either(below(value, all_floats(most)), value, all_floats(most))


@inlined
def _read_whole(common, class_codes, level_codes, length, panel, rank, target, rest):
    """A panel of a factor in 2 bits, but for its weights."""
    size = row_bytes(length, 2)
    here = min(4, size - 4 * panel)
    factor = class_factor(common, fields_of(_word_at(class_codes + 4 * panel, here, rest)))
    for k in range(rank):
        levels = as_floats(fields_of(_word_at(level_codes + k * size + 4 * panel, here, rest)))
        put_floats(target + k * _VECTOR, (levels * all_floats(2.0) - all_floats(3.0)) * factor)


@inlined
def _read_bounds(bounds, payload, rank, rest):
    """Least and largest values of U's components and then of V's."""
    read_row(bounds, payload, FLOAT16, 0, 4 * rank, rest)
    for at in range(bounds, bounds + 16 * rank, _VECTOR):
        put_floats(at, _finite(floats_at(at)))


@inlined
def _read_steps(bounds, codes, length, panel, rank, target, rest):
    """A panel of a factor in 4 bits."""
    size = row_bytes(length, 4)
    here = min(8, size - 8 * panel)
    for k in range(rank):
        least, largest = float_at(bounds + 8 * k), float_at(bounds + 8 * k + 4)
        source = codes + k * size + 8 * panel
        first, second = _word_at(source, min(4, here), rest), np.int32(0)
        if here > 4:
            second = _word_at(source + 4, here - 4, rest)
        steps = as_floats(nibbles_of(first, second)) * all_floats((largest - least) / np.float32(15.0))
        put_floats(target + k * _VECTOR, steps + all_floats(least))


@inlined
def _word_at(address, size, rest):
    """An int32 of which the first ``size`` bytes, at most 4, are those at ``address``."""
    if size < 4:
        copy_bytes(address, rest, size)
        address = rest
    return int_at(address)


decode_tokens = called_with(7)(_decode_tokens)
