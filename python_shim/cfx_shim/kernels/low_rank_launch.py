"""Launches of ``lowrank_fit``: ``codecs._factor_fit`` with a launch for each factor of a turn, blocks of all sections at once; and one
launch that decodes.

What is small is kept for the next call of the same shape; the residual, 2 bytes an element of the call, is torch's allocator's
to keep. Nothing is read from a device: a call can be captured into a graph. Calls of one device come one after the other.
"""

import functools
from typing import NamedTuple

import torch
import triton

from ..codecs import _factor_fit, _low_rank
from ..codecs._factor_fit import CLASSES, EDGES, FIRST_CLASS, LEVEL_UNIT, RIDGE
from . import low_rank, residual_launch, tiles
from .launch import OPTIONS, TYPES, interpreted, split_of, state_steps, three
from .low_rank_decode import decode_kernel

# rows of a factor that a program finds, and turns of conjugate gradients; numbers of the other one that it takes at a time
_ROWS, _TURNS, _INNER = 16, 4, 8192
# rows that a program stores; rows and columns of a decoded tile
_PACKED_ROWS, _DECODED = 32, (64, 64)


def encode(form, xs, states, message, offsets, own, order, feedback, first):
    """See ``launch.encode``."""
    peers, tokens, channels = xs[0].shape
    blocks, rank = peers - (own < peers), form.rank(tokens, channels)
    kept = _room(message.device, blocks * len(xs), tokens, channels, rank, _factor_fit.ROUNDS + 1)
    x = torch.empty((blocks * len(xs), tokens, channels), dtype=torch.float16, device=message.device)
    call = kept.largest, xs, states, message, offsets, own, order
    residual_launch.begin(form, kept.sums, xs, states, message, offsets, own, order, first)
    residual_launch.take(form, None, *call, measures=True, follows=False)
    residual_launch.take(form, x, *call, measures=False, follows=not feedback)
    weights, u, v = _factor_fit.fit(x, rank, kept)
    low_rank.pack_kernel[(triton.cdiv(tokens, _PACKED_ROWS) + triton.cdiv(channels, _PACKED_ROWS), blocks, len(xs))](
        weights.shares,
        u.gram,
        v.gram,
        kept.largest,
        u.levels,
        u.classes,
        v.levels,
        v.classes,
        message,
        *three(offsets),
        message.stride(0),
        message.shape[1] - 16,
        tokens,
        channels,
        _stride(tokens),
        _stride(channels),
        own,
        peers,
        rank,
        RIDGE,
        form.most_sent_unit,
        MOST_WEIGHT=form.most_weight,
        TURNS=_TURNS,
        ROWS=_PACKED_ROWS,
        K=kept.columns,
        num_warps=_warps(kept.columns),
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


class _Weights(NamedTuple):
    """What weights are computed from, by who needs them next: ``shares`` [B, K] and Gram matrices [B, K, K]; None: they are 1."""

    shares: torch.Tensor
    gram_u: torch.Tensor
    gram_v: torch.Tensor


class _Room(_factor_fit.Steps):
    """The steps of a fit as launches, one for a factor, and what they write: for blocks [B, N, C] of one shape and rank."""

    def __init__(self, device, blocks, tokens, channels, rank, turns):
        columns = self.columns = _columns(rank)
        self._rank = rank

        def room(*shape, dtype):
            return torch.zeros((blocks, *shape), dtype=dtype, device=device)

        def factor(length):
            levels, whole = (room(columns, _stride(length), dtype=dtype) for dtype in (torch.int8, torch.float16))
            return _factor_fit.Factor(room(length, dtype=torch.uint8), levels, whole, None, None)

        # of a turn shares, in 64 bits, and two Gram matrices
        self.sums = torch.zeros(blocks * (turns * (2 * columns + 2 * columns * columns) + 1), dtype=torch.int32, device=device)
        shares, grams, self.largest = self.sums.split([turns * blocks * 2 * columns, 2 * turns * blocks * columns * columns, blocks])
        self._shares = shares.view(torch.int64).view(turns, blocks, columns)
        self._grams = grams.view(turns, 2, blocks, columns, columns)
        self._weights, self._u, self._v = room(columns, dtype=torch.float32), factor(tokens), factor(channels)
        start, unit = room(columns, _stride(channels), dtype=torch.float16), room(columns, columns, dtype=torch.int32)
        start[:, :rank, :channels] = _low_rank.start(channels, rank, device).T
        unit.diagonal(dim1=1, dim2=2).fill_(1)
        self._start = _factor_fit.Factor(None, None, start, unit, None)

    def begin(self, x, rank):
        self._turn = 0
        return None, self._start

    def nearer_u(self, x, u, v, weights, last):
        shares, before, _ = weights or (self._shares[0], v.gram, v.gram)
        return self._nearer(x, self._u, v, 0, (before, shares), OF_U=True, FIRST=u is None, LAST=last)

    def nearer_v(self, x, u, v, weights, last):
        # what is not read, and what is added to
        own = u.gram, self._shares[self._turn]
        return self._nearer(x, self._v, u, 1, own, OF_U=False, FIRST=v is self._start, LAST=last)

    def weights(self, u, v):
        self._turn += 1
        return _Weights(self._shares[self._turn - 1], u.gram, v.gram)

    def _nearer(self, x, room, other, side, sums, **which):
        gram, length, other_length = self._grams[self._turn, side], x.shape[1 + side], x.shape[2 - side]
        low_rank.nearer_kernel[(triton.cdiv(length, _ROWS), len(x))](
            x,
            other.whole,
            other.gram,
            gram,
            *sums,
            self._weights,
            room.levels,
            room.classes,
            room.whole,
            length,
            other_length,
            _stride(length),
            _stride(other_length),
            self._rank,
            RIDGE,
            LEVEL_UNIT,
            **which,
            FIRST_CLASS=FIRST_CLASS,
            SIZES=CLASSES,
            EDGES=EDGES,
            TURNS=_TURNS,
            ROWS=_ROWS,
            INNER=min(128, _INNER // self.columns),
            K=self.columns,
            num_warps=_warps(self.columns),
            **OPTIONS,
        )
        return room._replace(gram=gram)


def _stride(length):
    return triton.cdiv(length, 16) * 16


def _warps(columns):
    return 8 if columns > 64 else 4


_room = functools.cache(_Room)
