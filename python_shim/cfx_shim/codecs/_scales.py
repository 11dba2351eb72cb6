"""Rank-one scales: the mean magnitude of a block, split into a factor per token and one per channel.

``v`` [C] is the mean of |x| over tokens, ``u`` [N] the mean of |x| over channels divided by its own mean, so that
u·v approximates |x| (CompactFusion, "binary" and "int2"). Both are reduced in float32 by ``Tensor.mean`` and stored
as float16; finite values beyond float16's range are stored as its largest value. A block of zeros gives u = v = 0.

Stored layout, ``SCALE_BYTES(N, C)`` bytes: u as N little-endian float16, then v as C little-endian float16.
"""

import torch

_HALF_MAX = 65504.0


def scale_bytes(tokens: int, channels: int) -> int:
    return 2 * tokens + 2 * channels


def write_scales(magnitude, payload):
    """Reduce ``magnitude`` [B, N, C] float32 >= 0 and store u, v at the start of ``payload`` [B, bytes] uint8.

    Returns u [B, N] and v [B, C] in float32 *as stored*, and a 0-d bool tensor: NaN or Inf was seen.
    """
    tokens, channels = magnitude.shape[1:]
    v = magnitude.mean(dim=1)
    u = magnitude.mean(dim=2)
    mean = u.mean(dim=1, keepdim=True)
    # the maximum keeps a NaN; torch.isfinite would say the same in five calls instead of one
    non_finite = ~(mean.amax() < torch.inf)
    u = torch.where(mean > 0, u / mean, 0.0)
    stored = torch.cat([u, v], dim=1).clamp_(max=_HALF_MAX).to(torch.float16)
    payload[:, : scale_bytes(tokens, channels)] = stored.view(torch.uint8)
    scales = stored.float()
    return scales[:, :tokens], scales[:, tokens:], non_finite


def read_scales(payload, tokens: int, channels: int):
    """u [B, N] and v [B, C] in float32 from ``payload`` [B, >= scale_bytes] uint8."""
    raw = payload[:, : scale_bytes(tokens, channels)]
    # a copy, because a view as float16 needs even strides, which one odd payload alone does not have
    scales = raw.clone(memory_format=torch.contiguous_format).view(torch.float16).float()
    return scales[:, :tokens], scales[:, tokens:]
