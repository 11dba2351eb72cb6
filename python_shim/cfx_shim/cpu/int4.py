"""The kernels of ``codecs.int4``: a token at a time, in parts that groups of 32 channels begin anew with. A group is two vectors,
or fewer numbers behind which there are zeros; what is one number a group goes by vectors of 16 groups.
"""

import numpy as np

from . import shared
from .arithmetic import inlined, magnitude, rounded_up
from .blocks import payload_of, section_of, state_of, x_of
from .column_sums import FINITE_VALUES, rows_of, sum_up
from .means import mean_bits, stored_means
from .parts import read_parts, write_parts
from .starts import start_token
from .states import used_at
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    at_least,
    below,
    bits_of,
    bytes_at,
    clear_bytes,
    copy_bytes,
    either,
    either_int,
    equal,
    float_at,
    single_at,
    floats_at,
    int_at,
    ints_at,
    largest_of,
    mask_of_bits,
    put_bytes,
    put_floats,
    put_int,
    put_ints,
    put_short,
    put_shorts,
    short_at,
    shorts_at,
    sum_of,
    value_of,
    whole_at,
)

_GROUP, _INFINITY, _NOTHING = 2 * LANES, 0x7F800000, 255
_CANDIDATES, _UP, _DOWN = 6, 2 ** (1 / 8), 2 ** (-1 / 4)
# float32's least normal number and bfloat16's largest
_SMALLEST, _MOST = 0x00800000, 0x7F7F0000
_ROUNDER = 24.0
_ROUNDER_BITS = 0x41C00000


def int4_statistics_kernel(common, sections, first, last, scratch):
    """Store the means of the strips ``first`` to ``last`` of channels, counted through all blocks of all sections."""
    blocks, tokens, channels = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    width = whole_at(common + shared.STRIP)
    strips = (channels + width - 1) // width
    all_tokens = all_floats(np.float32(tokens))
    for index in range(first, last):
        section = section_of(common, sections, index // strips)
        block, start = index // strips % blocks, index % strips * width
        count = min(width, channels - start)
        sum_up(common, section, block, start, count, tokens, 1, FINITE_VALUES, scratch)
        means = payload_of(common, section, block)
        _, _, total = rows_of(scratch, count)
        for c in range(0, count, LANES):
            put_shorts(scratch, mean_bits(floats_at(total + 4 * c) / all_tokens))
            copy_bytes(scratch, means + 2 * (start + c), 2 * min(count - c, LANES))
    return 0


def int4_encode_kernel(common, sections, first, last, scratch):
    """As ``encode_kernel``; moves no state, but may start one."""
    blocks, tokens, channels = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    kind, item = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES)
    middle, starts = whole_at(common + shared.MIDDLE), whole_at(common + shared.STARTS)
    width, groups = rounded_up(middle) + rounded_up(channels - middle), _groups(middle) + _groups(channels - middle)
    of_groups = 4 * rounded_up(groups)
    rest, means, row, change = scratch, scratch + 128, scratch + 128 + 4 * width, scratch + 128 + 8 * width
    largest = change + 4 * width
    units, reach = largest + of_groups, largest + 2 * of_groups
    seen, told = 0, -1
    for index in range(first, last):
        token, section = index % tokens, section_of(common, sections, index // tokens)
        block = index // tokens % blocks
        x = x_of(common, section, block)
        x += token * whole_at(common + shared.X_TOKEN_STEP)
        payload = payload_of(common, section, block)
        if index // tokens != told:
            told = index // tokens
            stored_means(common, payload, means, width, rest)
        scales = payload + 2 * channels
        codes = scales + 2 * tokens + token * groups
        levels = scales + tokens * (2 + groups) + token * ((channels + 1) // 2)
        read_parts(row, x, kind, 0, item, common, rest)
        if _take_means_off(row, means, width):
            seen = 1
        _largest(row, largest, middle)
        _largest(row + 4 * rounded_up(middle), largest + 4 * _groups(middle), channels - middle)
        bits = _token_scale(largest, groups)
        put_short(scales + 2 * token, bits)
        scale = _scale_value(bits)
        _begin(largest, scale, groups, units, reach, common)
        _search(row, units, reach, middle, common)
        _search(row + 4 * rounded_up(middle), units + 4 * _groups(middle), reach + 4 * _groups(middle), channels - middle, common)
        _choose(largest, reach, groups, codes, rest)
        _read_units(codes, scale, groups, units, common, rest)
        _code(row, units, levels, middle, common, rest)
        other = units + 4 * _groups(middle)
        _code(row + 4 * rounded_up(middle), other, levels + middle // 2, channels - middle, common, rest)
        if starts > 0:
            _decode(levels, row, means, units, middle, channels, common, rest)
            base = state_of(common, section, block)
            start_token(common, row, width, base, token, change, rest)
    return seen


def int4_decode_kernel(common, sections, first, last, scratch):
    """As ``decode_kernel`` with order 0, or of a keyframe."""
    blocks, tokens, channels = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    item, middle, starts = whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.MIDDLE), whole_at(common + shared.STARTS)
    width, groups = rounded_up(middle) + rounded_up(channels - middle), _groups(middle) + _groups(channels - middle)
    rest, means, row, change = scratch, scratch + 128, scratch + 128 + 4 * width, scratch + 128 + 8 * width
    units, told = change + 4 * width, -1
    for index in range(first, last):
        token, section = index % tokens, section_of(common, sections, index // tokens)
        block = index // tokens % blocks
        payload = payload_of(common, section, block)
        if index // tokens != told:
            told = index // tokens
            stored_means(common, payload, means, width, rest)
        scales = payload + 2 * channels
        levels = scales + tokens * (2 + groups) + token * ((channels + 1) // 2)
        scale = _scale_value(short_at(scales + 2 * token))
        _read_units(scales + 2 * tokens + token * groups, scale, groups, units, common, rest)
        _decode(levels, row, means, units, middle, channels, common, rest)
        base = state_of(common, section, block)
        if starts > 0:
            used = used_at(section, block, token, common)
            if used > 0:
                write_parts(row, used, True, common, rest)
            start_token(common, row, width, base, token, change, rest)
        else:
            write_parts(row, base + token * channels * item, False, common, rest)
    return 0


@inlined
def _groups(channels):
    return (channels + (_GROUP - 1)) // _GROUP


@inlined
def _take_means_off(row, means, width):
    """0 in place of NaN and Inf before; whether there were any."""
    tops = all_ints(0)
    for c in range(0, 4 * width, 4 * LANES):
        value = floats_at(row + c)
        size = bits_of(magnitude(value))
        tops = either_int(above(size, tops), size, tops)
        put_floats(row + c, either(below(size, all_ints(_INFINITY)), value, all_floats(0.0)) - floats_at(means + c))
    return largest_of(tops) >= _INFINITY


@inlined
def _largest(row, largest, count):
    """The bits of each group's largest magnitude, of a part of ``count`` channels."""
    for c in range(0, count, _GROUP):
        size = bits_of(magnitude(floats_at(row + 4 * c)))
        if c + LANES < count:
            other = bits_of(magnitude(floats_at(row + 4 * (c + LANES))))
            size = either_int(above(size, other), size, other)
        put_int(largest + 4 * (c // _GROUP), largest_of(size))


@inlined
def _token_scale(largest, groups):
    """bfloat16's bits of the largest of ``groups`` numbers."""
    for group in range(groups, rounded_up(groups)):
        put_int(largest + 4 * group, np.int32(0))
    tops = all_ints(0)
    for group in range(0, groups, LANES):
        size = ints_at(largest + 4 * group)
        tops = either_int(above(size, tops), size, tops)
    top = min(largest_of(tops), _MOST)
    return (top + 0x7FFF + ((top >> 16) & 1)) >> 16


@inlined
def _scale_value(bits):
    """A vector of nothing but the scale of these bits; of what is no number, 0."""
    value = value_of(all_ints(bits << 16))
    return either(below(magnitude(value), value_of(all_ints(_INFINITY))), value, all_floats(0.0))


@inlined
def _factor(codes, common):
    """Floats of group scales' codes, over the token's."""
    fraction, place = all_floats(0.0), codes & all_ints(7)
    for step in range(8):
        fraction = either(equal(place, all_ints(step)), all_floats(single_at(common + shared.FRACTIONS + 8 * step)), fraction)
    power = value_of((all_ints(127) - (codes >> all_ints(3))) << all_ints(23))
    return either(equal(codes, all_ints(_NOTHING)), all_floats(0.0), fraction * power)


@inlined
def _begin(largest, scale, groups, inverses, reach, common):
    """The codes of the scales that just reach each group's largest magnitude, and their reciprocals."""
    smallest = value_of(all_ints(_SMALLEST))
    for group in range(0, groups, LANES):
        ratio = bits_of(either(above(scale, all_floats(0.0)), floats_at(largest + 4 * group) / scale, all_floats(0.0)))
        codes = (all_ints(127) - (ratio >> all_ints(23))) << all_ints(3)
        mantissa = value_of((ratio & all_ints(0x7FFFFF)) | all_ints(0x3F800000))
        for step in range(8):
            past = above(mantissa, all_floats(single_at(common + shared.ROOTS + 8 * step)))
            codes = codes - either_int(past, all_ints(1), all_ints(0))
        codes = either_int(above(codes, all_ints(0)), codes, all_ints(0))
        codes = either_int(below(codes, all_ints(_NOTHING - 1)), codes, all_ints(_NOTHING - 1))
        put_ints(reach + 4 * group, codes)
        unit = scale * _factor(codes, common)
        put_floats(inverses + 4 * group, either(at_least(unit, smallest), all_floats(1.0) / unit, all_floats(0.0)))


@inlined
def _errors(size, common):
    """Squares of what the nearest levels miss of magnitudes over a scale, in steps of 2^-19."""
    level = all_floats(single_at(common + shared.LEVELS))
    for place in range(7):
        reached = at_least(size, all_floats(single_at(common + shared.THRESHOLDS + 8 * place)))
        level = either(reached, all_floats(single_at(common + shared.LEVELS + 8 * (place + 1))), level)
    missed = size - level
    return bits_of(missed * missed + all_floats(_ROUNDER)) - all_ints(_ROUNDER_BITS)


@inlined
def _search(row, inverses, reach, count, common):
    """Adds to each group's code how many steps below the scale that just reaches the best one is."""
    for c in range(0, count, _GROUP):
        here = min(count - c, _GROUP)
        one, other = magnitude(floats_at(row + 4 * c)), all_floats(0.0)
        ones, others = mask_of_bits((1 << min(here, LANES)) - 1), mask_of_bits((1 << max(here - LANES, 0)) - 1)
        if here > LANES:
            other = magnitude(floats_at(row + 4 * (c + LANES)))
        inverse = all_floats(float_at(inverses + 4 * (c // _GROUP)))
        best, least, weight = 0, np.float32(np.inf), np.float32(1.0)
        for step in range(_CANDIDATES):
            steps = either_int(ones, _errors(one * inverse, common), all_ints(0))
            steps = steps + either_int(others, _errors(other * inverse, common), all_ints(0))
            error = np.float32(sum_of(steps)) * weight
            if error < least:
                best, least = step, error
            inverse = inverse * all_floats(_UP)
            weight = weight * np.float32(_DOWN)
        place = reach + 4 * (c // _GROUP)
        put_int(place, int_at(place) + np.int32(best))


@inlined
def _choose(largest, reach, groups, codes, rest):
    """Store the groups' codes."""
    for group in range(0, groups, LANES):
        code = ints_at(reach + 4 * group)
        code = either_int(below(code, all_ints(_NOTHING - 1)), code, all_ints(_NOTHING - 1))
        code = either_int(above(ints_at(largest + 4 * group), all_ints(0)), code, all_ints(_NOTHING))
        put_bytes(rest, code)
        copy_bytes(rest, codes + group, min(groups - group, LANES))


@inlined
def _read_units(codes, scale, groups, units, common, rest):
    """The groups' scales as stored."""
    for group in range(0, groups, LANES):
        here = min(groups - group, LANES)
        clear_bytes(rest, LANES)
        copy_bytes(codes + group, rest, here)
        put_floats(units + 4 * group, scale * _factor(bytes_at(rest), common))


@inlined
def _levels_of(value, unit, real, common):
    """Which of 16 levels, rising; 0 where nothing is ``real``."""
    size, index = magnitude(value), all_ints(0)
    for place in range(7):
        reached = at_least(size, unit * all_floats(single_at(common + shared.THRESHOLDS + 8 * place)))
        index = either_int(reached, all_ints(place + 1), index)
    level = either_int(at_least(value, all_floats(0.0)), index + all_ints(8), all_ints(7) - index)
    return either_int(real, level, all_ints(0))


@inlined
def _code(row, units, levels, count, common, rest):
    """Store the levels of a part of ``count`` channels."""
    for c in range(0, count, _GROUP):
        here, unit = min(count - c, _GROUP), all_floats(float_at(units + 4 * (c // _GROUP)))
        ones, others = mask_of_bits((1 << min(here, LANES)) - 1), mask_of_bits((1 << max(here - LANES, 0)) - 1)
        put_bytes(rest, _levels_of(floats_at(row + 4 * c), unit, ones, common))
        if here > LANES:
            put_bytes(rest + LANES, _levels_of(floats_at(row + 4 * (c + LANES)), unit, others, common))
        pairs = shorts_at(rest)
        put_bytes(rest, pairs | (pairs >> all_ints(4)))
        copy_bytes(rest, levels + c // 2, (here + 1) // 2)


@inlined
def _value_of(level, common):
    """Floats of levels' numbers, over the scale."""
    upper = at_least(level, all_ints(8))
    index = either_int(upper, level - all_ints(8), all_ints(7) - level)
    size = all_floats(single_at(common + shared.LEVELS))
    for place in range(1, 8):
        size = either(equal(index, all_ints(place)), all_floats(single_at(common + shared.LEVELS + 8 * place)), size)
    return either(upper, size, all_floats(0.0) - size)


@inlined
def _decode_part(levels, row, means, units, count, common, rest):
    for c in range(0, count, _GROUP):
        here, unit = min(count - c, _GROUP), all_floats(float_at(units + 4 * (c // _GROUP)))
        clear_bytes(rest, LANES)
        copy_bytes(levels + c // 2, rest, (here + 1) // 2)
        pairs = bytes_at(rest)
        put_shorts(rest, (pairs & all_ints(15)) | ((pairs >> all_ints(4)) << all_ints(8)))
        for begin in range(0, here, LANES):
            place = 4 * (c + begin)
            value = _value_of(bytes_at(rest + begin), common) * unit + floats_at(means + place)
            real = mask_of_bits((1 << min(here - begin, LANES)) - 1)
            put_floats(row + place, either(real, value, all_floats(0.0)))


@inlined
def _decode(levels, row, means, units, middle, channels, common, rest):
    """A token's values into the parts of ``row``, zeros behind each."""
    _decode_part(levels, row, means, units, middle, common, rest)
    at = 4 * rounded_up(middle)
    _decode_part(levels + middle // 2, row + at, means + at, units + 4 * _groups(middle), channels - middle, common, rest)
