"""Launches of the paper's low rank: ``codecs._low_rank.subspace`` of the blocks of all sections at once, and one launch that decodes.

What is small is kept for the next call of the same shape; the residual, 4 bytes an element of the call, is torch's allocator's
to keep. Nothing is read from a device: a call can be captured into a graph. Calls of one device come one after the other.
"""

import functools

import torch
import triton

from ..codecs import _low_rank
from . import residual_launch, subspace, tiles
from .launch import TYPES, interpreted, split_of, state_steps
from .low_rank_product import decode_kernel
from .repeat import run, three

# added to squares of lengths of 1: what orthonormal columns of one pass are off by, and so those of two are not
_SHIFT = 1e-6
# components that a program's square fits in registers with; beyond them factors are torch's
_MOST_RANK = 128
_ROWS, _PACKED_BYTES, _STARTED = 32, 512, 1024
_DECODED = (64, 64)


def encode(form, xs, states, message, offsets, own, order, feedback, first):
    """See ``launch.encode``."""
    peers, tokens, channels = xs[0].shape
    blocks, flags, rank = peers - (own < peers), message.shape[1] - 16, form.rank(tokens, channels)
    kept = _room(message.device, blocks * len(xs), tokens, channels, rank)
    x = torch.empty((blocks * len(xs), tokens, channels), dtype=torch.float32, device=message.device)
    residual_launch.begin(form, kept.largest, xs, states, message, offsets, own, order, first)
    residual_launch.take(form, x, kept.largest, xs, states, message, offsets, own, order, measures=True, follows=not feedback)
    # a matrix product in the precision that autocast chooses would be none
    with torch.autocast(message.device.type, enabled=False):
        u, v = kept.subspace(x)
    packed = u, v, message, *three(offsets), message.stride(0), flags, tokens, channels, own, peers, rank
    if form.four_bits:
        run(subspace.pack_int4_kernel, (2 * rank, blocks, len(xs)), *packed, BYTES=_PACKED_BYTES, K=kept.columns)
    else:
        grid = (triton.cdiv(tokens, _ROWS) + triton.cdiv(channels, _ROWS), blocks, len(xs))
        run(subspace.pack_kernel, grid, *packed, ROWS=_ROWS, K=kept.columns)
    if order > 0 and feedback:
        decode(form, [], states, message, offsets, own, order, tokens, channels, xs[0].dtype)


def decode(form, outs, states, message, offsets, own, order, tokens, channels, dtype):
    """See ``launch.decode``. Beside states in 8 bits a sender has no ``outs``."""
    eight_bit, *steps = state_steps(states, order, tokens, channels, dtype)
    split = split_of(channels, channels, 1, order, eight_bit) or channels
    rows, columns = _DECODED
    grid = (
        triton.cdiv(tokens, rows) * (triton.cdiv(split, columns) + triton.cdiv(channels - split, columns)),
        message.shape[0] - (own < message.shape[0]),
        len(states or outs),
    )
    run(
        decode_kernel,
        grid,
        *three(outs or states),
        *three(states or outs),
        message,
        *three(offsets),
        message.stride(0),
        *steps,
        form.codec.payload_bytes(tokens, channels, dtype.itemsize),
        tokens,
        channels,
        split,
        form.rank(tokens, channels),
        own,
        ROWS=rows,
        COLUMNS=columns,
        FOUR_BITS=form.four_bits,
        DTYPE=TYPES[dtype],
        ORDER=order,
        EIGHT_BIT=eight_bit,
        USED=bool(outs),
        SOFT=interpreted(),
        num_warps=8,
    )


class _Room:
    """What a search writes, for blocks [B, N, C] of one shape and rank."""

    def __init__(self, device, blocks, tokens, channels, rank):
        columns = self.columns = max(16, tiles.power_of_two(rank))
        self._rank = rank

        def room(*shape, dtype=torch.float32):
            return torch.zeros((blocks, *shape), dtype=dtype, device=device)

        self.largest = room(dtype=torch.int32)
        self._start = torch.zeros((channels, columns), device=device)
        self._start[:, :rank] = torch.linalg.qr(_low_rank.start(channels, rank, device))[0]
        self._gram, self._factor = room(columns, columns, dtype=torch.float64), room(columns, columns)
        # a product, in float64, and its orthonormal columns; of N numbers and of C
        self._by_v, self._wide_by_v, self._u = room(tokens, columns), room(tokens, columns, dtype=torch.float64), room(tokens, columns)
        self._by_u, self._wide_by_u, self._v = room(channels, columns), room(channels, columns, dtype=torch.float64), room(channels, columns)

    def subspace(self, x):
        """U [B, N, K] with orthonormal columns and V = xᵀ·U [B, C, K]."""
        by_v, u, by_u, v = self._by_v, self._u, self._by_u, self._v
        # squares of the largest numbers, and those over the smallest ones, are no float32: each factor is over a root of them
        grid = (triton.cdiv(self._start.numel(), _STARTED), len(x))
        run(subspace.start_kernel, grid, self._start, self.largest, v, self._start.numel(), WORDS=_STARTED)
        torch.bmm(x, v, out=by_v)
        self._orthonormal(by_v, self._wide_by_v, u, True)
        torch.bmm(x.mT, u, out=by_u)
        self._orthonormal(by_u, self._wide_by_u, v, True)
        torch.bmm(x, v, out=by_v)
        self._orthonormal(by_v, self._wide_by_v, u, False)
        # whose columns are nearly so; what is found of them lies in the product's place
        self._orthonormal(u, self._wide_by_v, by_v, False)
        return by_v, torch.bmm(x.mT, by_v, out=by_u)

    def _orthonormal(self, product, wide, found, divides):
        """``found`` becomes the orthonormal columns of a ``product``; ``divides``: over the root of ``residual.scale_of_block``."""
        if self._rank > _MOST_RANK:
            found[:, :, : self._rank] = torch.linalg.qr(product[:, :, : self._rank])[0]
            if divides:
                least = torch.finfo(torch.float32).tiny
                found.div_(self.largest.view(torch.float32).clamp(min=least).sqrt_()[:, None, None])
            return
        wide.copy_(product)
        torch.bmm(wide.mT, wide, out=self._gram)
        run(
            subspace.factor_kernel,
            (len(product),),
            self._gram,
            self.largest,
            self._factor,
            self._rank,
            DIVIDES=divides,
            SHIFT=_SHIFT,
            K=self.columns,
            num_warps=factor_warps(self.columns),
        )
        torch.bmm(product, self._factor.mT, out=found)


def factor_warps(columns):
    return max(1, min(16, columns * columns // 512))


_room = functools.cache(_Room)
