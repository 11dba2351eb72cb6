"""What the CPU kernels are made of: rows of any stored type in and out of float32, exact sums, scales in 8 and 16 bits.

Compiled by ``build``; nothing here runs as Python. Every function gives the bits that plain torch gives. Rows are
addresses of float32 in whole vectors of 16, zero behind the last number; what is stored elsewhere is widened into them.
"""

import numpy as np
from numba import njit, types

from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    as_floats,
    at_least,
    below,
    bits_of,
    bytes_at,
    copy_bytes,
    either,
    either_int,
    equal,
    floats_at,
    prefetch,
    put_floats,
    put_shorts,
    shorts_at,
    sum_of,
    value_of,
)

inlined = njit(error_model="numpy", fastmath=False, forceinline=True)

# what a number is stored as; the last three are a scale of ``_scales``, one of ``_log_scales`` and a predictor's beta
FLOAT32, FLOAT16, BFLOAT16, HALF_SCALE, SMALL_FLOAT, BETA = 0, 1, 2, 3, 4, 5
# a predictor's steps
_STEP = 1 / 64
# bytes
_AHEAD = 4096


@inlined
def rounded_up(count):
    """To whole vectors."""
    return (count + (LANES - 1)) // LANES * LANES


@inlined
def magnitude(values):
    return value_of(bits_of(values) & all_ints(0x7FFFFFFF))


@inlined
def fetch_ahead(address):
    """Of memory that is gone through in order and read at ``address`` now, a line that will be read soon.

    One with each vector that is read: many at once wait for one another, and hardware alone stops at each page.
    """
    prefetch(address + _AHEAD)


# vectors


@inlined
def half_value(halves):
    """Floats of float16's bits. Integers, because LLVM's own conversions become library calls on CPUs without them."""
    shifted = (halves & all_ints(0x7FFF)) << all_ints(13)
    finite = bits_of(value_of(shifted) * all_floats(2.0**112))
    size = either_int(at_least(shifted, all_ints(0x0F800000)), shifted | all_ints(0x7F800000), finite)
    return value_of(size | ((halves & all_ints(0x8000)) << all_ints(16)))


@inlined
def half_bits(values):
    """float16's bits of Floats, rounded to the nearest even."""
    bits = bits_of(values)
    size = bits & all_ints(0x7FFFFFFF)
    sign = (bits >> all_ints(16)) & all_ints(0x8000)
    odd = (size >> all_ints(13)) & all_ints(1)
    normal = ((size + all_ints(0xFFF) + odd) >> all_ints(13)) - all_ints(112 << 10)
    normal = either_int(below(normal, all_ints(0x7C00)), normal, all_ints(0x7C00))
    # below 2^-14 a float16 counts in steps of 2^-24, which are the last place of float32 numbers around 0.5
    small = bits_of(value_of(size) + all_floats(0.5)) - all_ints(0x3F000000)
    rounded = either_int(at_least(size, all_ints(0x38800000)), normal, small)
    not_a_number = all_ints(0x7E00) | ((size >> all_ints(13)) & all_ints(0x3FF))
    return either_int(above(size, all_ints(0x7F800000)), not_a_number, rounded) | sign


@inlined
def _bfloat_bits(values):
    bits = bits_of(values)
    rounded = (bits + all_ints(0x7FFF) + ((bits >> all_ints(16)) & all_ints(1))) >> all_ints(16)
    return either_int(equal(values, values), rounded, all_ints(0x7FC0))


@inlined
def half_scale(scales):
    """float16's bits of what ``_scales`` stores of scales >= 0."""
    scales = either(equal(scales, scales), scales, all_floats(0.0))
    return half_bits(either(below(scales, all_floats(65504.0)), scales, all_floats(65504.0)))


@inlined
def small_float(scales, bias):
    """``_log_scales``' codes of scales >= 0."""
    bits = bits_of(either(equal(scales, scales), scales, all_floats(0.0)))
    rounded = (bits + all_ints((1 << 19) - 1) + ((bits >> all_ints(20)) & all_ints(1))) >> all_ints(20)
    codes = rounded - all_ints((127 - bias) * 8)
    codes = either_int(above(codes, all_ints(0)), codes, all_ints(0))
    return either_int(below(codes, all_ints(255)), codes, all_ints(255))


@inlined
def small_float_value(codes, bias):
    values = value_of((codes + all_ints((127 - bias) * 8)) << all_ints(20))
    return either(above(codes, all_ints(0)), values, all_floats(0.0))


@inlined
def beta_code(betas):
    """The stored bytes of a predictor's betas, NaN's among them."""
    steps = betas * all_floats(1 / _STEP)
    steps = either(equal(steps, steps), steps, all_floats(0.0))
    steps = either(above(steps, all_floats(-128.0)), steps, all_floats(-128.0))
    steps = either(below(steps, all_floats(127.0)), steps, all_floats(127.0))
    return whole_bits(steps) & all_ints(0xFF)


@inlined
def beta_value(codes):
    return signed_byte_value(codes) * all_floats(_STEP)


@inlined
def whole_bits(values):
    """Floats rounded to the nearest even whole numbers, whose two's complement is in the lowest bits of what comes."""
    # 1.5 · 2^23 moves them there
    return bits_of(values + all_floats(12582912.0))


@inlined
def signed_byte_value(codes):
    """Floats of the two's complement in the lowest bytes, which alone are set."""
    return as_floats((codes & all_ints(0x7F)) - (codes & all_ints(0x80)))


# rows


@inlined
def widened_at(address, kind, bias):
    """A vector of what is stored at ``address``, in float32. ``bias``: of ``SMALL_FLOAT``."""
    if kind == FLOAT32:
        return floats_at(address)
    if kind == FLOAT16:
        return half_value(shorts_at(address))
    if kind == BFLOAT16:
        return value_of(shorts_at(address) << all_ints(16))
    if kind == HALF_SCALE:
        value = half_value(shorts_at(address))
        return either(below(magnitude(value), all_floats(np.inf)), value, all_floats(0.0))
    if kind == SMALL_FLOAT:
        return small_float_value(bytes_at(address), bias)
    return beta_value(bytes_at(address))


@inlined
def _put_narrowed(address, values, kind, saturate):
    if kind == FLOAT32:
        put_floats(address, values)
    elif kind == FLOAT16:
        if saturate:
            values = either(above(values, all_floats(65504.0)), all_floats(65504.0), values)
            values = either(below(values, all_floats(-65504.0)), all_floats(-65504.0), values)
        put_shorts(address, half_bits(values))
    else:
        put_shorts(address, _bfloat_bits(values))


@inlined
def clear(row, count):
    """Zeros in place of ``count`` float32, in whole vectors."""
    for c in range(0, count, LANES):
        put_floats(row + 4 * c, all_floats(0.0))


def _read_row(row, address, kind, bias, count, rest):
    """``row`` becomes the ``count`` numbers stored at ``address``. ``rest``: 64 bytes of scratch."""
    item = 4 if kind == FLOAT32 else 2 if kind <= HALF_SCALE else 1
    whole = count // LANES * LANES
    for c in range(0, whole, LANES):
        fetch_ahead(address + item * c)
        put_floats(row + 4 * c, widened_at(address + item * c, kind, bias))
    if whole < count:
        clear(rest, LANES)
        copy_bytes(address + item * whole, rest, item * (count - whole))
        put_floats(row + 4 * whole, widened_at(rest, kind, bias))


def _write_row(row, address, kind, saturate, count, rest):
    """The first ``count`` numbers of ``row`` rounded into their place; float16 may saturate."""
    item = 4 if kind == FLOAT32 else 2
    whole = count // LANES * LANES
    for c in range(0, whole, LANES):
        fetch_ahead(address + item * c)
        _put_narrowed(address + item * c, floats_at(row + 4 * c), kind, saturate)
    if whole < count:
        _put_narrowed(rest, floats_at(row + 4 * whole), kind, saturate)
        copy_bytes(rest, address + item * whole, item * (count - whole))


# of one piece of code each, however often they are called
called = njit(error_model="numpy", fastmath=False, forceinline=False)
read_row, write_row = called(_read_row), called(_write_row)


def called_with(numbers):
    """Decorates what takes so many whole numbers and gives nothing: one piece of code, constants among them or not."""
    return njit(types.void(*[types.int64] * numbers), error_model="numpy", fastmath=False, forceinline=False)


# sums


@inlined
def grid_shift(count):
    """max(2, ceil(log2(count))), of ``_sums.over_channels``."""
    shift = 2
    while (count - 1) >> shift > 0:
        shift += 1
    return shift


@inlined
def rounder_of(largest, shift):
    """What rounds magnitudes to the grid of their sum, as bits; ``largest``: their bits' maximum, a vector of them."""
    return (((largest >> all_ints(23)) + all_ints(shift)) << all_ints(23)) | all_ints(1 << 22)


@inlined
def sum_on_grid(row, first, last, rounder):
    """|row[first:last]| in whole steps of the grid of ``rounder``, an int32."""
    bits, steps = all_ints(rounder), all_ints(0)
    adding = value_of(bits)
    for c in range(first, last, LANES):
        steps = steps + (bits_of(magnitude(floats_at(row + 4 * c)) + adding) - bits)
    return sum_of(steps)


@inlined
def signed_sum_on_grid(row, first, last, rounder):
    """The same of row[first:last] itself. ``rounder``: the vector that ``rounder_of`` gives."""
    steps, adding = all_ints(0), value_of(rounder)
    for c in range(first, last, LANES):
        steps = steps + (bits_of(floats_at(row + 4 * c) + adding) - rounder)
    return sum_of(steps)


@inlined
def value_of_steps(steps, largest, shift):
    """``_sums.over_channels`` of rows of which these are the steps: NaN where one is NaN or Inf or the sum may pass float32."""
    exponent = (largest >> all_ints(23)) + all_ints(shift)
    # a step is the rounder's last place, 2^(exponent - 150); the sum has no more bits than a float32, so this is exact
    usual, tiny = (exponent - all_ints(23)) << all_ints(23), all_ints(1) << (exponent - all_ints(1))
    step = value_of(either_int(at_least(exponent, all_ints(24)), usual, tiny))
    return either(below(exponent, all_ints(255)), as_floats(steps) * step, all_floats(np.nan))


@inlined
def largest_bits(row, first, last):
    largest = all_ints(0)
    for c in range(first, last, LANES):
        bits = bits_of(magnitude(floats_at(row + 4 * c)))
        largest = either_int(above(bits, largest), bits, largest)
    return largest
