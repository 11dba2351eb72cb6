"""Scales in 8 bits: the mean magnitude of a block as a factor per token and half of the channels, and one per channel.

``v`` [C] is the mean of |x| over tokens. ``u`` [N, 2] is, for the first ceil(C / 2) channels and for the rest, the mean
of |x| over those channels divided by its own mean over tokens, so that u·v approximates |x|. Means are float32
(``Tensor.mean``).

A scale is stored as one byte: 0 for 0, else c for 2^((c - 156) / 6), rounded to the nearest, from 2^-25.8 to 2^16.5;
smaller ones are stored as 0, larger ones as the largest. That is at most 6 % off, which costs the error less than
one part in a hundred, and half the bytes of float16 pay for the second u.

Stored layout, ``scale_bytes(N, C)`` bytes: u token by token, then v.
"""

import torch

_PER_OCTAVE, _OFFSET = 6, 156
_TABLE = [0.0] + [2.0 ** ((code - _OFFSET) / _PER_OCTAVE) for code in range(1, 256)]
_tables = {}


def scale_bytes(tokens: int, channels: int) -> int:
    return 2 * tokens + channels


def write(magnitude, payload):
    """Reduce ``magnitude`` [B, N, C] float32 >= 0 into the start of ``payload`` [B, bytes] uint8.

    Returns a 0-d bool tensor: NaN or Inf was seen.
    """
    batch, tokens, channels = magnitude.shape
    half = (channels + 1) // 2
    v = magnitude.mean(dim=1)
    first = magnitude[:, :, :half].mean(dim=2)
    rest = magnitude[:, :, half:].mean(dim=2) if channels > 1 else torch.zeros_like(first)
    u = torch.stack([first, rest], dim=2)
    mean = u.mean(dim=1, keepdim=True)
    non_finite = ~(mean.amax() < torch.inf)
    u = torch.where(mean > 0, u / mean, 0.0)
    payload[:, : 2 * tokens] = _codes(u).reshape(batch, 2 * tokens)
    payload[:, 2 * tokens : scale_bytes(tokens, channels)] = _codes(v)
    return non_finite


def read(payload, tokens: int, channels: int):
    """u·v [B, N, C] float32 from the start of ``payload`` [B, >= scale_bytes] uint8."""
    batch, half = payload.shape[0], (channels + 1) // 2
    table = _tables.get(payload.device)
    if table is None:
        table = _tables[payload.device] = torch.tensor(_TABLE, device=payload.device)
    u = table[payload[:, : 2 * tokens].int()].view(batch, tokens, 2)
    v = table[payload[:, 2 * tokens : scale_bytes(tokens, channels)].int()].unsqueeze(1)
    scale = torch.empty((batch, tokens, channels), device=payload.device)
    torch.mul(u[:, :, :1], v[:, :, :half], out=scale[:, :, :half])
    torch.mul(u[:, :, 1:], v[:, :, half:], out=scale[:, :, half:])
    return scale


def _codes(scale):
    codes = scale.log2().mul_(_PER_OCTAVE).round_().add_(_OFFSET)
    # log2(0) is -inf, and what rounds below 1 is as good as 0; NaN is flagged by the caller
    return codes.nan_to_num_(0.0, 255.0, 0.0).clamp_(0, 255).to(torch.uint8)
