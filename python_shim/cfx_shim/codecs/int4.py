"""int4: four bits an element for keyframes, with scales per token and 32 channels that are chosen for the least error.

The mean of each channel over tokens is taken off first: keys have channels far from 0, which would set every scale.
A group is 32 consecutive channels of one token; groups begin anew with the second of the two parts that ``_log_scales``
gives a token, as those of a state's trend do, and a part's last group may be narrower. With G groups a token, the payload
of a block of N tokens by C channels is, in this order:

- means: C little-endian float16, see ``_means``; NaN and Inf in x count as 0,
- token scales: N little-endian bfloat16, the largest |x - mean| of the token, but no more than bfloat16's largest value,
- group scales: N · G bytes c, token by token: the group's scale is the token's times 2^(-c / 8), and 0 for c = 255,
- levels: N rows of ceil(C / 2) bytes, the even channel in the low four bits: which of 16 levels, rising.

Levels are those of least squared error for a Gaussian (Max 1960) over the largest of them: a sign, and the nearest of 8
magnitudes. Of the scale that just reaches the group's largest |x - mean| (the least c is 0, whatever that is) and the next
five below it, the first one of least squared error is taken.

Every step has one order and one rounding, so that kernels give the same bytes. What just reaches is found by comparing
mantissas with those of 2^(j / 8). A candidate's errors are those of |x - mean| · r against the levels, where r is 1 / the
scale that just reaches (0 where that is below float32's normal numbers), from candidate to candidate times 2^(1 / 8); their
squares are rounded to multiples of 2^-19, of which float32 sums are exact in any order, and weighed by 1, 2^(-1 / 4) and
so on. Which level it is tells whether |x - mean| is at least a threshold times the scale.

On scenes-flux (k and v at N = 4) it errs by .073 of the norm, ``centred4``, a third of a bit smaller, by .076; where the
tails within a channel are heavy (a Gaussian times a log-normal of .7) by .10 against .35.

Decoded value: level · (token scale · 2^(-c / 8)) + mean, each operation in float32.
"""

import struct

import torch

from . import _fields, _lloyd_max, _log_scales, _means, _values

EXACT = False
GROUP, PER_OCTAVE, CANDIDATES = 32, 8, 6
# the code of a group of zeros; the smallest scale is that of the code before it
NOTHING = 255
# added to a number of up to 1 it rounds that to a multiple of 2^-19, of which 32 have a sum of 24 bits
ROUNDER = 24.0
# the least scale that has a reciprocal
SMALLEST = torch.finfo(torch.float32).tiny
# more has no bfloat16
MOST = _values.largest_bfloat16(1.0)


def _bits(number):
    """Of a float32."""
    return struct.unpack("<i", struct.pack("<f", number))[0]


def _single(number):
    """As a float32 has it."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


# 2^(-step / 8) and 2^(step / 8), and the mantissas of these
FRACTIONS = tuple(_single(2.0 ** (-step / PER_OCTAVE)) for step in range(PER_OCTAVE))
ROOTS = tuple(_single(2.0 ** (step / PER_OCTAVE)) for step in range(PER_OCTAVE))
MANTISSAS = tuple(_bits(root) & 0x7FFFFF for root in ROOTS)
# magnitudes of levels, and those from which on one is the next level's
LEVELS = tuple(_single(level / _lloyd_max.levels(4)[-1]) for level in _lloyd_max.levels(4))
THRESHOLDS = tuple(_single((low + high) / 2) for low, high in zip(LEVELS, LEVELS[1:]))
# from a candidate to the next: its reciprocal, and what its squared errors weigh
UP, DOWN = _single(2.0 ** (1 / PER_OCTAVE)), _single(2.0 ** (-2 / PER_OCTAVE))


def group_sizes(channels: int):
    """How many channels each group of a token has."""
    first = min(channels, _log_scales.group_channels(channels))
    return [min(GROUP, part - begin) for part in (first, channels - first) for begin in range(0, part, GROUP)]


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return 2 * channels + tokens * (2 + len(group_sizes(channels)) + _fields.row_bytes(channels, 4))


def _split(payload, tokens, channels):
    """Means, token scales, group scales and levels as stored."""
    groups = len(group_sizes(channels))
    sizes = (2 * channels, 2 * tokens, tokens * groups, tokens * _fields.row_bytes(channels, 4))
    return payload.split(sizes, dim=1)


def encode(x, payload):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    batch, tokens, channels = x.shape
    means, scales, codes, levels = _split(payload, tokens, channels)
    x, non_finite = _values.finite(x)
    _means.write(x, means)
    x = x - _means.read(means)
    size = x.abs()
    grouped = _grouped(size)
    largest = grouped.amax(dim=3)
    scales.copy_(_values.to_bfloat16(largest.amax(dim=2).clamp_(max=MOST)))
    scale = _values.from_bfloat16(scales, 1.0, batch, tokens, 1)
    reach = _reach(torch.where(scale > 0, largest / scale, 0.0))
    code = (reach + _least_error(grouped, scale * _factors(reach), channels)).clamp_(max=NOTHING - 1)
    code = torch.where(largest > 0, code, NOTHING)
    codes.copy_(code.flatten(1))
    unit = _of_channels(scale * _factors(code), channels)
    index = torch.zeros_like(size, dtype=torch.uint8)
    for threshold in THRESHOLDS:
        index.add_(size >= unit * threshold)
    # levels rise with the index from the most negative one on
    levels.copy_(_fields.pack(torch.where(x >= 0, index + 8, 7 - index), 4))
    return non_finite


def _grouped(x):
    """[B, N, C] -> [B, N, G, 32], filled up with zeros."""
    if x.shape[2] % GROUP == 0 and _log_scales.group_channels(x.shape[2]) % GROUP == 0:
        return x.unflatten(2, (-1, GROUP))
    groups = x.split(group_sizes(x.shape[2]), dim=2)
    return torch.stack([torch.nn.functional.pad(group, (0, GROUP - group.shape[2])) for group in groups], dim=2)


def _of_channels(values, channels):
    """[B, N, G] -> [B, N, C], each group's for its channels."""
    return values.repeat_interleave(torch.tensor(group_sizes(channels), device=values.device), dim=2, output_size=channels)


def _reach(ratio):
    """The codes, int32, of the smallest scales that are at least ``ratio`` float32 times the token's."""
    bits = ratio.view(torch.int32)
    reach = (127 - (bits >> 23)) * PER_OCTAVE
    for mantissa in MANTISSAS:
        reach.sub_(((bits & 0x7FFFFF) > mantissa).int())
    return reach.clamp_(0, NOTHING - 1)


def _factors(codes):
    """float32 of group scales' codes int32."""
    fractions = torch.tensor(FRACTIONS, device=codes.device)[codes % PER_OCTAVE]
    power = ((127 - codes // PER_OCTAVE) << 23).view(torch.float32)
    return torch.where(codes == NOTHING, 0.0, fractions * power)


def _least_error(grouped, unit, channels):
    """How many steps below ``unit`` [B, N, G] the scale is with which magnitudes [B, N, G, 32] are best coded, int32."""
    real = _grouped(torch.ones((1, 1, channels), device=unit.device))
    levels, thresholds = torch.tensor(LEVELS, device=unit.device), torch.tensor(THRESHOLDS, device=unit.device)
    best, least = torch.zeros_like(unit, dtype=torch.int32), torch.full_like(unit, torch.inf)
    inverse, weight = torch.where(unit >= SMALLEST, 1.0 / unit, 0.0), torch.ones((), device=unit.device)
    for step in range(CANDIDATES):
        relative = grouped * inverse.unsqueeze(3)
        index = torch.bucketize(relative, thresholds, right=True, out_int32=True)
        error = relative.sub_(levels[index]).square_().add_(ROUNDER).sub_(ROUNDER).mul_(real).sum(dim=3).mul_(weight)
        best.masked_fill_(error < least, step)
        least = torch.minimum(error, least)
        inverse.mul_(UP)
        weight.mul_(DOWN)
    return best


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    batch = payload.shape[0]
    means, scales, codes, levels = _split(payload, tokens, channels)
    scale = _values.from_bfloat16(scales, 1.0, batch, tokens, 1)
    unit = scale * _factors(codes.to(torch.int32).view(batch, tokens, -1))
    known = torch.tensor((*(-level for level in LEVELS[::-1]), *LEVELS), device=payload.device)
    values = known[_fields.unpack(levels, tokens, channels, 4).int()].mul_(_of_channels(unit, channels))
    return values.add_(_means.read(means))


encode_reference, decode_reference = encode, decode
