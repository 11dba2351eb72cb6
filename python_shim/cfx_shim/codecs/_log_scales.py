"""Scales in 8 bits: the mean magnitude of a block as a factor per token and half of the channels, and one per channel.

``v`` [C] is the root of the mean of x² over tokens, times 0.7979 as for a Gaussian's mean magnitude: squares, because
what a prediction leaves of them follows from sums taken before it (``predictor.fit``). ``u`` [N, 2] is, for the first
8 · ceil(C / 16) channels and for the rest, the sum of |x| over those channels divided by the sum of their stored v, so
that u·v approximates |x|. Sums are those of ``_sums``.

A scale is stored as one byte, a float of 5 bits of exponent and 3 of mantissa: 0 for 0, else c for
(1 + (c mod 8) / 8) · 2^(floor(c / 8) - bias), rounded to the nearest and among two to the even byte. With a bias of 24
for v and 16 for u they go from 2^-23.8 to 240 and from 2^-15.8 to 61440; larger ones are stored as the largest, smaller
ones and NaN as 0. That is at most 6 % off, which costs the error less than one part in a hundred, and half the bytes of
float16 pay for the second u. Both ways are shifts of a float32's bits, the same on every device.

Stored layout, ``scale_bytes(N, C)`` bytes: u token by token, then v.
"""

import torch

from . import _sums

# of a standard Gaussian
MEAN_MAGNITUDE = 0.7978845608028654
V_BIAS, U_BIAS = 24, 16
# of a channel's scale
CHANNEL_BYTES = 1
# float32 has 20 more bits of mantissa, and a bias of its own
_SHIFT, _FLOAT_BIAS = 20, 127


def scale_bytes(tokens: int, channels: int) -> int:
    return 2 * tokens + channels


def group_channels(channels: int) -> int:
    """How many channels the first u of a token covers: whole bytes of a bit plane."""
    return 8 * ((channels + 15) // 16)


def of_channels(magnitude, energy=None):
    """The channels' scales [B, C] uint8, as a payload holds them, from ``magnitude`` [B, n, C] of any tokens.

    ``energy`` [B, C] float32 is the sum of its squares over these tokens, where it is known.
    """
    if energy is None:
        energy = _sums.over_tokens(magnitude * magnitude)
    # a CPU's float32 roots of torch may be an ulp off, whether they are depending on the tensor's size; of float64 they round right
    roots = _sums.divided(energy, magnitude.shape[1]).double().sqrt_().float()
    return _codes(roots.mul_(MEAN_MAGNITUDE), V_BIAS)


def write(magnitude, payload, energy=None, channel_scales=None):
    """Reduce ``magnitude`` [B, N, C] float32 >= 0 into the start of ``payload`` [B, bytes] uint8.

    ``channel_scales``: v as ``of_channels`` gives it, where it is not to come from ``magnitude`` and ``energy``. Returns a 0-d bool tensor: NaN or Inf was seen.
    """
    batch, tokens, channels = magnitude.shape
    v = of_channels(magnitude, energy) if channel_scales is None else channel_scales
    rows, columns = by_group(magnitude), by_group(_values(v, V_BIAS).unsqueeze(1))
    non_finite = ~(rows.amax() < torch.inf)
    u = torch.where(columns > 0, rows / columns, 0.0)
    payload[:, : 2 * tokens] = _codes(u, U_BIAS).reshape(batch, 2 * tokens)
    payload[:, 2 * tokens : scale_bytes(tokens, channels)] = v
    return non_finite


def read(payload, tokens: int, channels: int):
    """u·v [B, N, C] float32 from the start of ``payload`` [B, >= scale_bytes] uint8."""
    batch, first = payload.shape[0], group_channels(channels)
    u = _values(payload[:, : 2 * tokens], U_BIAS).view(batch, tokens, 2)
    v = _values(payload[:, 2 * tokens : scale_bytes(tokens, channels)], V_BIAS).unsqueeze(1)
    scale = torch.empty((batch, tokens, channels), device=payload.device)
    torch.mul(u[:, :, :1], v[:, :, :first], out=scale[:, :, :first])
    torch.mul(u[:, :, 1:], v[:, :, first:], out=scale[:, :, first:])
    return scale


def by_group(x, over_channels=_sums.over_channels):
    """Sums [B, N, 2] over the channels of the first u of ``x`` [B, N, C] float32 and over those of the second."""
    split = group_channels(x.shape[2])
    first = over_channels(x[:, :, :split])
    rest = over_channels(x[:, :, split:]) if x.shape[2] > split else torch.zeros_like(first)
    return torch.stack([first, rest], dim=2)


def _codes(scale, bias):
    """``scale`` float32 >= 0 -> uint8."""
    bits = scale.nan_to_num_(0.0, torch.inf).view(torch.int32)
    rounded = (bits + ((1 << (_SHIFT - 1)) - 1) + ((bits >> _SHIFT) & 1)) >> _SHIFT
    return rounded.sub_((_FLOAT_BIAS - bias) * 8).clamp_(0, 255).to(torch.uint8)


def _values(codes, bias):
    """uint8 -> float32."""
    codes = codes.to(torch.int32)
    bits = (codes + (_FLOAT_BIAS - bias) * 8) << _SHIFT
    return bits.mul_(codes > 0).view(torch.float32)
