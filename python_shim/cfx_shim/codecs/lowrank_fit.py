"""lowrank_fit: low rank with factors of 2 bits, each fitted to the other as it was rounded. Ours, for 1 to 2 % of the bytes.

Where so few bytes are left, most of a residual stays behind whatever one sends, so ranks count and their precision does
not: 2 bits for twice the rank of 4. What rounding one factor loses, the other takes up: V is the least-squares fit to U
*as stored*, then U to V as stored, in turn. Tokens and channels whose values are large or small as a whole say so in 2
bits each, which is worth more than one rank.

Payload of a block of N tokens by C channels at rank r (``_low_rank`` says which; 128 at most), in this order:

- unit: one little-endian bfloat16,
- weights: r bytes w, 0 to 48,
- classes of tokens: ceil(N / 4) bytes, of channels: ceil(C / 4) bytes; 2 bits each, for the factor 5, 7, 10 or 14,
- U: r rows of ceil(N / 4) bytes, component by component, V: r rows of ceil(C / 4) bytes; 2 bits for -3, -1, 1 or 3.

Decoded value: unit · sum over k of (class · U)[n, k] · (w · class · V)[k, c]. The sum is one of whole numbers: each
factor has at most 11 bits and no sum more than 24, so a matrix product in float32 (or TF32) is exact and has the same
bits in any order of summation, on any device and for any batch.

Against ``lowrank_int4`` at the same bytes (1 % of 16 bits, closed loop, exact keyframes): error ×.804 and ×.848 on k and v of
scenes-flux at 28 and 10 steps, ×.791 on shapes-pixart at 10; FINDINGS.md has what was tried and left out. With classes known
from what was decoded before, and so free, the error would be 4 to 5 % lower.

``_factor_fit`` says how the factors are found.
"""

import torch

from . import _factor_fit, _fields, _low_rank, _values
from ._factor_fit import CLASSES

_MOST_RANK = 128
MOST_WEIGHT = 48.0
# 3 · 14 times as much times the weight, times the rank: 1.1e7, below 2^24
MOST_SUM = (3 * CLASSES[-1]) ** 2 * MOST_WEIGHT * _MOST_RANK
# of what is sent, so that no decoded number is beyond float32
MOST_UNIT = torch.finfo(torch.float32).max / MOST_SUM


class LowRankFit:
    """The codec of one size; its methods are what ``codecs`` asks of a codec's module."""

    EXACT = False

    def __init__(self, size: str):
        self._size = size

    def _layout(self, tokens, channels):
        """The rank, and the bytes of the payload's parts in their order."""
        rows = _fields.row_bytes(tokens, 2), _fields.row_bytes(channels, 2)
        fitting = _low_rank.rank(self._size, tokens, channels, 1 + sum(rows), 2 + sum(rows))
        rank = min(fitting, _MOST_RANK)
        return rank, (2, rank, *rows, rank * rows[0], rank * rows[1])

    def rank(self, tokens: int, channels: int) -> int:
        return self._layout(tokens, channels)[0]

    def payload_bytes(self, tokens: int, channels: int, item_bytes: int) -> int:
        return sum(self._layout(tokens, channels)[1])

    def encode(self, x, payload):
        x, non_finite = _values.finite(x)
        # block by block, so that a payload does not depend on what lies beside it
        for block, room in zip(x.split(1), payload.split(1)):
            # a matrix product in the precision that autocast chooses would be none
            with torch.autocast(x.device.type, enabled=False):
                unit = self._encode_block(block, room)
            non_finite = non_finite | ~(unit.amax() < MOST_UNIT)
        return non_finite

    def _encode_block(self, x, payload):
        """Write the payload of ``x`` [1, N, C], finite; returns its unit."""
        rank, sizes = self._layout(*x.shape[1:])
        scale = x.abs().amax().clamp_min_(torch.finfo(torch.float32).tiny)
        weights, u, v = _factor_fit.fit(x / scale, rank)
        magnitudes = weights.abs()
        unit = magnitudes.amax(dim=1) / MOST_WEIGHT
        wholes = torch.where(unit > 0, magnitudes / unit, 0.0).round_().clamp_(0, MOST_WEIGHT)
        signs = torch.where(weights < 0, -1.0, 1.0)
        parts = payload.split(sizes, dim=1)
        parts[0].copy_(_values.to_bfloat16(unit * scale))
        parts[1].copy_(wholes.to(torch.uint8))
        for part, classes, levels in ((2, u.classes, u.levels), (3, v.classes, v.levels * signs)):
            parts[part].copy_(_fields.pack(classes[:, None], 2))
            parts[part + 2].copy_(_fields.pack((levels.mT + 3.0) * 0.5, 2))
        return unit * scale

    def decode(self, payload, tokens: int, channels: int):
        rank, sizes = self._layout(tokens, channels)
        unit, weights, *parts = payload.split(sizes, dim=1)
        factors = []
        for length, classes, codes in ((tokens, parts[0], parts[2]), (channels, parts[1], parts[3])):
            classes = _class_factor(_fields.unpack(classes, 1, length, 2))
            factors.append(_level(_fields.unpack(codes, rank, length, 2)).mul_(classes))
        u, v = factors
        v.mul_(weights.float().clamp_(max=MOST_WEIGHT).unsqueeze(2))
        with torch.autocast(payload.device.type, enabled=False):
            total = torch.bmm(u.transpose(1, 2), v)
        return total.mul_(_values.from_bfloat16(unit, MOST_SUM, payload.shape[0], 1, 1))

    encode_reference, decode_reference = encode, decode


def _level(codes):
    return codes.float().mul_(2.0).sub_(3.0)


def _class_factor(classes):
    return torch.tensor(CLASSES, device=classes.device)[classes.int()]


of_size = LowRankFit
