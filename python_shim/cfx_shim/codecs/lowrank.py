"""lowrank: a block as the product of two thin matrices (CompactFusion's low rank: cold subspace iteration, 2 rounds).

Payload of a block of N tokens by C channels at rank r (``_low_rank`` says which), in this order:

- U: N · r little-endian float16, token by token, orthonormal columns,
- V: r · C little-endian float16, row by row, Uᵀ·x.

Decoded value: sum over k of U[n, k] · V[k, c] in float32, products rounded, then added in the order of k.
"""

import torch

from . import _low_rank, _values


class LowRank:
    """The codec of one size; its methods are what ``codecs`` asks of a codec's module."""

    EXACT = False

    def __init__(self, size: str):
        self._size = size

    def rank(self, tokens, channels):
        return _low_rank.rank(self._size, tokens, channels, 2 * (tokens + channels))

    def payload_bytes(self, tokens: int, channels: int, item_bytes: int) -> int:
        return 2 * (tokens + channels) * self.rank(tokens, channels)

    def encode(self, x, payload):
        tokens, channels = x.shape[1:]
        rank = self.rank(tokens, channels)
        x, non_finite = _values.finite(x)
        for block, room in zip(x, payload):
            u, v = _low_rank.subspace(block, rank)
            # the product of finite values may be beyond float32
            non_finite = non_finite | ~(v.abs().amax() < torch.inf)
            room[: 2 * tokens * rank] = _values.to_half(u).flatten()
            room[2 * tokens * rank :] = _values.to_half(v).flatten()
        return non_finite

    def decode(self, payload, tokens: int, channels: int):
        rank, batch = self.rank(tokens, channels), payload.shape[0]
        middle = 2 * tokens * rank
        u = _values.from_half(payload[:, :middle], batch, tokens, rank)
        v = _values.from_half(payload[:, middle:], batch, rank, channels)
        return _low_rank.product(u, v)

    encode_reference, decode_reference = encode, decode


of_size = LowRank
