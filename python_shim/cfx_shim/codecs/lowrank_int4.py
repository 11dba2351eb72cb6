"""lowrank_int4: the factors of ``lowrank`` in 4 bits, min-max per component (CompactFusion's "low rank 32, int4").

Payload of a block of N tokens by C channels at rank r (``_low_rank`` says which), in this order:

- bounds of U: r times its least and its largest value, little-endian float16,
- bounds of V: the same,
- U: r rows of ceil(N / 2) bytes, component by component, the even token in the low four bits,
- V: r rows of ceil(C / 2) bytes, the even channel in the low four bits.

A value is least + code · (largest - least) / 15. Decoded value: as ``lowrank``'s.
"""

import torch

from . import _fields, _low_rank, _sums, _values

_STEPS = 15.0


class LowRankInt4:
    """The codec of one size; its methods are what ``codecs`` asks of a codec's module."""

    EXACT = False

    def __init__(self, size: str):
        self._size = size

    def _layout(self, tokens, channels):
        """The rank, and the bytes of a row of U and of V."""
        rows = _fields.row_bytes(tokens, 4), _fields.row_bytes(channels, 4)
        return _low_rank.rank(self._size, tokens, channels, 8 + sum(rows)), *rows

    def rank(self, tokens: int, channels: int) -> int:
        return self._layout(tokens, channels)[0]

    def payload_bytes(self, tokens: int, channels: int, item_bytes: int) -> int:
        rank, *rows = self._layout(tokens, channels)
        return rank * (8 + sum(rows))

    def encode(self, x, payload):
        rank, token_bytes, _ = self._layout(*x.shape[1:])
        x, non_finite = _values.finite(x)
        middle = 8 * rank + rank * token_bytes
        for block, room in zip(x, payload):
            u, v = _low_rank.subspace(block, rank)
            # the product of finite values may be beyond float32
            non_finite = non_finite | ~(v.abs().amax() < torch.inf)
            for factor, bounds, codes in (
                (u.T, room[: 4 * rank], room[8 * rank : middle]),
                (v, room[4 * rank : 8 * rank], room[middle:]),
            ):
                bounds.copy_(_values.to_half(torch.stack([factor.amin(dim=1), factor.amax(dim=1)], dim=1)).flatten())
                least, step = _bounds(bounds[None])
                relative = (factor - least[0]) / step[0]
                codes.copy_(_fields.pack(relative.nan_to_num_(0.0).round_().clamp_(0, 15)[None], 4)[0])
        return non_finite

    def decode(self, payload, tokens: int, channels: int):
        rank, token_bytes, _ = self._layout(tokens, channels)
        middle = 8 * rank + rank * token_bytes
        factors = []
        for length, bounds, codes in (
            (tokens, payload[:, : 4 * rank], payload[:, 8 * rank : middle]),
            (channels, payload[:, 4 * rank : 8 * rank], payload[:, middle:]),
        ):
            least, step = _bounds(bounds)
            factors.append(_fields.unpack(codes, rank, length, 4).float().mul_(step).add_(least))
        return _low_rank.product(factors[0].transpose(1, 2).contiguous(), factors[1])

    encode_reference, decode_reference = encode, decode


def _bounds(raw):
    """Least value and step, each [B, r, 1] float32, from ``raw`` [B, 4·r] uint8."""
    least, largest = _values.from_half(raw, raw.shape[0], -1, 2).unsqueeze(3).unbind(dim=2)
    return least, _sums.divided(largest - least, _STEPS)


of_size = LowRankInt4
