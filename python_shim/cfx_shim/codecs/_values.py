"""Plain numbers in a payload: float16 in its bytes, and input made finite."""

import functools
import math

import torch

_HALF_MAX = 65504.0


def finite(x):
    """``x`` with 0 for NaN and Inf, in one piece; and a 0-d bool tensor: one of them was seen."""
    return x.nan_to_num(0.0, 0.0, 0.0).contiguous(), ~(x.abs().amax() < torch.inf)


def to_half(x):
    """Little-endian float16 as bytes [.., 2·n] uint8; finite values beyond its range become its largest."""
    return x.clamp(-_HALF_MAX, _HALF_MAX).to(torch.float16).contiguous().view(torch.uint8)


def from_half(raw, *shape):
    """float32 of ``shape`` from the bytes ``raw`` [B, 2·n] uint8; NaN and Inf, which no encoder writes, become 0."""
    # a copy, because a view as float16 needs even strides
    values = raw.clone(memory_format=torch.contiguous_format).view(torch.float16).float()
    return values.nan_to_num_(0.0, 0.0, 0.0).view(shape)


def to_bfloat16(x):
    """Little-endian bfloat16 as bytes [.., 2·n] uint8: float32's range in half its bytes."""
    return x.to(torch.bfloat16).contiguous().view(torch.uint8)


def from_bfloat16(raw, most: float, *shape):
    """float32 of ``shape`` from the bytes ``raw`` [B, 2·n] uint8; ``most`` times it is finite whatever the bytes."""
    values = raw.clone(memory_format=torch.contiguous_format).view(torch.bfloat16).float()
    bound = largest_bfloat16(most)
    return values.nan_to_num_(0.0, 0.0, 0.0).clamp_(-bound, bound).view(shape)


@functools.cache
def largest_bfloat16(most: float) -> float:
    """The largest that ``most`` times is a finite float32."""
    fraction, exponent = math.frexp(torch.finfo(torch.float32).max / most)
    return math.ldexp(math.floor(fraction * 256), exponent - 8)
