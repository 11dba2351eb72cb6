"""Rank-one scales: the mean magnitude of a block, split into a factor per token and one per channel.

``v`` [C] is the mean of |x| over tokens, ``u`` [N] the sum of |x| over channels divided by the sum of the stored v, so
that u·v approximates |x| (CompactFusion, "binary" and "int2": there u is the row mean over its own mean, which is the
same number but for v's rounding; this form needs a row and the channels' scales alone). Sums are those of ``_sums``.
Stored as float16; finite values beyond its range as its largest value, NaN as 0. A block of zeros gives u = v = 0.

Stored layout, ``scale_bytes(N, C)`` bytes: u as N little-endian float16, then v as C little-endian float16.
"""

import torch

from . import _sums, _values

_HALF_MAX = 65504.0
# of a channel's scale
CHANNEL_BYTES = 2


def scale_bytes(tokens: int, channels: int) -> int:
    return 2 * tokens + 2 * channels


def of_channels(magnitude, energy=None):
    """The channels' scales [B, 2·C] uint8, as a payload holds them, from ``magnitude`` [B, n, C] of any tokens."""
    v = _stored(_sums.divided(_sums.over_tokens(magnitude), magnitude.shape[1]))
    return v.to(torch.float16).view(torch.uint8)


def write_scales(magnitude, payload, channel_scales=None):
    """Reduce ``magnitude`` [B, N, C] float32 >= 0 and store u, v at the start of ``payload`` [B, bytes] uint8.

    ``channel_scales``: v as ``of_channels`` gives it, where it is not to come from ``magnitude``. Returns u [B, N] and v [B, C] in float32 *as stored*, and a 0-d bool tensor: NaN or Inf was seen.
    """
    tokens, channels = magnitude.shape[1:]
    if channel_scales is None:
        v = _stored(_sums.divided(_sums.over_tokens(magnitude), tokens))
    else:
        v = channel_scales.clone(memory_format=torch.contiguous_format).view(torch.float16).float()
    rows, columns = _sums.over_channels(magnitude), _sums.over_channels(v).unsqueeze(1)
    # the maximum keeps a NaN; torch.isfinite would say the same in five calls instead of one
    non_finite = ~(rows.amax() < torch.inf)
    u = _stored(torch.where(columns > 0, rows / columns, 0.0))
    scales = torch.cat([u, v], dim=1)
    payload[:, : scale_bytes(tokens, channels)] = scales.to(torch.float16).view(torch.uint8)
    return u, v, non_finite


def _stored(scale):
    """``scale`` as float16 keeps it, in float32."""
    return scale.nan_to_num_(0.0, _HALF_MAX).clamp_(max=_HALF_MAX).to(torch.float16).float()


def read_scales(payload, tokens: int, channels: int):
    """u [B, N] and v [B, C] in float32 from ``payload`` [B, >= scale_bytes] uint8; finite whatever the bytes."""
    scales = _values.from_half(payload[:, : scale_bytes(tokens, channels)], payload.shape[0], tokens + channels)
    return scales[:, :tokens], scales[:, tokens:]
