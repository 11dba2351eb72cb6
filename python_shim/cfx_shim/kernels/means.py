"""Channels' means in a payload, float16 as ``codecs._centred`` keeps them behind the bit planes.

``MEANS`` says where they begin: 1 at any byte, 2 at an even one, which a float16 can be read from at once; 0: there are
none.
"""

import triton
import triton.language as tl

_HALF_MAX = tl.constexpr(65504.0)


@triton.jit
def put_means(means, channel, known, value, MEANS: tl.constexpr):
    """Store ``value`` float32 [C] at the bytes ``means``."""
    value = tl.where(value == value, tl.minimum(tl.maximum(value, -_HALF_MAX), _HALF_MAX), 0.0)
    bits = value.to(tl.float16).to(tl.int16, bitcast=True)
    if MEANS == 2:
        tl.store(means.to(tl.pointer_type(tl.int16)) + channel, bits, mask=known)
    else:
        tl.store(means + 2 * channel, bits.to(tl.uint8), mask=known)
        tl.store(means + 2 * channel + 1, (bits >> 8).to(tl.uint8), mask=known)


@triton.jit
def means_at(means, channel, known, MEANS: tl.constexpr):
    """float32 of the stored means of ``channel``, 0 for NaN and Inf and where they are not ``known``."""
    if MEANS == 2:
        bits = tl.load(means.to(tl.pointer_type(tl.int16)) + channel, mask=known, other=0)
    else:
        low = tl.load(means + 2 * channel, mask=known, other=0).to(tl.int16)
        bits = low | (tl.load(means + 2 * channel + 1, mask=known, other=0).to(tl.int16) << 8)
    value = bits.to(tl.float16, bitcast=True).to(tl.float32)
    return tl.where(tl.abs(value) < float("inf"), value, 0.0)
