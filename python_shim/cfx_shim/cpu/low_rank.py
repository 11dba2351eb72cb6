"""The kernel that codes ``codecs.lowrank_fit``: factors as ``factor_fit`` finds them, a block at a time.

Its state moves by the code that decodes at the other end, on the same bytes.
"""

import numpy as np

from . import shared
from .arithmetic import BETA, called, called_with, inlined, magnitude, read_row, rounded_up, whole_bits
from .blocks import payload_of, section_of, state_of, x_of
from .factor_fit import classes_at, fit, lanes_of, levels_at, padded, panels_of, side_bytes
from .lanes import turn, word_of_fields
from .low_rank_decode import decode_tokens, row_bytes
from .parts import betas_of
from .states import read_strip, set_state
from .trend import read_whole_trend
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    below,
    bits_of,
    bits_of_one,
    clear_bytes,
    copy_bytes,
    either,
    either_int,
    float_at,
    single_at,
    floats_at,
    ints_at,
    largest_of,
    one_of_bits,
    negated,
    put_bytes,
    put_floats,
    put_int,
    put_short,
    whole_at,
)

_VECTOR, _INFINITY = 4 * LANES, 0x7F800000


def low_rank_encode_kernel(common, sections, first, last, scratch):
    """As ``encode_kernel``, but a block is coded at once, with its first token."""
    blocks, tokens = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS)
    channels = whole_at(common + shared.CHANNELS)
    order, moves = whole_at(common + shared.ORDER), whole_at(common + shared.FEEDBACK) != 0
    step = whole_at(common + shared.X_TOKEN_STEP)
    seen = 0
    for index in range((first + tokens - 1) // tokens, (last + tokens - 1) // tokens):
        section, block = section_of(common, sections, index), index % blocks
        x = x_of(common, section, block)
        base = state_of(common, section, block)
        payload = payload_of(common, section, block)
        seen |= _encode_block(common, payload, x, base, scratch)
        if order > 0 and moves:
            decode_tokens(common, payload, base, 0, 0, tokens, scratch)
        elif order > 0:
            # a trend in two parts, each of whole vectors
            width, rest = rounded_up(channels) + LANES, scratch
            held, trend = scratch + 64, scratch + 64 + 4 * width
            for token in range(tokens):
                set_state(held, trend, width, x + token * step, base, token, order, common, rest)
    return seen


def _encode_block(common, payload, x, base, scratch):
    """One block's payload; returns whether there was NaN or Inf, or a number too large for a unit."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    rank, of_u, of_v = whole_at(common + shared.RANK), panels_of(tokens), panels_of(channels)
    components, width = padded(rank), LANES * panels_of(rank)
    # in panels of channels, and turned into panels of tokens
    whole = scratch
    turned = whole + of_u * of_v * LANES * _VECTOR
    u = turned + of_u * of_v * LANES * _VECTOR
    v = u + side_bytes(of_u, components, width)
    weights = v + side_bytes(of_v, components, width)
    room = weights + 4 * width
    rest = room + 2 * _VECTOR * components * max(of_u, of_v) + 2 * 4 * components * width
    clear_bytes(u, rest - u)
    largest, largest_finite = _read_block(common, payload, whole, x, base, rest)
    # a power of two; neither it nor its inverse is below float32's normal numbers
    exponent = min(max(largest_finite >> 23, 1), 253)
    _turn_block(whole, turned, of_u, of_v, all_floats(one_of_bits((254 - exponent) << 23)))
    fit(common, whole, turned, u, v, weights, room)
    unit = _put_weights(common, payload, weights, rank, one_of_bits(exponent << 23), rest)
    class_codes = payload + 2 + rank
    level_codes = class_codes + row_bytes(tokens, 2) + row_bytes(channels, 2)
    _put_factor(u, tokens, rank, 0, class_codes, level_codes, rest)
    _put_factor(v, channels, rank, weights, class_codes + row_bytes(tokens, 2), level_codes + rank * row_bytes(tokens, 2), rest)
    return np.int64(largest >= _INFINITY or not unit < single_at(common + shared.LARGEST_SENT))


@inlined
def _read_block(common, payload, panels, x, base, rest):
    """What base and prediction leave of x, in panels of channels, 0 for NaN and Inf and behind the last token.

    Returns the bits of the largest magnitude, which is no number where one of them is none, and of the largest that is one.
    """
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    order, step = whole_at(common + shared.ORDER), whole_at(common + shared.X_TOKEN_STEP)
    kind = whole_at(common + shared.KIND)
    of_v, panel_bytes = panels_of(channels), panels_of(tokens) * LANES * _VECTOR
    row, held, beta = rest + 64, rest + 64 + of_v * _VECTOR, rest + 64 + 2 * of_v * _VECTOR
    trend, block_trend = beta + of_v * _VECTOR, base + whole_at(common + shared.TREND_AT)
    if order == 2:
        read_row(beta, betas_of(common, payload), BETA, 0, channels, rest)
    top, top_finite = all_ints(0), all_ints(0)
    for token in range(tokens):
        read_row(row, x + token * step, kind, 0, channels, rest)
        if order > 0:
            read_strip(held, trend, base, token, 0, channels, order, common, rest)
        if order == 2 and whole_at(common + shared.EIGHT_BIT) == 0:
            read_whole_trend(trend, block_trend, token, common, rest)
        for panel in range(of_v):
            value = floats_at(row + panel * _VECTOR)
            if order > 0:
                value = value - floats_at(held + panel * _VECTOR)
            if order == 2:
                value = value - floats_at(trend + panel * _VECTOR) * floats_at(beta + panel * _VECTOR)
            size = bits_of(magnitude(value))
            top = either_int(above(size, top), size, top)
            value = either(below(size, all_ints(_INFINITY)), value, all_floats(0.0))
            size = bits_of(magnitude(value))
            top_finite = either_int(above(size, top_finite), size, top_finite)
            put_floats(panels + panel * panel_bytes + token * _VECTOR, value)
    for panel in range(of_v):
        clear_bytes(panels + panel * panel_bytes + tokens * _VECTOR, panel_bytes - tokens * _VECTOR)
    return largest_of(top), largest_of(top_finite)


@inlined
def _turn_block(panels, turned, of_u, of_v, factor):
    """Multiply what is in panels of channels, and put it into panels of tokens, too."""
    tile = LANES * _VECTOR
    for one in range(of_v):
        for other in range(of_u):
            source = panels + (one * of_u + other) * tile
            for at in range(source, source + tile, _VECTOR):
                put_floats(at, floats_at(at) * factor)
            turn(source, _VECTOR, turned + (other * of_v + one) * tile)


@inlined
def _put_weights(common, payload, weights, rank, scale, rest):
    """The unit, times ``scale``, and the whole weights; returns the former."""
    top = all_ints(0)
    for k in range(0, rank, LANES):
        size = bits_of(magnitude(floats_at(weights + 4 * k)))
        top = either_int(above(size, top), size, top)
    most = single_at(common + shared.MOST)
    unit = one_of_bits(largest_of(top)) / most
    for k in range(0, rank, LANES):
        wholes = magnitude(floats_at(weights + 4 * k)) / all_floats(unit)
        # NaN where the unit is 0
        wholes = either(above(wholes, all_floats(0.0)), wholes, all_floats(0.0))
        wholes = either(below(wholes, all_floats(most)), wholes, all_floats(most))
        put_bytes(rest, whole_bits(wholes))
        copy_bytes(rest, payload + 2 + k, min(LANES, rank - k))
    unit = unit * scale
    bits = bits_of_one(unit)
    put_short(payload, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
    return unit


def _put_factor(side, length, rank, weights, class_codes, level_codes, rest):
    """A side's classes and levels as stored; levels of a component whose weight is less than 0 with the other sign.

    ``weights`` 0: there are none.
    """
    panels, components = panels_of(length), padded(rank)
    size, levels, classes = row_bytes(length, 2), levels_at(side, panels, components), classes_at(side, panels, components)
    for panel in range(panels):
        there, here = lanes_of(length, panel), min(4, size - 4 * panel)
        put_int(rest, word_of_fields(either_int(there, ints_at(classes + panel * _VECTOR), all_ints(0))))
        copy_bytes(rest, class_codes + 4 * panel, here)
        for k in range(rank):
            level = floats_at(levels + (panel * components + k) * _VECTOR)
            if weights > 0 and float_at(weights + 4 * k) < 0.0:
                level = negated(level)
            codes = whole_bits(level * all_floats(0.5) + all_floats(1.5)) & all_ints(3)
            put_int(rest, word_of_fields(either_int(there, codes, all_ints(0))))
            copy_bytes(rest, level_codes + k * size + 4 * panel, here)


_encode_block, _put_factor = called(_encode_block), called_with(7)(_put_factor)
