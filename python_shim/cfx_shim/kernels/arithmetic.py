"""Single operations that a kernel and the eager codecs must agree on to the last bit: the counterparts of ``codecs._sums``,
``codecs._scales`` and ``codecs._log_scales``. Each is a few exact or once-rounded float32 operations, no fused ones.

``SOFT``: convert bfloat16 by its bits, because Triton's interpreter truncates where hardware rounds to the nearest even.
"""

import triton
import triton.language as tl

_HALF_MAX = tl.constexpr(65504.0)
# adding and taking it away rounds a float32 below 2^22 to the nearest even integer
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def widened(x, SOFT: tl.constexpr):
    """``x`` in float32."""
    if SOFT and x.dtype == tl.bfloat16:
        return (x.to(tl.int16, bitcast=True).to(tl.int32) << 16).to(tl.float32, bitcast=True)
    return x.to(tl.float32)


@triton.jit
def narrowed(x, dtype: tl.constexpr, SOFT: tl.constexpr):
    """float32 ``x`` rounded once to ``dtype``."""
    if SOFT and dtype == tl.bfloat16:
        bits = x.to(tl.int32, bitcast=True)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return tl.where(x == x, rounded, 0x7FC0).to(tl.int16).to(tl.bfloat16, bitcast=True)
    return x.to(dtype)


@triton.jit
def sum_over_channels(magnitude, shift):
    """``_sums.over_channels``: ``magnitude`` [R, W] >= 0, zero in the padding, ``shift`` [R] = max(2, ceil(log2 C)) -> [R]."""
    return _sum_on_grid(magnitude, magnitude, shift)


@triton.jit
def sum_over_channels_signed(x, shift):
    """``_sums.over_channels_signed``, likewise."""
    return _sum_on_grid(x, tl.abs(x), shift)


@triton.jit
def _sum_on_grid(x, magnitude, shift):
    # of magnitudes, the bits rise with the value, NaN above all
    largest = tl.max(magnitude.to(tl.int32, bitcast=True), axis=1)
    exponent = tl.minimum((largest >> 23) + shift, 255)
    rounder = ((exponent << 23) | (1 << 22)).to(tl.float32, bitcast=True)[:, None]
    return tl.sum((x + rounder) - rounder, axis=1)


@triton.jit
def fold_lanes(lanes, CHANNELS: tl.constexpr):
    """The last stage of ``_sums.over_tokens``: ``lanes`` [64, CHANNELS] -> [CHANNELS], in halves."""
    for level in tl.static_range(6):
        low, high = tl.split(tl.permute(tl.reshape(lanes, [2, 32 >> level, CHANNELS]), (1, 2, 0)))
        lanes = low + high
    return tl.reshape(lanes, [CHANNELS])


@triton.jit
def small_float(scale, bias: tl.constexpr):
    """``_log_scales``' code of ``scale`` float32 >= 0, as int32 in 0..255: 20 bits fewer, to the nearest even."""
    bits = tl.where(scale == scale, scale, 0.0).to(tl.int32, bitcast=True)
    rounded = (bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20
    return tl.minimum(tl.maximum(rounded - (127 - bias) * 8, 0), 255)


@triton.jit
def small_float_value(code, bias: tl.constexpr):
    """float32 of a code in int32."""
    value = ((code + (127 - bias) * 8) << 20).to(tl.float32, bitcast=True)
    return tl.where(code > 0, value, 0.0)


@triton.jit
def half_scale(scale):
    """What ``_scales`` stores of ``scale`` float32 >= 0: NaN as 0, at most float16's largest value."""
    return tl.minimum(tl.where(scale == scale, scale, 0.0), _HALF_MAX).to(tl.float16)


@triton.jit
def half_scale_value(stored):
    """float32 of a float16 scale; NaN and Inf, which no encoder writes, are 0."""
    value = stored.to(tl.float32)
    return tl.where(tl.abs(value) < float("inf"), value, 0.0)


@triton.jit
def beta_code(mixed, trends):
    """``predictor.fit``'s byte, as int32 in -128..127."""
    beta = tl.where(trends > 0, tl.div_rn(mixed, trends), 0.0) * 64.0
    beta = tl.minimum(tl.maximum(tl.where(beta == beta, beta, 0.0), -128.0), 127.0)
    return ((beta + _ROUNDER) - _ROUNDER).to(tl.int32)


@triton.jit
def beta_value(code):
    """float32 of a signed code."""
    return code.to(tl.float32) * 0.015625


@triton.jit
def token_scale(x, most: tl.constexpr):
    """bfloat16's bits, int32, of ``codecs._token_scales``: ``x`` float32 >= 0, finite, over ``most``."""
    bits = tl.div_rn(x, tl.full(x.shape, most, tl.float32)).to(tl.int32, bitcast=True)
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


@triton.jit
def token_scale_value(bits, bound: tl.constexpr):
    """float32 of a scale's bits in int32, whatever they are."""
    value = (bits << 16).to(tl.float32, bitcast=True)
    return tl.where(tl.abs(value) < float("inf"), tl.minimum(tl.maximum(value, -bound), bound), 0.0)


@triton.jit
def over_scale(x, scale, SHORT: tl.constexpr):
    """``x`` [R, W] float32 over ``scale`` [R, 1], a bfloat16; 0 where that is 0. Rounded in a way that no code depends on.

    ``SHORT``: ``x`` has at most 11 bits, as of 16-bit numbers. Over a scale of 8 bits it either is the middle between two
    codes, which has up to 8, or 2^-16 of that away from it. So 18 bits tell, and those a product has too.
    """
    if SHORT:
        # a reciprocal must not overflow
        lift = tl.where(scale < 2.0**-100, 2.0**64, 1.0)
        bits = (x * lift * tl.div_rn(tl.full(scale.shape, 1.0, tl.float32), scale * lift)).to(tl.int32, bitcast=True)
        relative = ((bits + 32) & -64).to(tl.float32, bitcast=True)
    else:
        relative = tl.div_rn(x, tl.broadcast_to(scale, x.shape))
    return tl.where(scale > 0, relative, 0.0)


@triton.jit
def whole_byte(x, most: tl.constexpr):
    """``x`` float32 rounded to the nearest even whole number up to ``most``, as int32 whose lowest byte is its code."""
    return (tl.minimum(tl.maximum(x, -most), most) + _ROUNDER).to(tl.int32, bitcast=True)


@triton.jit
def whole_byte_value(code):
    """float32 of a code in int32, 0..255."""
    return ((code ^ 0x80) - 0x80).to(tl.float32)


@triton.jit
def float_byte(x, most: tl.constexpr):
    """``x`` float32, no NaN, rounded to the nearest even e4m3 up to ``most``, as int32 in 0..255. By its bits, for not every
    GPU converts it.
    """
    size = tl.minimum(tl.abs(x), most)
    bits = size.to(tl.int32, bitcast=True)
    normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - (127 - 7) * 8
    # below 2^-6 e4m3 counts in steps of 2^-9, which are the last place of float32 numbers around 2^14
    small = (size + 16384.0).to(tl.int32, bitcast=True) & 15
    return tl.where(size < 0.015625, small, normal) | ((x.to(tl.int32, bitcast=True) >> 24) & 0x80)


@triton.jit
def negated(x):
    """-x, of 0 too, which older Tritons' minus takes from 0."""
    return x * -1.0


@triton.jit
def float_byte_value(code):
    """float32 of an e4m3 in int32, 0..255; what is no number is 0."""
    size = code & 0x7F
    normal = ((size << 20) + (120 << 23)).to(tl.float32, bitcast=True)
    value = tl.where(size < 8, size.to(tl.float32) * 0.001953125, normal)
    return tl.where(size == 0x7F, 0.0, tl.where(code >= 0x80, negated(value), value))
