"""Launches of ``lowrank_fit``: ``codecs._factor_fit`` with its steps as kernels and the matrix products by torch, blocks of all
sections at once; and one launch that decodes.

What is small is kept for the next call of the same shape; the residual, 6 bytes an element of the call, is torch's allocator's
to keep. Nothing is read from a device: a call can be captured into a graph. Calls of one device come one after the other.
"""

import functools

import torch
import triton

from ..codecs import _factor_fit, _low_rank
from ..codecs._factor_fit import CLASSES, EDGES, FIRST_CLASS, LEVEL_UNIT, RIDGE
from . import low_rank, low_rank_residual, tiles
from .launch import OPTIONS, TYPES, interpreted, split_of, state_steps, three
from .low_rank_decode import decode_kernel

# rows of a tile of factors, turns of conjugate gradients; rows and columns of a decoded tile
_ROWS, _TURNS = 16, 4
_DECODED = (64, 64)
_PACKED_BYTES = 256


def encode(form, xs, states, message, offsets, own, order, feedback, first):
    """See ``launch.encode``."""
    peers, tokens, channels = xs[0].shape
    blocks = peers - (own < peers)
    flags = message.shape[1] - 16
    rank = form.rank(tokens, channels)
    kept = _room(message.device, blocks * len(xs), tokens, channels, rank)
    residual = torch.empty((blocks * len(xs), tokens, channels), dtype=torch.float32, device=message.device)
    x = torch.empty_like(residual, dtype=torch.float16)
    low_rank_residual.take(form, residual, kept.largest, xs, states, message, offsets, own, order, feedback, first)
    torch.clamp(kept.largest.view(torch.float32), min=torch.finfo(torch.float32).tiny, out=kept.scale)
    torch.div(residual, kept.scale[:, None, None], out=x)
    weights, u, v = _factor_fit.fit(x, rank, kept)
    low_rank.pack_kernel[(2 * rank + 2, blocks, len(xs))](
        weights,
        kept.scale,
        u.levels,
        u.classes,
        v.levels,
        v.classes,
        message,
        *three(offsets),
        message.stride(0),
        flags,
        tokens,
        channels,
        own,
        peers,
        rank,
        form.most_sent_unit,
        MOST_WEIGHT=form.most_weight,
        BYTES=_PACKED_BYTES,
        K=kept.columns,
        **OPTIONS,
    )
    if order > 0 and feedback:
        decode(form, [], states, message, offsets, own, order, tokens, channels, xs[0].dtype)


def decode(form, outs, states, message, offsets, own, order, tokens, channels, dtype):
    """See ``launch.decode``. Beside states in 8 bits a sender has no ``outs``."""
    eight_bit, *steps = state_steps(states, order, tokens, channels, dtype)
    split = split_of(channels, channels, 1, order, eight_bit) or channels
    rank, (rows, columns) = form.rank(tokens, channels), _DECODED
    grid = (
        triton.cdiv(tokens, rows) * (triton.cdiv(split, columns) + triton.cdiv(channels - split, columns)),
        message.shape[0] - (own < message.shape[0]),
        len(states or outs),
    )
    decode_kernel[grid](
        *three(outs or states),
        *three(states or outs),
        message,
        *three(offsets),
        message.stride(0),
        *steps,
        form.codec.payload_bytes(tokens, channels, dtype.itemsize),
        tokens,
        own,
        CHANNELS=channels,
        RANK=rank,
        K=_columns(rank),
        ROWS=rows,
        COLUMNS=columns,
        SPLIT=split,
        SIZES=tuple(int(size) for size in CLASSES),
        MOST_WEIGHT=int(form.most_weight),
        MOST_UNIT=form.most_unit,
        DTYPE=TYPES[dtype],
        ORDER=order,
        EIGHT_BIT=eight_bit,
        USED=bool(outs),
        SOFT=interpreted(),
        num_warps=8,
        **OPTIONS,
    )


def _columns(rank):
    return max(16, tiles.power_of_two(rank))


class _Room(_factor_fit.Steps):
    """The steps of a fit as launches, and what they write: for blocks [B, N, C] of one shape and rank."""

    def __init__(self, device, blocks, tokens, channels, rank):
        columns = self.columns = _columns(rank)
        self._rank = rank

        def room(*shape, dtype=torch.float16):
            return torch.zeros((blocks, *shape), dtype=dtype, device=device)

        self.largest, self.scale = room(dtype=torch.int32), room(dtype=torch.float32)
        self._start = room(channels, columns)
        self._start[:, :, :rank] = _low_rank.start(channels, rank, device) / low_rank.UNIT
        self._identity = room(columns, columns)
        self._identity.diagonal(dim1=1, dim2=2).fill_(low_rank.UNIT**-2)
        self._ones, self._weights = room(columns, dtype=torch.float32).fill_(1.0), room(columns, dtype=torch.float32)
        self._u, self._v = (
            _factor_fit.Factor(room(length, dtype=torch.uint8), room(length, columns, dtype=torch.int8), room(length, columns))
            for length in (tokens, channels)
        )
        self._by_v, self._by_u = room(tokens, columns), room(channels, columns)
        self._gram_u, self._gram_v = room(columns, columns), room(columns, columns)

    def begin(self, x, rank):
        return torch.bmm(x, self._start, out=self._by_v), self._identity, self._ones

    def by_v(self, x, v):
        return torch.bmm(x, v.whole, out=self._by_v)

    def by_u(self, x, u):
        return torch.bmm(x.mT, u.whole, out=self._by_u)

    def gram(self, factor):
        return torch.bmm(factor.whole.mT, factor.whole, out=self._gram_u if factor is self._u else self._gram_v)

    def weights(self, gram_u, gram_v, by_v, u):
        low_rank.weights_kernel[(len(by_v),)](
            gram_u,
            gram_v,
            by_v,
            u.whole,
            self._weights,
            by_v.shape[1],
            self._rank,
            RIDGE,
            TURNS=_TURNS,
            ROWS=_ROWS,
            K=self.columns,
            num_warps=_warps(self.columns),
        )
        return self._weights

    def nearer(self, factor, target, gram, weights, last):
        found, length = self._u if target is self._by_v else self._v, target.shape[1]
        grid = (triton.cdiv(length, _ROWS), len(target))
        tensors = (target, gram, weights, found.levels, found.classes, found.whole)
        common = {"SIZES": CLASSES, "ROWS": _ROWS, "K": self.columns}
        low_rank.nearer_kernel[grid](
            *tensors,
            length,
            self._rank,
            RIDGE,
            LEVEL_UNIT,
            FIRST=factor is None,
            FIRST_CLASS=FIRST_CLASS,
            EDGES=EDGES,
            TURNS=_TURNS,
            num_warps=_warps(self.columns),
            **common,
        )
        if last:
            low_rank.revise_kernel[grid](*tensors, length, self._rank, num_warps=8, **common)
        return found


def _warps(columns):
    return 8 if columns > 64 else 4


_room = functools.cache(_Room)
