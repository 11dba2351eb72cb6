"""Scales in 8 bits: the mean magnitude of a block as a factor per token and half of the channels, and one per channel.

``v`` [C] is the root of the mean of x² over tokens, times 0.7979 as for a Gaussian's mean magnitude: squares, because
what a prediction leaves of them follows from sums taken before it (``predictor.fit``). ``u`` [N, 2] is, for the first ceil(C / 2) channels and for the rest, the sum
of |x| over those channels divided by the sum of their stored v, so that u·v approximates |x|. Sums are those of
``_sums``.

A scale is stored as one byte: 0 for 0, else c for 2^((c - 156) / 6), rounded to the nearest, from 2^-25.8 to 2^16.5;
smaller ones are stored as 0, larger ones as the largest, NaN as 0. That is at most 6 % off, which costs the error less
than one part in a hundred, and half the bytes of float16 pay for the second u. The byte is how many of 255 bounds the
scale reaches, and bounds and values are float32 constants of one octave times powers of two: no logarithm whose last
bit a device could choose.

Stored layout, ``scale_bytes(N, C)`` bytes: u token by token, then v.
"""

import torch

from . import _sums

PER_OCTAVE, OFFSET = 6, 156
# of the codes of an octave, in [1, 2): their values, and the least scale that rounds up to the next
OCTAVE = tuple(2.0 ** (step / PER_OCTAVE) for step in range(PER_OCTAVE))
BOUNDS = tuple(2.0 ** ((step + 0.5) / PER_OCTAVE) for step in range(PER_OCTAVE))
# of a standard Gaussian
MEAN_MAGNITUDE = 0.7978845608028654
_tables = {}


def scale_bytes(tokens: int, channels: int) -> int:
    return 2 * tokens + channels


def write(magnitude, payload, energy=None):
    """Reduce ``magnitude`` [B, N, C] float32 >= 0 into the start of ``payload`` [B, bytes] uint8.

    ``energy`` [B, C] float32 is the sum of its squares over tokens, where it is known.
    Returns a 0-d bool tensor: NaN or Inf was seen.
    """
    batch, tokens, channels = magnitude.shape
    if energy is None:
        energy = _sums.over_tokens(magnitude * magnitude)
    v = _codes((energy / tokens).sqrt_().mul_(MEAN_MAGNITUDE))
    rows, columns = _by_half(magnitude), _by_half(_values(v).unsqueeze(1))
    non_finite = ~(rows.amax() < torch.inf)
    u = torch.where(columns > 0, rows / columns, 0.0)
    payload[:, : 2 * tokens] = _codes(u).reshape(batch, 2 * tokens)
    payload[:, 2 * tokens : scale_bytes(tokens, channels)] = v
    return non_finite


def read(payload, tokens: int, channels: int):
    """u·v [B, N, C] float32 from the start of ``payload`` [B, >= scale_bytes] uint8."""
    batch, half = payload.shape[0], (channels + 1) // 2
    u = _values(payload[:, : 2 * tokens]).view(batch, tokens, 2)
    v = _values(payload[:, 2 * tokens : scale_bytes(tokens, channels)]).unsqueeze(1)
    scale = torch.empty((batch, tokens, channels), device=payload.device)
    torch.mul(u[:, :, :1], v[:, :, :half], out=scale[:, :, :half])
    torch.mul(u[:, :, 1:], v[:, :, half:], out=scale[:, :, half:])
    return scale


def _by_half(magnitude):
    """Sums [B, N, 2] over the first ceil(C / 2) channels of ``magnitude`` [B, N, C] and over the rest."""
    half = (magnitude.shape[2] + 1) // 2
    first = _sums.over_channels(magnitude[:, :, :half])
    rest = _sums.over_channels(magnitude[:, :, half:]) if magnitude.shape[2] > 1 else torch.zeros_like(first)
    return torch.stack([first, rest], dim=2)


def _codes(scale):
    """``scale`` float32 >= 0 -> uint8."""
    bounds = _table("bounds", scale.device)
    return torch.bucketize(scale.nan_to_num_(0.0, torch.inf), bounds, right=True, out_int32=True).to(torch.uint8)


def _values(codes):
    """uint8 -> float32."""
    return _table("values", codes.device)[codes.int()]


def _table(kind, device):
    """``values`` [256] of the codes, ``bounds`` [255]: the least scale of each code but 0. float32 on ``device``."""
    table = _tables.get((kind, device))
    if table is None:
        steps = [divmod(code - OFFSET, PER_OCTAVE) for code in range(256)]
        # rounded in the octave, then scaled: exact
        if kind == "values":
            octave = torch.tensor(OCTAVE)
            listed = [0.0] + [2.0**power * octave[step].item() for power, step in steps[1:]]
        else:
            octave = torch.tensor(BOUNDS)
            listed = [2.0**power * octave[step].item() for power, step in steps[:-1]]
        table = _tables[kind, device] = torch.tensor(listed, device=device)
    return table
