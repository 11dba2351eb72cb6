"""State in 8 bits: the counterpart of ``state.EightBitState``, in registers.

A program's tile holds whole groups of 32 channels, so their scales are maxima over four threads. Where they are not
whole in a row, each eight channels of a group have its scale for themselves, and largest values are gathered.
"""

import triton
import triton.language as tl

_GROUP = tl.constexpr(32)
_BASE_CODE = tl.constexpr(127.0)
_PAIR_BASE_CODE = tl.constexpr(511.0)
_PAIR_TREND_CODE = tl.constexpr(31.0)
# adding and taking it away rounds a float32 below 2^22 to the nearest even integer
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def per_element(scales, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """``scales`` [ROWS, G] for each element of a tile [ROWS, WIDTH], each for as many side by side."""
    groups: tl.constexpr = scales.shape[1]
    each: tl.constexpr = WIDTH // groups
    return tl.reshape(tl.broadcast_to(scales[:, :, None], [ROWS, groups, each]), [ROWS, WIDTH])


@triton.jit
def scale_value(code):
    """float32 of a scale's byte in int32: (107 = 127 - the bias of 20) · 8 higher, 20 bits of mantissa more."""
    return ((code + 856) << 20).to(tl.float32, bitcast=True)


@triton.jit
def read(codes, scales, inside, kept, ORDER: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """(base, trend) [ROWS, WIDTH] float32 from pointers to codes [ROWS, WIDTH] and to scales, of whole groups
    [ROWS, WIDTH // 32] or of as many parts of some."""
    code, scale = tl.load(codes, mask=inside, other=0), tl.load(scales, mask=kept, other=0)
    return values(code, scale, ORDER, ROWS, WIDTH)


@triton.jit
def values(code, scale, ORDER: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """``read``, of what was loaded."""
    code, scale = code.to(tl.int32), scale.to(tl.int32)
    base_scale = per_element(scale_value(scale & 0xFF), ROWS, WIDTH)
    if ORDER == 2:
        trend = (((code & 63) ^ 32) - 32).to(tl.float32) * per_element(scale_value((scale >> 8) & 0xFF), ROWS, WIDTH)
        return (code >> 6).to(tl.float32) * base_scale, trend
    base = code.to(tl.float32) * base_scale
    return base, base


@triton.jit
def quantised(values, largest, most: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Codes [ROWS, WIDTH] up to ``most`` and scale bytes, int32, which are as many as what is ``largest`` of their channels."""
    bits = (largest.to(tl.float32, bitcast=True) * (1.0 / most)).to(tl.int32, bitcast=True)
    # rounded up, so that no code passes the largest
    scale = tl.minimum(tl.maximum((bits >> 20) + ((bits & 0xFFFFF) != 0).to(tl.int32) - 856, 0), 255)
    code = values * per_element(tl.div_rn(tl.full(scale.shape, 1.0, tl.float32), scale_value(scale)), ROWS, WIDTH)
    code = tl.minimum(tl.maximum(tl.where(code == code, code, 0.0), -most), most)
    return ((code + _ROUNDER) - _ROUNDER).to(tl.int32), scale


@triton.jit
def largest_of(
    values, ROWS: tl.constexpr, WIDTH: tl.constexpr, GROUP: tl.constexpr, GROUPS: tl.constexpr, SPLIT: tl.constexpr
):  # fmt: skip
    """Bits, int32, of the largest magnitude of a group, for each of them or for each 8 channels; see ``states.read_state``."""
    magnitude = tl.abs(values).to(tl.int32, bitcast=True)
    if SPLIT == 0:
        largest = tl.max(tl.reshape(magnitude, [ROWS, WIDTH // _GROUP, _GROUP]), axis=2)
    else:
        of_eight = tl.max(tl.reshape(magnitude, [ROWS, WIDTH // 8, 8]), axis=2)
        largest = _gathered(of_eight, ROWS, WIDTH // 8, GROUP // 8, GROUPS, (SPLIT + 7) // 8)
    return largest


@triton.jit
def _gathered(
    of_eight, ROWS: tl.constexpr, WIDTH: tl.constexpr, GROUP: tl.constexpr, GROUPS: tl.constexpr, SPLIT: tl.constexpr
):  # fmt: skip
    """For each of ``of_eight`` [ROWS, WIDTH] the largest of its group; all in eights of channels, four a group."""
    # a row for each token, of its parts side by side
    of_eight = tl.reshape(of_eight, [ROWS // GROUPS, GROUPS * WIDTH])
    place = tl.arange(0, GROUPS * WIDTH)
    eight = place // WIDTH * GROUP + place % WIDTH
    begin = tl.where(eight < SPLIT, eight // 4 * 4, SPLIT + (eight - SPLIT) // 4 * 4)
    last = tl.where(eight < SPLIT, tl.minimum(begin + 3, SPLIT - 1), begin + 3)
    largest = of_eight
    for index in tl.static_range(4):
        other = tl.minimum(begin + index, last)
        if GROUPS == 2:
            other = tl.where(other < GROUP, other, other - GROUP + WIDTH)
        other = tl.broadcast_to(tl.minimum(other, GROUPS * WIDTH - 1)[None, :], [ROWS // GROUPS, GROUPS * WIDTH])
        largest = tl.maximum(largest, tl.gather(of_eight, other, axis=1))
    return tl.reshape(largest, [ROWS, WIDTH])


@triton.jit
def write(
    codes,
    scales,
    base,
    trend,
    inside,
    kept,
    ORDER: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr = 0,
    GROUPS: tl.constexpr = 1,
    SPLIT: tl.constexpr = 0,
):
    """The reverse of ``read``; see ``states.read_state``."""
    largest = largest_of(base, ROWS, WIDTH, GROUP, GROUPS, SPLIT)
    if ORDER == 2:
        base_code, base_scale = quantised(base, largest, _PAIR_BASE_CODE, ROWS, WIDTH)
        largest = largest_of(trend, ROWS, WIDTH, GROUP, GROUPS, SPLIT)
        trend_code, trend_scale = quantised(trend, largest, _PAIR_TREND_CODE, ROWS, WIDTH)
        tl.store(codes, ((base_code << 6) | (trend_code & 63)).to(tl.int16), mask=inside)
        tl.store(scales, (base_scale | (trend_scale << 8)).to(tl.int16), mask=kept)
    else:
        base_code, base_scale = quantised(base, largest, _BASE_CODE, ROWS, WIDTH)
        tl.store(codes, base_code.to(tl.int8), mask=inside)
        tl.store(scales, base_scale.to(tl.int8), mask=kept)
