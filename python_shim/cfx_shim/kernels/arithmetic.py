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
def beta_code(mixed, trends):
    """``predictor.fit``'s byte, as int32 in -128..127."""
    beta = tl.where(trends > 0, tl.div_rn(mixed, trends), 0.0) * 64.0
    beta = tl.minimum(tl.maximum(tl.where(beta == beta, beta, 0.0), -128.0), 127.0)
    return ((beta + _ROUNDER) - _ROUNDER).to(tl.int32)


@triton.jit
def beta_value(code):
    """float32 of a signed code."""
    return code.to(tl.float32) * 0.015625
