"""Launches of ``lowrank_fit``: ``codecs._factor_fit`` with one launch for all turns but the last, where programs can wait for each other,
or else with one for each factor; blocks of all sections at once. And one launch that decodes.

What is small is kept for the next call of the same shape; the residual, 2 bytes an element of the call, is torch's allocator's
to keep. Nothing is read from a device: a call can be captured into a graph. Calls of one device come one after the other.
"""

import functools

import torch
import triton

from ..codecs import _factor_fit, _low_rank
from ..codecs._factor_fit import CLASSES, EDGES, FIRST_CLASS, LEVEL_UNIT, RIDGE
from . import low_rank, residual_launch, side_by_side, tiles
from .launch import LANES, TYPES, interpreted, split_of, state_steps
from .low_rank_decode import decode_kernel
from .low_rank_pack import pack_kernel
from .repeat import run, scratch, three

# turns of conjugate gradients
_TURNS = 4
# rows that a program stores; rows and columns of a decoded tile
_PACKED_ROWS, _DECODED = 32, (64, 64)


def encode(form, xs, states, message, offsets, own, order, feedback, first):
    """See ``launch.encode``."""
    peers, tokens, channels = xs[0].shape
    blocks, rank = peers - (own < peers), form.rank(tokens, channels)
    kept = _room(message.device, blocks * len(xs), tokens, channels, rank, _factor_fit.ROUNDS + 1)
    x = scratch((blocks * len(xs), tokens, channels), torch.float16, message.device)
    call = kept.largest, xs, states, message, offsets, own, order
    residual_launch.begin(form, kept.sums, xs, states, message, offsets, own, order, first)
    residual_launch.take(form, None, *call, measures=True, follows=False)
    residual_launch.take(form, x, *call, measures=False, follows=not feedback)
    _search(kept, x, message)
    run(
        pack_kernel,
        (triton.cdiv(tokens, _PACKED_ROWS) + triton.cdiv(channels, _PACKED_ROWS), blocks, len(xs)),
        kept.shares[-1],
        *kept.grams[-1],
        kept.largest,
        *kept.factors(),
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
    )


# rows of a factor that a program finds, numbers of the other one that it takes at a time, and how many times it reads ahead
REVISE_TILES = {"ROWS": 16, "INNER": 128, "STAGES": 2}


def search_tiles(columns, capability=None):
    """As many rows as registers have room for, on a GPU of that CUDA ``capability``: fewer programs then add to the same sums."""
    if LANES > 32 or columns > 64 and capability != (9, 0):
        return REVISE_TILES
    return {"ROWS": 32, "INNER": 64, "STAGES": 4} if columns == 64 else {"ROWS": 32, "INNER": 128, "STAGES": 3}


@functools.cache
def _capability(device):
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


def _columns(rank):
    return max(16, tiles.power_of_two(rank))


def _search(kept, x, message):
    """``kept``'s factors become those of ``x`` [B, N, C] float16. Flags are set where programs waited in vain."""
    blocks, *lengths = x.shape
    found = x, kept.whole, kept.grams, kept.shares, kept.weights, kept.levels, kept.classes
    sizes = blocks, *lengths, *map(_stride, lengths), kept.rank, RIDGE, LEVEL_UNIT
    known = {
        "FIRST_CLASS": FIRST_CLASS,
        "SIZES": CLASSES,
        "EDGES": EDGES,
        "TURNS": _TURNS,
        "K": kept.columns,
    }
    search, revise = search_tiles(kept.columns, _capability(x.device)), REVISE_TILES
    tiles_of, revised = ([triton.cdiv(length, each["ROWS"]) for length in lengths] for each in (search, revise))
    last = len(kept.shares) - 1
    flags = kept.arrived, message, message.stride(0), message.shape[1] - 16, len(message)
    together = min(side_by_side.programs(x.device), blocks * max(tiles_of))
    if together:
        run(low_rank.search_kernel, (together,), *found, *flags, 0, 2 * last, *sizes, **known, **search, **side_by_side.OPTIONS)
    else:
        for number in range(2 * last):
            grid = (blocks * tiles_of[number % 2],)
            warps = 8 if LANES == 32 else _warps(kept.columns)
            run(low_rank.search_kernel, grid, *found, *flags, number, number + 1, *sizes, **known, **search, num_warps=warps)
    for side, count in enumerate(revised):
        side_of = {"OF_V": side == 1, "num_warps": _warps(kept.columns)}
        run(low_rank.revise_kernel, (count, blocks), *found, last, *sizes, **side_of, **known, **revise)


class _Room:
    """What a search reads and writes beside x, of blocks [B, N, C] of one shape and rank: see ``low_rank.search_kernel``."""

    def __init__(self, device, blocks, tokens, channels, rank, turns):
        columns = self.columns = _columns(rank)
        self.rank = rank

        def room(size, dtype):
            return torch.zeros(size, dtype=dtype, device=device)

        of_u, of_v = (blocks * columns * _stride(length) for length in (tokens, channels))
        self._split = [of_u, of_v], [blocks * tokens, blocks * channels]
        self.whole, self.levels = room(of_u + 2 * of_v, torch.float16), room(of_u + of_v, torch.int8)
        self.classes, self.weights = room(blocks * (tokens + channels), torch.uint8), room(blocks * columns, torch.float32)
        start = self.whole[of_u + of_v :].view(blocks, columns, -1)
        start[:, :rank, :channels] = _low_rank.start(channels, rank, device).T
        # Gram matrices to begin with, and behind them what every call begins with as 0
        matrices = 2 * blocks * columns * columns
        sizes = [matrices * (1 + turns), 2 * turns * blocks * columns, blocks, 1]
        memory = room(sum(sizes), torch.int32)
        self.sums = memory[matrices:]
        grams, shares, self.largest, self.arrived = memory.split(sizes)
        self.grams = grams.view(1 + turns, 2, blocks, columns, columns)
        self.grams[0].diagonal(dim1=2, dim2=3).fill_(1)
        # in 64 bits
        self.shares = shares.view(torch.int64).view(turns, blocks, columns)

    def factors(self):
        """Levels and classes of U and then of V."""
        (levels_u, levels_v), (classes_u, classes_v) = map(torch.split, (self.levels, self.classes), self._split)
        return levels_u, classes_u, levels_v, classes_v


def _stride(length):
    return triton.cdiv(length, 16) * 16


def _warps(columns):
    return 8 if columns > 64 else 4


_room = functools.cache(_Room)
