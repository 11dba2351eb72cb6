"""What kernels are told of a call: its shapes, and its codec's constants and tables; and which kernels it takes.

All of it follows from the codec, the shape and the strides, and is kept.
"""

import functools
import math

import numpy as np
import torch

from .. import codecs, state, statistics
from ..codecs import _factor_fit, _log_scales, _sample, int4, lowrank, lowrank_fit, lowrank_int4
from ..kernels import formats
from . import library, low_rank_room, shared, tables

KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
# sums that are added to in turn; bytes of a block that stays in a core's own cache
_SUMS, _CACHED = 1 << 17, 1 << 19
# channels of a strip
_NARROWEST, _WIDEST = 512, 4096
_SUM_LANES, _VECTOR = 64, 16
# of a factor's number, by the class of the codec
_FACTOR_BITS = {lowrank_fit.LowRankFit: 2, lowrank_int4.LowRankInt4: 4, lowrank.LowRank: 16}


@functools.cache
def of_call(
    codec, kept_order, feedback, dtype, blocks, own, tokens, channels, x_block_step, x_token_step, message_step, keyframe,
    continues, eight_bit=False, alone=False, taken=statistics.EXACT, history_step=0, shares=1,
):  # fmt: skip
    """(what kernels are told of sections alike, strips of channels in a block, bytes of scratch that a thread needs).

    ``eight_bit``: of how the state is kept. ``taken``: what statistics are of, as in ``cfx_shim.statistics``; ``history_step``:
    bytes from one block's history to the next, or 0 where none is kept.

    ``alone``: one thread codes all of it, block by block, and what encodes takes a block's statistics itself. ``shares``: into so many
    strips, if they are not too narrow, a block is split for threads to take its statistics.
    """
    form, item = formats.of(codec), dtype.itemsize
    # with order 0 what is decoded lies as a base would
    kept = state.layout(state.INT8 if eight_bit else state.NATIVE, max(1, kept_order), tokens, channels, dtype)
    # groups of the trend's channels go on from one part into the other where both are whole ones
    split = min(channels, _log_scales.group_channels(channels))
    if kept_order < 2 or eight_bit or split % state.GROUP == 0:
        split = channels
    numbers = {
        shared.KIND: KINDS[dtype],
        shared.ITEM_BYTES: item,
        shared.TOKENS: tokens,
        shared.CHANNELS: channels,
        shared.BLOCKS: blocks,
        shared.OWN: own,
        shared.X_BLOCK_STEP: x_block_step * item,
        shared.X_TOKEN_STEP: x_token_step * item,
        shared.STATE_BLOCK_STEP: math.prod(kept.shape(1)) * kept.stored.itemsize,
        shared.TREND_AT: kept.trend_at if kept_order == 2 and not eight_bit else 0,
        shared.EIGHT_BIT: kept_order if eight_bit else 0,
        shared.MESSAGE_STEP: message_step,
        shared.SPLIT: split,
        shared.STARTS: kept_order if keyframe else 0,
        shared.CONTINUES: continues,
        shared.STRIP: min(channels, _WIDEST, max(_NARROWEST, _in_spans(-(-channels // shares)))),
    }
    sample = numbers[shared.HISTORY_TAKEN], numbers[shared.HISTORY_STRIDE] = _sample.of_tokens(tokens)
    numbers[shared.TAKEN], numbers[shared.STRIDE] = sample if taken == statistics.SAMPLED else (tokens, 1)
    numbers |= {shared.HISTORY_STEP: history_step, shared.FROM_HISTORY: taken == statistics.PREVIOUS}
    if factor_bits(codec):
        return _of_low_rank(codec, numbers | {shared.ORDER: kept_order, shared.FEEDBACK: feedback}, split)
    order = 0 if keyframe else kept_order
    numbers |= {
        shared.ORDER: order,
        shared.FEEDBACK: feedback,
        shared.BETAS_AT: tokens * form.token_bytes(channels) + channels * form.channel_bytes,
        shared.SCALES: form.channel_bytes,
    }
    if not isinstance(form, formats.Format):
        return _without_scales_of_channels(form, numbers, order, channels, split)
    # the parts of a row are those of its scales, or of the trend where there is one scale
    middle = split if form.half_scales and order == 2 else min(channels, form.group_channels(channels))
    numbers, strips, of_statistics = _statistics(numbers, order, channels, split)
    width = sum(-(-size // _VECTOR) * _VECTOR for size in (middle, channels - middle))
    # of a trellis each token of a batch has a lane, busy or not
    batch = _VECTOR if form.trellis else max(1, min(_VECTOR, shared.BATCH_NUMBERS // width))
    numbers |= {
        shared.MIDDLE: middle,
        shared.HALF_SCALES: form.half_scales,
        shared.BITS: form.bits,
        shared.RAGGED: middle % _VECTOR > 0 or channels % _VECTOR > 0,
        shared.V_BIAS: _log_scales.V_BIAS,
        shared.U_BIAS: _log_scales.U_BIAS,
        shared.BATCH: batch,
        shared.TABLES: tables.digits().ctypes.data,
        shared.CENTRED: form.centred,
        shared.TRELLIS: form.trellis,
    }
    singles = {shared.MEAN_MAGNITUDE: _log_scales.MEAN_MAGNITUDE, shared.GAIN: form.gain}
    singles |= {shared.LEVELS + 8 * index: level for index, level in enumerate(form.levels)}
    singles |= {shared.THRESHOLDS + 8 * index: threshold for index, threshold in enumerate(form.thresholds)}
    of_rows = shared.ROWS_AT + 4 * width * (5 + 3 * batch)
    if form.trellis:
        # planes of a batch, in whole vectors of words, and of one token's signs and sizes
        of_rows += shared.PATHS_BYTES + -(-channels // (32 * _VECTOR)) * 64 * (batch * form.bits + form.bits + 1) + 64
    scratch = max(of_statistics, of_rows, shared.history_bytes(width) if history_step else 0)
    if taken == statistics.PREVIOUS:
        strips = 0
    elif alone:
        numbers[shared.WITH_STATISTICS] = True
        rows_are_read_whole = strips == 1 and not numbers[shared.RAGGED] and dtype == torch.float32
        if form.half_scales and order == 1 and rows_are_read_whole and not eight_bit and taken == statistics.EXACT:
            numbers[shared.SUMS_AT] = scratch = -(-scratch // 64) * 64
            scratch += 2 * shared.sums_bytes(tokens)
        strips = 0
    return Told(numbers, singles), strips, scratch


def _in_spans(channels):
    return -(-channels // shared.SUM_SPAN) * shared.SUM_SPAN


def _statistics(numbers, order, channels, split):
    """(``numbers`` and those that statistics need, strips of channels in a block, bytes of scratch) at residual ``order``."""
    strip = numbers[shared.STRIP]
    row, sums, lanes = _in_spans(strip), 3 if order == 2 else 1, _SUM_LANES
    while lanes > 1 and lanes * row * sums > _SUMS:
        lanes //= 2
    # of groups that are folded in halves no more wait than their number has bits
    room = 64 + 4 * (3 * shared.SUM_SPAN * shared.SUM_TOKENS + row * (2 + sums * lanes * (_SUM_LANES // lanes).bit_length()))
    strips = sum(-(-part // strip) for part in (split, channels - split))
    # tokens of a lane are often a multiple of what a cache's ways are apart, so of a large block few fit in it at once
    block_bytes = numbers[shared.TOKENS] * channels * numbers[shared.ITEM_BYTES]
    at_once = shared.SUM_TOKENS if block_bytes <= _CACHED else 2
    return numbers | {shared.LANES: lanes, shared.TOKENS_AT_ONCE: at_once}, strips, room


def _without_scales_of_channels(form, numbers, order, channels, split):
    """``of_call`` of a codec whose only statistics are a prediction's. Parts of a byte an element are those of the state's groups."""
    numbers, strips, room = _statistics(numbers, order, channels, split) if order == 2 else (numbers, 0, 0)
    row = 4 * (channels + 2 * _VECTOR)
    if isinstance(form, formats.Largest):
        return Told(numbers, {}), strips, max(room, 192 + 2 * 4 * _VECTOR * _VECTOR + 2 * row)
    if isinstance(form, formats.GroupScales):
        return _with_scales_of_groups(numbers, channels)
    singles = {shared.MOST: form.most, shared.LARGEST_SCALE: form.largest_scale}
    numbers |= {shared.MIDDLE: split, shared.FLOATS: form.floats}
    return Told(numbers, singles), strips, max(room, 128 + 5 * row)


def _with_scales_of_groups(numbers, channels):
    """Of ``codecs.int4``: parts are those that its groups begin anew with."""
    first = min(channels, _log_scales.group_channels(channels))
    numbers, strips, of_statistics = _statistics(numbers, 0, channels, channels)
    numbers[shared.MIDDLE] = channels if first % int4.GROUP == 0 else first
    tables = {
        shared.LEVELS: int4.LEVELS,
        shared.THRESHOLDS: int4.THRESHOLDS,
        shared.FRACTIONS: int4.FRACTIONS,
        shared.ROOTS: int4.ROOTS,
    }
    singles = {place + 8 * index: number for place, table in tables.items() for index, number in enumerate(table)}
    of_groups = 4 * -(-len(int4.group_sizes(channels)) // _VECTOR) * _VECTOR
    scratch = 128 + 3 * 4 * (channels + 2 * _VECTOR) + 3 * of_groups
    return Told(numbers, singles), strips, max(of_statistics, scratch)


def _of_low_rank(codec, numbers, split):
    """``of_call`` of factors. Those that are searched for take as much scratch as two blocks in float32."""
    tokens, channels, bits = numbers[shared.TOKENS], numbers[shared.CHANNELS], factor_bits(codec)
    kept = codecs.load(codec)
    rank, order, strips, room = kept.rank(tokens, channels), numbers[shared.ORDER], 0, 0
    numbers |= {
        shared.RANK: rank,
        shared.BITS: bits,
        shared.BETAS_AT: kept.payload_bytes(tokens, channels, numbers[shared.ITEM_BYTES]),
    }
    if order == 2:
        numbers, strips, room = _statistics(numbers, order, channels, split)
    if bits > 2:
        return Told(numbers, {}), strips, max(room, low_rank_room.decode_bytes(channels, rank))
    form = formats.of(codec)
    numbers |= {
        shared.ROUNDS: _factor_fit.ROUNDS,
        shared.FIRST_CLASS: _factor_fit.FIRST_CLASS,
        shared.TABLES: low_rank_room.start(channels, rank).ctypes.data,
    }
    singles = {
        shared.RIDGE: _factor_fit.RIDGE,
        shared.LEVEL_UNIT: _factor_fit.LEVEL_UNIT,
        shared.MOST: form.most_weight,
        shared.LARGEST_SCALE: form.most_unit,
        shared.LARGEST_SENT: form.most_sent_unit,
    }
    singles |= {shared.LEVELS + 8 * index: size for index, size in enumerate(_factor_fit.CLASSES)}
    singles |= {shared.THRESHOLDS + 8 * index: edge for index, edge in enumerate(_factor_fit.EDGES)}
    return Told(numbers, singles), strips, max(room, low_rank_room.encode_bytes(tokens, channels, rank))


def factor_bits(codec):
    """0 where there are no factors."""
    return _FACTOR_BITS.get(type(codecs.load(codec)), 0)


def kernel_name(codec, end):
    """Of the kernel that takes the codec's "statistics", or does its "encode" or "decode"."""
    family = {formats.PerToken: "per_token_", formats.Largest: "topk_", formats.GroupScales: "int4_"}.get(type(formats.of(codec)), "")
    if factor_bits(codec):
        family = "low_rank_"
    own = f"{family}{end}_kernel"
    # what only a prediction needs is the same for all
    return own if own in library.KERNELS else f"{end}_kernel"


class Told:
    """What kernels are told: place -> whole number, and place -> float32, in memory whose address they are given."""

    def __init__(self, numbers, singles):
        memory = self._memory = np.zeros(shared.COMMON_BYTES // 8, dtype=np.int64)
        for place, number in numbers.items():
            memory[place // 8] = number
        for place, single in singles.items():
            memory.view(np.float32)[place // 4] = single
        self.address = memory.ctypes.data
