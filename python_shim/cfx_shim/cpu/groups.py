"""Groups of 32 numbers that share a scale, in and out of rows of float32, a byte a number: what ``state`` quantises.

``room`` is 64 bytes of scratch.
"""

import numpy as np

from .arithmetic import clear, inlined, magnitude, whole_bits
from .vectors import (
    LANES,
    above,
    all_floats,
    as_floats,
    below,
    bits_of,
    bits_of_one,
    byte_at,
    copy_bytes,
    either,
    either_int,
    equal,
    floats_at,
    largest_of,
    one_of_bits,
    put_byte,
    put_bytes,
    put_floats,
    signed_bytes_at,
)

GROUP = 2 * LANES
_LARGEST_CODE = 127.0
# (float32's bias - a scale's) · 8: a scale's byte is 20 bits of mantissa short of a float32
_BIAS, _SHIFT = 107 * 8, 20


@inlined
def groups_of(channels):
    return (channels + (GROUP - 1)) // GROUP


@inlined
def read_groups(row, codes, scales, count, room):
    """``row`` becomes ``count`` numbers of which the first begins a group."""
    whole = count // GROUP * GROUP
    for c in range(0, whole, GROUP):
        scale = scale_value(byte_at(scales + c // GROUP))
        put_floats(row + 4 * c, as_floats(signed_bytes_at(codes + c)) * scale)
        put_floats(row + 4 * (c + LANES), as_floats(signed_bytes_at(codes + c + LANES)) * scale)
    if whole < count:
        clear(room, LANES // 2)
        copy_bytes(codes + whole, room, count - whole)
        scale = scale_value(byte_at(scales + whole // GROUP))
        for c in range(0, count - whole, LANES):
            put_floats(row + 4 * (whole + c), as_floats(signed_bytes_at(room + c)) * scale)


@inlined
def write_groups(row, codes, scales, count, room):
    """The other way; zeros are behind the last number of ``row``, up to whole vectors."""
    whole = count // GROUP * GROUP
    for c in range(0, whole, GROUP):
        one, other = floats_at(row + 4 * c), floats_at(row + 4 * (c + LANES))
        scale = scale_of(row + 4 * c, GROUP, _LARGEST_CODE)
        put_byte(scales + c // GROUP, np.int32(scale))
        inverse = inverse_of(scale)
        put_bytes(codes + c, coded(one * inverse, scale, _LARGEST_CODE))
        put_bytes(codes + c + LANES, coded(other * inverse, scale, _LARGEST_CODE))
    if whole < count:
        scale = scale_of(row + 4 * whole, count - whole, _LARGEST_CODE)
        put_byte(scales + whole // GROUP, np.int32(scale))
        for c in range(whole, count, LANES):
            put_bytes(room, coded(floats_at(row + 4 * c) * inverse_of(scale), scale, _LARGEST_CODE))
            copy_bytes(room, codes + c, min(LANES, count - c))


@inlined
def scale_value(scale):
    """A vector of nothing but what a scale's byte stands for."""
    return all_floats(one_of_bits((scale + _BIAS) << _SHIFT))


@inlined
def scale_of(row, count, most):
    """The byte, as bits, of the group that begins at ``row``, or of the ``count`` numbers that there are of it, whose codes are at
    most ``most``."""
    sizes = bits_of(magnitude(floats_at(row)))
    if count > LANES:
        others = bits_of(magnitude(floats_at(row + 4 * LANES)))
        sizes = either_int(above(sizes, others), sizes, others)
    need = bits_of_one(one_of_bits(largest_of(sizes)) * np.float32(1 / most))
    scale = (need >> _SHIFT) + (need & ((1 << _SHIFT) - 1) != 0) - _BIAS
    return min(max(scale, 0), 255)


@inlined
def inverse_of(scale):
    return all_floats(np.float32(1.0) / one_of_bits((scale + _BIAS) << _SHIFT))


@inlined
def coded(steps, scale, most):
    """The codes in the lowest bits. What is too large for its code, or no number, has the largest scale."""
    if scale == 255:
        steps = either(equal(steps, steps), steps, all_floats(0.0))
        steps = either(above(steps, all_floats(-most)), steps, all_floats(-most))
        steps = either(below(steps, all_floats(most)), steps, all_floats(most))
    return whole_bits(steps)
