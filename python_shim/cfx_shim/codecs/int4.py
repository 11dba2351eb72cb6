"""int4: four bits an element for keyframes, with scales per token and 32 channels that are chosen for the least error.

The mean of each channel over tokens is taken off first: keys have channels far from 0, which would set every scale.
A group is 32 consecutive channels of one token; the last group of a token may be narrower. With G = ceil(C / 32), the
payload of a block of N tokens by C channels is, in this order:

- means: C little-endian bfloat16,
- token scales: N little-endian bfloat16, the largest |x - mean| of the token,
- group scales: N · G bytes c, token by token: the group's scale is the token's times 2^(-c / 8), and 0 for c = 255,
- levels: N rows of ceil(C / 2) bytes, the even channel in the low four bits: which of 16 levels, rising.

Levels are those of least squared error for a Gaussian (Max 1960) over the largest of them. Of the scale that just
reaches the group's largest |x - mean| and the next five below it, the one of least squared error is taken.

On scenes-flux (k and v at N = 4) it errs by .073 of the norm, ``centred4``, a third of a bit smaller, by .076; where the
tails within a channel are heavy (a Gaussian times a log-normal of .7) by .10 against .35.

Decoded value: level · (token scale · 2^(-c / 8)) + mean, each operation in float32. Plain torch, which any device can do;
it has no kernels.
"""

import torch

from . import _fields, _values

EXACT = False
_GROUP, _PER_OCTAVE, _CANDIDATES = 32, 8, 6
_RISING = (0.1284, 0.3881, 0.6568, 0.9424, 1.2562, 1.6181, 2.0690, 2.7326)
_LEVELS = tuple(sign * level / _RISING[-1] for sign, part in ((-1, _RISING[::-1]), (1, _RISING)) for level in part)
_THRESHOLDS = tuple((low + high) / 2 for low, high in zip(_LEVELS, _LEVELS[1:]))
_FACTORS = (*(2.0 ** (-code / _PER_OCTAVE) for code in range(255)), 0.0)
# a decoded value is at most a mean and a scale
_MOST = 4.0


def _groups(channels):
    return (channels + _GROUP - 1) // _GROUP


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return 2 * channels + tokens * (2 + _groups(channels) + _fields.row_bytes(channels, 4))


def _split(payload, tokens, channels):
    """Means, token scales, group scales and levels as stored."""
    sizes = (2 * channels, 2 * tokens, tokens * _groups(channels), tokens * _fields.row_bytes(channels, 4))
    return payload.split(sizes, dim=1)


def encode(x, payload):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    batch, tokens, channels = x.shape
    means, scales, codes, levels = _split(payload, tokens, channels)
    x, non_finite = _values.finite(x)
    mean = x.mean(dim=1)
    means.copy_(_values.to_bfloat16(mean))
    x = x - _values.from_bfloat16(means, _MOST, batch, 1, channels)
    grouped = _grouped(x)
    largest = grouped.abs().amax(dim=3)
    scales.copy_(_values.to_bfloat16(largest.amax(dim=2)))
    scale = _values.from_bfloat16(scales, _MOST, batch, tokens, 1)
    reach = (largest / scale).log2_().mul_(-_PER_OCTAVE).floor_().nan_to_num_(254.0, 254.0, 0.0).clamp_(0, 254)
    code, index = _least_error(grouped, scale, reach, _grouped(torch.ones_like(x[:1, :1])))
    codes.copy_(torch.where(largest > 0, code, 255.0).to(torch.uint8).reshape(batch, -1))
    levels.copy_(_fields.pack(index.flatten(2)[:, :, :channels], 4))
    return non_finite | ~(mean.abs().amax() < torch.inf)


def _grouped(x):
    """[B, N, C] -> [B, N, G, 32], filled up with zeros."""
    return torch.nn.functional.pad(x, (0, -x.shape[2] % _GROUP)).unflatten(2, (-1, _GROUP))


def _least_error(grouped, scale, reach, real):
    """Of the codes from ``reach`` [B, N, G] on, the best of each group, and its levels' indices [B, N, G, 32].

    ``real`` [1, 1, G, 32] is 1 for channels and 0 for what fills up a group.
    """
    tables = [torch.tensor(table, device=grouped.device) for table in (_FACTORS, _LEVELS, _THRESHOLDS)]
    factors, levels, thresholds = tables
    best = None
    for step in range(_CANDIDATES):
        code = (reach + step).clamp_(max=254)
        unit = (scale * factors[code.int()]).unsqueeze(3)
        index = torch.bucketize(torch.where(unit > 0, grouped / unit, 0.0), thresholds)
        # errors over the scale, for the squares of large numbers are beyond float32
        missed = grouped / scale.unsqueeze(3) - levels[index] * (unit / scale.unsqueeze(3))
        error = missed.mul_(real).square_().sum(dim=3)
        if best is None:
            best = code, index, error
        else:
            better = error < best[2]
            best = (
                torch.where(better, code, best[0]),
                torch.where(better.unsqueeze(3), index, best[1]),
                torch.where(better, error, best[2]),
            )
    return best[:2]


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    batch, groups = payload.shape[0], _groups(channels)
    means, scales, codes, levels = _split(payload, tokens, channels)
    factors, known = (torch.tensor(table, device=payload.device) for table in (_FACTORS, _LEVELS))
    scale = _values.from_bfloat16(scales, _MOST, batch, tokens, 1)
    unit = (scale * factors[codes.int()].view(batch, tokens, groups)).repeat_interleave(_GROUP, dim=2)
    values = known[_fields.unpack(levels, tokens, channels, 4).int()].mul_(unit[:, :, :channels])
    return values.add_(_values.from_bfloat16(means, _MOST, batch, 1, channels))


encode_reference, decode_reference = encode, decode
