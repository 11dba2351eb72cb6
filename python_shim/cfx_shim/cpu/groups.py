"""Groups of 32 numbers that share a scale, in and out of rows of float32, a byte a number: what ``state`` quantises.

``room`` is 64 bytes of scratch.
"""

import numpy as np

from .arithmetic import clear, fetch_ahead, inlined, magnitude, whole_bits
from .lanes import largest_of_pairs
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    as_floats,
    below,
    bits_of,
    bits_of_mask,
    bits_of_one,
    byte_at,
    copy_bytes,
    either,
    either_int,
    equal,
    float_at,
    floats_at,
    larger,
    largest_of,
    one_of_bits,
    put_byte,
    put_bytes,
    put_floats,
    signed_bytes_at,
    table_of,
    value_of,
)

GROUP = 2 * LANES
_LARGEST_CODE = 127.0
# (float32's bias - a scale's) · 8: a scale's byte is 20 bits of mantissa short of a float32
_BIAS, _SHIFT = 107 * 8, 20


@inlined
def groups_of(channels):
    return (channels + (GROUP - 1)) // GROUP


@inlined
def group_at(codes, scale_at):
    """The numbers of a whole group, in two vectors."""
    scale = scale_value(byte_at(scale_at))
    return as_floats(signed_bytes_at(codes)) * scale, as_floats(signed_bytes_at(codes + LANES)) * scale


@inlined
def put_group(one, other, codes, scale_at):
    """The other way."""
    scale = _scale_of_sizes(larger(bits_of(magnitude(one)), bits_of(magnitude(other))), _LARGEST_CODE)
    put_byte(scale_at, np.int32(scale))
    inverse = inverse_of(scale)
    put_bytes(codes, coded(one * inverse, scale, _LARGEST_CODE))
    put_bytes(codes + LANES, coded(other * inverse, scale, _LARGEST_CODE))


@inlined
def _put_scales(row, scales):
    """Of sixteen groups: what is one number a group is in one vector. Returns 255 if one of them is, else less."""
    need = bits_of(value_of(largest_of_pairs(row)) * all_floats(np.float32(1 / _LARGEST_CODE)))
    above_it = either_int(above(need & all_ints((1 << _SHIFT) - 1), all_ints(0)), all_ints(1), all_ints(0))
    found = (need >> all_ints(_SHIFT)) + above_it - all_ints(_BIAS)
    found = either_int(above(found, all_ints(0)), found, all_ints(0))
    found = either_int(below(found, all_ints(255)), found, all_ints(255))
    put_bytes(scales, found)
    return 255 if bits_of_mask(equal(found, all_ints(255))) else 0


@inlined
def _put_codes(row, codes, scales, most):
    """Of the same groups, by their scales, of which the largest is ``most`` or less."""
    for group in range(LANES):
        at, inverse = row + 4 * GROUP * group, inverse_of(byte_at(scales + group))
        put_bytes(codes + GROUP * group, coded(floats_at(at) * inverse, most, _LARGEST_CODE))
        put_bytes(codes + GROUP * group + LANES, coded(floats_at(at + 4 * LANES) * inverse, most, _LARGEST_CODE))


@inlined
def read_groups(row, codes, scales, count, room):
    """``row`` becomes ``count`` numbers of which the first begins a group."""
    whole = count // GROUP * GROUP
    for c in range(0, whole, GROUP):
        fetch_ahead(codes + c)
        one, other = group_at(codes + c, scales + c // GROUP)
        put_floats(row + 4 * c, one)
        put_floats(row + 4 * (c + LANES), other)
    if whole < count:
        clear(room, LANES // 2)
        copy_bytes(codes + whole, room, count - whole)
        scale = scale_value(byte_at(scales + whole // GROUP))
        for c in range(0, count - whole, LANES):
            put_floats(row + 4 * (whole + c), as_floats(signed_bytes_at(room + c)) * scale)


@inlined
def write_groups(row, codes, scales, count, room):
    """The other way; zeros are behind the last number of ``row``, up to whole vectors."""
    whole, at_once = count // GROUP * GROUP, LANES * GROUP
    many, most = count // at_once * at_once, 0
    if many:
        most = _put_scales(row, scales)
    for c in range(0, many, at_once):
        # scales take long to be found: those of the groups behind these are looked for meanwhile
        most_now, behind = most, c + at_once
        if behind < many:
            most = _put_scales(row + 4 * behind, scales + behind // GROUP)
        _put_codes(row + 4 * c, codes + c, scales + c // GROUP, most_now)
    for c in range(many, whole, GROUP):
        put_group(floats_at(row + 4 * c), floats_at(row + 4 * (c + LANES)), codes + c, scales + c // GROUP)
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
        sizes = larger(sizes, bits_of(magnitude(floats_at(row + 4 * LANES))))
    return _scale_of_sizes(sizes, most)


@inlined
def _scale_of_sizes(sizes, most):
    need = bits_of_one(one_of_bits(largest_of(sizes)) * np.float32(1 / most))
    scale = (need >> _SHIFT) + (need & ((1 << _SHIFT) - 1) != 0) - _BIAS
    return min(max(scale, 0), 255)


# by a scale's byte: a division would take longer than all that waits for it
inverse_of = table_of(np.float32(1.0) / (((np.arange(256, dtype=np.int32) + _BIAS) << _SHIFT).view(np.float32)))


@inlined
def coded(steps, scale, most):
    """The codes in the lowest bits. What is too large for its code, or no number, has the largest scale."""
    if scale == 255:
        steps = either(equal(steps, steps), steps, all_floats(0.0))
        steps = either(above(steps, all_floats(-most)), steps, all_floats(-most))
        steps = either(below(steps, all_floats(most)), steps, all_floats(most))
    return whole_bits(steps)
