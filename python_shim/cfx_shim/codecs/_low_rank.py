"""Low rank: a block [N, C] as U·V with U [N, r], V [r, C]; what the low-rank codecs share.

A codec's name ends in its size: ``r32`` is rank 32, ``b16`` the largest rank whose payload takes at most 16 bits per
hundred elements (and 1 where even that is more). A rank is never above min(N, C).

Only the sender searches for factors, so the search may run in any order of summation; each block is searched by
itself, so that its payload does not depend on what lies beside it. What both ends compute is ``product``: its order
of operations is fixed, so that the same bytes give the same bits whatever the batch.
"""

import functools

import torch


def rank(size: str, tokens: int, channels: int, bytes_a_rank: int, bytes_beside: int = 0) -> int:
    """The rank of ``size`` for a block: src/codec.ts has the same formula."""
    most, number = min(tokens, channels), int(size[1:])
    if size[0] == "r":
        return min(number, most)
    budget = tokens * channels * number // 800
    return max(1, min(most, (budget - bytes_beside) // bytes_a_rank))


@functools.cache
def start(channels: int, rank: int, device):
    """The matrix [C, r] float32 that a search begins with: Gaussian, the same for the same shape."""
    generator = torch.Generator().manual_seed(1000003 * channels + rank)
    return torch.randn((channels, rank), generator=generator).to(device)


def subspace(x, rank: int, rounds: int = 2):
    """Subspace iteration from ``start``: ``x`` [N, C] float32 -> U [N, r] with orthonormal columns, V = Uᵀ·x [r, C]."""
    # of its own memory: libraries sum in another order where a block begins at another place of a cache line
    x, v = x.clone(memory_format=torch.contiguous_format), start(x.shape[1], rank, x.device).T
    for _ in range(rounds):
        u = torch.linalg.qr(x @ torch.linalg.qr(v.T)[0])[0]
        v = u.T @ x
    return u, v


def product(u, v):
    """U·V [B, N, C] float32 of ``u`` [B, N, r] and ``v`` [B, r, C] float32: products rounded, then added, rank by rank."""
    total = u[:, :, :1] * v[:, :1]
    term = torch.empty_like(total)
    for k in range(1, u.shape[2]):
        torch.mul(u[:, :, k : k + 1], v[:, k : k + 1], out=term)
        total.add_(term)
    return total
