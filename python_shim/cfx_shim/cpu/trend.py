"""The trend beside a native base, a byte an element, in and out of rows of float32: ``state.NativeStateWithTrend``.

``room`` is 64 bytes of scratch.
"""

import numpy as np

from . import shared
from .arithmetic import clear, inlined, magnitude, rounded_up, whole_bits
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
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
    whole_at,
)

_GROUP, _LARGEST_CODE = 2 * LANES, 127.0
# (float32's bias - a scale's) · 8: a scale's byte is 20 bits of mantissa short of a float32
_BIAS, _SHIFT = 107 * 8, 20


@inlined
def groups_of(channels):
    return (channels + (_GROUP - 1)) // _GROUP


@inlined
def first_group(channel, split):
    """Which scale is that of ``channel``, the first one of its group; groups begin with channels 0 and ``split``."""
    return channel // _GROUP if channel < split else groups_of(split) + (channel - split) // _GROUP


@inlined
def read_groups(row, codes, scales, count, room):
    """``row`` becomes ``count`` numbers of which the first begins a group."""
    whole = count // _GROUP * _GROUP
    for c in range(0, whole, _GROUP):
        scale = _scale_at(scales + c // _GROUP)
        put_floats(row + 4 * c, as_floats(signed_bytes_at(codes + c)) * scale)
        put_floats(row + 4 * (c + LANES), as_floats(signed_bytes_at(codes + c + LANES)) * scale)
    if whole < count:
        clear(room, LANES // 2)
        copy_bytes(codes + whole, room, count - whole)
        scale = _scale_at(scales + whole // _GROUP)
        for c in range(0, count - whole, LANES):
            put_floats(row + 4 * (whole + c), as_floats(signed_bytes_at(room + c)) * scale)


@inlined
def write_groups(row, codes, scales, count, room):
    """The other way; zeros are behind the last number of ``row``, up to whole vectors."""
    whole = count // _GROUP * _GROUP
    for c in range(0, whole, _GROUP):
        one, other = floats_at(row + 4 * c), floats_at(row + 4 * (c + LANES))
        scale = _scale_of(_larger(_size(one), _size(other)))
        put_byte(scales + c // _GROUP, np.int32(scale))
        inverse = _inverse(scale)
        put_bytes(codes + c, _coded(one * inverse, scale))
        put_bytes(codes + c + LANES, _coded(other * inverse, scale))
    if whole < count:
        largest = all_ints(0)
        for c in range(whole, count, LANES):
            largest = _larger(largest, _size(floats_at(row + 4 * c)))
        scale = _scale_of(largest)
        put_byte(scales + whole // _GROUP, np.int32(scale))
        for c in range(whole, count, LANES):
            put_bytes(room, _coded(floats_at(row + 4 * c) * _inverse(scale), scale))
            copy_bytes(room, codes + c, min(LANES, count - c))


@inlined
def read_trend(row, trend, token, common, room):
    """A token's trend into its parts of ``row``. ``trend``: where the block's begins."""
    codes, scales, split, rest = _token_at(trend, token, common)
    read_groups(row, codes, scales, split, room)
    if rest > 0:
        read_groups(row + 4 * rounded_up(split), codes + split, scales + groups_of(split), rest, room)


@inlined
def write_trend(row, trend, token, common, room):
    codes, scales, split, rest = _token_at(trend, token, common)
    write_groups(row, codes, scales, split, room)
    if rest > 0:
        write_groups(row + 4 * rounded_up(split), codes + split, scales + groups_of(split), rest, room)


@inlined
def read_whole_trend(row, trend, token, common, room):
    """As ``read_trend``, the second part side by side with the first."""
    codes, scales, split, rest = _token_at(trend, token, common)
    read_groups(row, codes, scales, split, room)
    if rest > 0:
        read_groups(row + 4 * split, codes + split, scales + groups_of(split), rest, room)


@inlined
def write_whole_trend(row, trend, token, common, room):
    """The other way. A vector behind ``row`` may be written to, which does not stay what it is."""
    codes, scales, split, rest = _token_at(trend, token, common)
    clear(row + 4 * (split + rest), LANES)
    if rest > 0:
        write_groups(row + 4 * split, codes + split, scales + groups_of(split), rest, room)
        # zeros behind the first part
        clear(row + 4 * split, LANES)
    write_groups(row, codes, scales, split, room)


@inlined
def _token_at(trend, token, common):
    """Where a token's codes and scales are, and how many channels are before and after where groups begin anew."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    split = whole_at(common + shared.SPLIT)
    scales = trend + tokens * channels + token * (groups_of(split) + groups_of(channels - split))
    return trend + token * channels, scales, split, channels - split


@inlined
def _scale_at(address):
    return all_floats(one_of_bits((byte_at(address) + _BIAS) << _SHIFT))


@inlined
def _size(values):
    return bits_of(magnitude(values))


@inlined
def _larger(one, other):
    return either_int(above(one, other), one, other)


@inlined
def _scale_of(sizes):
    """The byte of a group with these magnitudes, as bits."""
    need = bits_of_one(one_of_bits(largest_of(sizes)) * np.float32(1 / _LARGEST_CODE))
    scale = (need >> _SHIFT) + (need & ((1 << _SHIFT) - 1) != 0) - _BIAS
    return min(max(scale, 0), 255)


@inlined
def _inverse(scale):
    return all_floats(np.float32(1.0) / one_of_bits((scale + _BIAS) << _SHIFT))


@inlined
def _coded(steps, scale):
    """The codes in the lowest bits. What is too large for its code, or no number, has the largest scale."""
    if scale == 255:
        steps = either(equal(steps, steps), steps, all_floats(0.0))
        steps = either(above(steps, all_floats(-_LARGEST_CODE)), steps, all_floats(-_LARGEST_CODE))
        steps = either(below(steps, all_floats(_LARGEST_CODE)), steps, all_floats(_LARGEST_CODE))
    return whole_bits(steps)
