"""From sections to kernels: addresses, scratch, and the work split over as many threads as torch uses.

Alike sections of a message go together, all blocks of each. What a thread gets never shows in a result. Kernels run
without Python's lock; threads are started at the first message large enough to need them, and again after a fork.
"""

import ctypes
import functools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from .._contract import SECTION_ALIGN
from .. import codecs, state
from ..codecs import _factor_fit, _log_scales, lowrank, lowrank_fit, lowrank_int4
from ..kernels import formats
from . import library, low_rank_room, shared, tables

_KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
# elements from which another thread pays; numbers that a batch of rows, and the sums of a strip of channels, may be
_LEAST_ELEMENTS, _BATCH, _SUMS = 1 << 17, 1 << 13, 1 << 13
_STRIP, _SUM_LANES, _VECTOR = 512, 64, 16

# of a factor's number, by the class of the codec; factors but those of 2 bits are found in plain torch
_FACTOR_BITS = {lowrank_fit.LowRankFit: 2, lowrank_int4.LowRankInt4: 4, lowrank.LowRank: 16}

_own = threading.local()
_pools = {}
os.register_at_fork(after_in_child=_pools.clear)


def takes(codec, order, blocks, keyframe=False):
    """Whether the kernels are there and can code ``blocks`` [P, N, C] with native state, or send them as a ``keyframe``.

    Scales from |x| take a pass of their own behind a prediction, which no kernel makes.
    """
    if library.kernels() is None or blocks.device.type != "cpu" or blocks.dtype not in _KINDS or not blocks.numel():
        return False
    if _factor_bits(codec):
        return order < 2 and not keyframe
    form = formats.of(codec)
    return form is not None and form.codes(order, True, keyframe)


def encode(xs, states, message, offsets, own, codec, order, feedback, first, keyframe=False, continues=False):
    """See ``kernels.launch.encode``. Any channels that are side by side."""
    if _factor_bits(codec) > 2:
        return _find_factors(xs, states, message, offsets, own, codec, order, feedback, first)
    kernels, x = library.kernels(), xs[0]
    peers, tokens, channels = x.shape
    blocks = peers - (own < peers)
    steps = x.stride(0), x.stride(1), message.stride(0)
    common, strips, scratch = _common(
        codec, order, feedback, x.dtype, blocks, own, tokens, channels, *steps, keyframe, continues
    )
    sections, count = _sections(xs, states, message, offsets), len(xs) * blocks
    workers = _workers(count * tokens * channels)
    if strips:
        _run(kernels["statistics_kernel"], common, sections, count * strips, workers, scratch)
    seen = _run(kernels[_name(codec, "encode")], common, sections, count * tokens, workers, scratch)
    if seen or first:
        _set_flags(message, seen)


def _set_flags(message, seen):
    flag = message.data_ptr() + message.shape[1] - SECTION_ALIGN
    for peer in range(message.shape[0]):
        ctypes.c_uint8.from_address(flag + peer * message.stride(0)).value = seen


def _find_factors(xs, states, message, offsets, own, codec, order, feedback, first):
    """``encode`` where plain torch finds the factors. Bases move as a receiver's do."""
    coder, (peers, tokens, channels), seen = codecs.load(codec), xs[0].shape, False
    size = coder.payload_bytes(tokens, channels, xs[0].element_size())
    ranks = [rank for rank in range(peers) if rank != own]
    for x, base, offset in zip(xs, states or xs, offsets):
        for block, rank in enumerate(ranks):
            residual = x[rank, None].float()
            if order > 0:
                residual = residual - base[block, None]
            seen |= bool(coder.encode(residual, message[rank, None, offset : offset + size]))
        if order > 0 and not feedback:
            base.copy_(x[ranks])
    if order > 0 and feedback:
        decode(None, states, message, offsets, own, codec, order, tokens, channels, xs[0].dtype)
    if seen or first:
        _set_flags(message, seen)


def decode(outs, states, message, offsets, own, codec, order, tokens, channels, dtype, keyframe=False, continues=False):
    """See ``kernels.launch.decode``."""
    targets, peers = states or outs, message.shape[0]
    blocks = peers - (own < peers)
    steps = 0, 0, message.stride(0)
    common, _, scratch = _common(codec, order, True, dtype, blocks, own, tokens, channels, *steps, keyframe, continues)
    sections, count = _sections(targets, targets, message, offsets), len(targets) * blocks
    kernel = library.kernels()[_name(codec, "decode")]
    _run(kernel, common, sections, count * tokens, _workers(count * tokens * channels), scratch)


@functools.cache
def _common(
    codec, kept_order, feedback, dtype, blocks, own, tokens, channels, x_block_step, x_token_step, message_step, keyframe,
    continues,
):  # fmt: skip
    """(what kernels are told of sections alike, strips of channels in a block, bytes of scratch that a thread needs)."""
    form, item = formats.of(codec), dtype.itemsize
    # with order 0 what is decoded lies as a base would
    kept = state.layout(state.NATIVE, max(1, kept_order), tokens, channels, dtype)
    # groups of the trend's channels go on from one part into the other where both are whole ones
    split = min(channels, _log_scales.group_channels(channels))
    if kept_order < 2 or split % state.GROUP == 0:
        split = channels
    numbers = {
        shared.KIND: _KINDS[dtype],
        shared.ITEM_BYTES: item,
        shared.TOKENS: tokens,
        shared.CHANNELS: channels,
        shared.BLOCKS: blocks,
        shared.OWN: own,
        shared.X_BLOCK_STEP: x_block_step * item,
        shared.X_TOKEN_STEP: x_token_step * item,
        shared.STATE_BLOCK_STEP: math.prod(kept.shape(1)) * kept.stored.itemsize,
        shared.TREND_AT: kept.trend_at if kept_order == 2 else 0,
        shared.MESSAGE_STEP: message_step,
        shared.SPLIT: split,
        shared.STARTS: kept_order if keyframe else 0,
        shared.CONTINUES: continues,
    }
    if _factor_bits(codec):
        return _of_low_rank(codec, numbers | {shared.ORDER: kept_order, shared.FEEDBACK: feedback})
    if not isinstance(form, formats.Format):
        return _without_scales_of_channels(form, numbers, kept_order, feedback, channels, split)
    order = 0 if keyframe else kept_order
    middle = min(channels, form.group_channels(channels))
    sums = 3 if order == 2 else 1
    strip = min(_STRIP, channels)
    lanes = _SUM_LANES
    while lanes > 8 and lanes * strip * sums > _SUMS:
        lanes //= 2
    width = sum(-(-size // _VECTOR) * _VECTOR for size in (middle, channels - middle))
    # of a trellis each token of a batch has a lane, busy or not
    batch = _VECTOR if form.trellis else max(1, min(_VECTOR, _BATCH // width))
    numbers |= {
        shared.ORDER: order,
        shared.FEEDBACK: feedback,
        shared.MIDDLE: middle,
        shared.HALF_SCALES: form.half_scales,
        shared.BITS: form.bits,
        shared.RAGGED: middle % _VECTOR > 0 or channels % _VECTOR > 0,
        shared.V_BIAS: _log_scales.V_BIAS,
        shared.U_BIAS: _log_scales.U_BIAS,
        shared.STRIP: strip,
        shared.LANES: lanes,
        shared.BATCH: batch,
        shared.CODE_BYTES: form.code_bytes(channels),
        shared.TABLES: tables.digits().ctypes.data,
        shared.CENTRED: form.centred,
        shared.TRELLIS: form.trellis,
    }
    singles = {shared.MEAN_MAGNITUDE: _log_scales.MEAN_MAGNITUDE, shared.GAIN: form.gain}
    singles |= {shared.LEVELS + 8 * index: level for index, level in enumerate(form.levels)}
    singles |= {shared.THRESHOLDS + 8 * index: threshold for index, threshold in enumerate(form.thresholds)}
    strip = -(-strip // _VECTOR) * _VECTOR
    groups = _SUM_LANES // lanes
    of_statistics = 64 + 4 * strip * (3 + sums * lanes * (groups.bit_length() + 1))
    of_rows = 448 + 4 * width * (5 + 3 * batch)
    if form.trellis:
        # planes of a batch, in whole vectors of words, and of one token's signs and sizes
        of_rows += shared.PATHS_BYTES + -(-channels // (32 * _VECTOR)) * 64 * (batch * form.bits + form.bits + 1) + 64
    strips = sum(-(-part // numbers[shared.STRIP]) for part in (split, channels - split))
    return _Kept(numbers, singles), strips, max(of_statistics, of_rows)


def _without_scales_of_channels(form, numbers, order, feedback, channels, split):
    """``_common`` of a codec that takes no statistics. Parts of a byte an element are those of the state's groups."""
    if isinstance(form, formats.Largest):
        return _Kept(numbers | {shared.ORDER: order, shared.FEEDBACK: feedback}, {}), 0, 192 + 2 * 4 * _VECTOR * _VECTOR
    singles = {shared.MOST: form.most, shared.LARGEST_SCALE: form.largest_scale}
    numbers |= {shared.MIDDLE: split, shared.FLOATS: form.floats}
    return _Kept(numbers, singles), 0, 128 + 3 * 4 * (channels + 2 * _VECTOR)


def _of_low_rank(codec, numbers):
    """``_common`` of factors. Those that are searched for take as much scratch as two blocks in float32."""
    tokens, channels, bits = numbers[shared.TOKENS], numbers[shared.CHANNELS], _factor_bits(codec)
    rank = codecs.load(codec).rank(tokens, channels)
    numbers |= {shared.RANK: rank, shared.BITS: bits}
    if bits > 2:
        return _Kept(numbers, {}), 0, low_rank_room.decode_bytes(channels, rank)
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
    return _Kept(numbers, singles), 0, low_rank_room.encode_bytes(tokens, channels, rank)


def _factor_bits(codec):
    """0 where there are no factors."""
    return _FACTOR_BITS.get(type(codecs.load(codec)), 0)


def _name(codec, end):
    """Of the kernel that does the codec's "encode" or "decode"."""
    family = {formats.PerToken: "per_token_", formats.Largest: "topk_"}.get(type(formats.of(codec)), "")
    return f"{'low_rank_' if _factor_bits(codec) else family}{end}_kernel"


class _Kept:
    """What kernels are told: place -> whole number, and place -> float32, in memory whose address they are given."""

    def __init__(self, numbers, singles):
        memory = self._memory = np.zeros(shared.COMMON_BYTES // 8, dtype=np.int64)
        for place, number in numbers.items():
            memory[place // 8] = number
        for place, single in singles.items():
            memory.view(np.float32)[place // 4] = single
        self.address = memory.ctypes.data


def _sections(xs, states, message, offsets):
    start = message.data_ptr()
    addresses = []
    for x, state, offset in zip(xs, states or xs, offsets):
        addresses += x.data_ptr(), state.data_ptr(), start + offset
    return (ctypes.c_int64 * len(addresses))(*addresses)


def _run(kernel, common, sections, count, workers, scratch):
    """``kernel`` over ``count`` pieces of work in ``workers`` parts; whether any of them gave other than 0."""
    told, addresses = common.address, ctypes.addressof(sections)

    def work(first, last):
        memory = _memory(scratch)
        kernel(memory, None, told, addresses, first, last, memory + 64)
        return ctypes.c_int64.from_address(memory).value

    if workers == 1:
        return work(0, count) != 0
    size = -(-count // workers)
    parts = [(first, min(count, first + size)) for first in range(0, count, size)]
    others = [_pool(workers - 1).submit(work, *part) for part in parts[1:]]
    return any([work(*parts[0]), *(other.result() for other in others)])


def _memory(size):
    """Address of 64 bytes for a result and ``size`` bytes of scratch of this thread's, on a cache line."""
    held = getattr(_own, "scratch", None)
    if held is None or held[0] < size:
        memory = np.empty(size + 128, dtype=np.uint8)
        held = _own.scratch = (size, memory, -(-memory.ctypes.data // 64) * 64)
    return held[2]


def _workers(elements):
    if elements < 2 * _LEAST_ELEMENTS:
        return 1
    return min(torch.get_num_threads(), elements // _LEAST_ELEMENTS)


def _pool(size):
    pool = _pools.get(size)
    if pool is None:
        pool = _pools[size] = ThreadPoolExecutor(size, "cfx-codec")
    return pool
