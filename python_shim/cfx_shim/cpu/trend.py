"""The trend beside a native base, a byte an element, in and out of rows of float32: ``state.NativeStateWithTrend``."""

from . import shared
from .arithmetic import as_floats_of_bytes, called, clear, inlined, magnitude, rounded_up
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    below,
    bits_of,
    byte_at,
    bytes_at,
    copy_bytes,
    either,
    either_int,
    equal,
    floats_at,
    largest_of,
    put_byte,
    put_bytes,
    put_floats,
    value_of,
    whole_at,
)

_GROUP, _LARGEST_CODE = 32, 127.0
# (float32's bias - a scale's) · 8: a scale's byte is 20 bits of mantissa short of a float32
_BIAS, _SHIFT = 107 * 8, 20
# 1.5 · 2^23: adding it rounds to the nearest even, whose two's complement is then in the lowest bits
_ROUNDER = 12582912.0


@inlined
def groups_of(channels, middle):
    """Scales of a token."""
    return (middle + (_GROUP - 1)) // _GROUP + (channels - middle + (_GROUP - 1)) // _GROUP


@inlined
def first_group(channel, middle):
    """Which scale is that of ``channel``, the first one of its group."""
    if channel < middle:
        return channel // _GROUP
    return (middle + (_GROUP - 1)) // _GROUP + (channel - middle) // _GROUP


@called
def read_groups(row, codes, scales, count, rest):
    """``row`` becomes ``count`` numbers of which the first begins a group. ``rest``: 64 bytes of scratch."""
    for c in range(0, count, LANES):
        scale = _value(all_ints(byte_at(scales + c // _GROUP)))
        here = codes + c
        if count - c < LANES:
            clear(rest, LANES)
            copy_bytes(here, rest, count - c)
            here = rest
        put_floats(row + 4 * c, as_floats_of_bytes(bytes_at(here)) * scale)


@called
def write_groups(row, codes, scales, count, rest):
    """The other way; zeros are behind the last number of ``row``, up to whole vectors."""
    for start in range(0, count, _GROUP):
        end = min(start + _GROUP, count)
        largest = all_ints(0)
        for c in range(start, end, LANES):
            bits = bits_of(magnitude(floats_at(row + 4 * c)))
            largest = either_int(above(bits, largest), bits, largest)
        need = bits_of(value_of(all_ints(largest_of(largest))) * all_floats(1 / _LARGEST_CODE))
        more = either_int(above(need & all_ints((1 << _SHIFT) - 1), all_ints(0)), all_ints(1), all_ints(0))
        scale = (need >> all_ints(_SHIFT)) + more - all_ints(_BIAS)
        scale = either_int(above(scale, all_ints(0)), scale, all_ints(0))
        scale = either_int(below(scale, all_ints(255)), scale, all_ints(255))
        put_byte(scales + start // _GROUP, largest_of(scale))
        inverse = all_floats(1.0) / _value(scale)
        for c in range(start, end, LANES):
            code = floats_at(row + 4 * c) * inverse
            code = either(equal(code, code), code, all_floats(0.0))
            code = either(above(code, all_floats(-_LARGEST_CODE)), code, all_floats(-_LARGEST_CODE))
            code = either(below(code, all_floats(_LARGEST_CODE)), code, all_floats(_LARGEST_CODE))
            rounded = bits_of(code + all_floats(_ROUNDER))
            if end - c < LANES:
                put_bytes(rest, rounded)
                copy_bytes(rest, codes + c, end - c)
            else:
                put_bytes(codes + c, rounded)


@inlined
def read_trend(row, trend, token, common, rest):
    """A token's trend into its parts of ``row``. ``trend``: where the block's begins."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    middle = whole_at(common + shared.MIDDLE)
    codes = trend + token * channels
    scales = trend + tokens * channels + token * groups_of(channels, middle)
    read_groups(row, codes, scales, middle, rest)
    if middle < channels:
        behind = scales + first_group(middle, middle)
        read_groups(row + 4 * rounded_up(middle), codes + middle, behind, channels - middle, rest)


@inlined
def write_trend(row, trend, token, common, rest):
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    middle = whole_at(common + shared.MIDDLE)
    codes = trend + token * channels
    scales = trend + tokens * channels + token * groups_of(channels, middle)
    write_groups(row, codes, scales, middle, rest)
    if middle < channels:
        behind = scales + first_group(middle, middle)
        write_groups(row + 4 * rounded_up(middle), codes + middle, behind, channels - middle, rest)


@inlined
def _value(scale):
    return value_of((scale + all_ints(_BIAS)) << all_ints(_SHIFT))
