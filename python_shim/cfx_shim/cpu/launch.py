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
from .. import state
from ..codecs import _log_scales, int4
from ..kernels import formats
from . import library, shared, tables

_KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
# elements from which another thread pays; numbers that a batch of rows, and the sums of a strip of channels, may be
_LEAST_ELEMENTS, _BATCH, _SUMS = 1 << 17, 1 << 13, 1 << 13
_STRIP, _SUM_LANES, _VECTOR = 512, 64, 16

_own = threading.local()
_pools = {}
os.register_at_fork(after_in_child=_pools.clear)


def takes(codec, order, blocks, keyframe=False):
    """Whether the kernels are there and can code ``blocks`` [P, N, C] with native state, or send them as a ``keyframe``."""
    if library.kernels() is None or blocks.device.type != "cpu" or blocks.dtype not in _KINDS or not blocks.numel():
        return False
    form = formats.of(codec)
    if form is None or isinstance(form, formats.LowRank):
        return False
    return form.codes(order, True, keyframe)


class Encoding:
    """See ``kernels.ops.Encoding``. Any channels that are side by side."""

    def __init__(
        self, xs, states, message, offsets, own, codec, order, feedback, first, keyframe=False, continues=False
    ):  # fmt: skip
        x = xs[0]
        peers, tokens, channels = x.shape
        blocks = peers - (own < peers)
        steps = x.stride(0), x.stride(1), message.stride(0)
        self._common, strips, self._scratch = _common(
            codec, order, feedback, x.dtype, blocks, own, tokens, channels, *steps, keyframe, continues
        )
        self._sections, count = _Sections(xs, states, message, offsets), len(xs) * blocks
        self._elements, kernels = count * tokens * channels, library.kernels()
        self._passes = [(kernels[_name(codec, "statistics")], count * strips)] if strips else []
        self._passes.append((kernels[_name(codec, "encode")], count * tokens))
        self._first = first
        flag = message.data_ptr() + message.shape[1] - SECTION_ALIGN
        self._flags = [ctypes.c_uint8.from_address(flag + peer * message.stride(0)) for peer in range(peers)]

    def __call__(self, xs):
        self._sections.take(xs)
        workers = _workers(self._elements)
        for kernel, count in self._passes:
            seen = _run(kernel, self._common, self._sections, count, workers, self._scratch)
        if seen or self._first:
            for flag in self._flags:
                flag.value = seen


class Decoding:
    """See ``kernels.ops.Decoding``."""

    def __init__(
        self, states, message, offsets, own, codec, order, tokens, channels, dtype, keyframe=False, continues=False
    ):  # fmt: skip
        peers = message.shape[0]
        blocks = peers - (own < peers)
        steps = 0, 0, message.stride(0)
        self._common, _, self._scratch = _common(
            codec, order, True, dtype, blocks, own, tokens, channels, *steps, keyframe, continues
        )
        self._sections, count = _Sections(offsets, states, message, offsets), len(offsets) * blocks
        self._count, self._elements = count * tokens, count * tokens * channels
        self._kernel, self._moves = library.kernels()[_name(codec, "decode")], bool(states)

    def __call__(self, outs):
        if not self._moves:
            self._sections.take(outs)
        _run(self._kernel, self._common, self._sections, self._count, _workers(self._elements), self._scratch)


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
    order = 0 if keyframe else kept_order
    numbers |= {
        shared.ORDER: order,
        shared.FEEDBACK: feedback,
        shared.TOKEN_BYTES: form.token_bytes(channels),
        shared.SCALES: form.channel_bytes,
    }
    if not isinstance(form, formats.Format):
        return _without_scales_of_channels(form, numbers, order, channels, split)
    # the parts of a row are those of its scales, or of the trend where there is one scale
    middle = split if form.half_scales and order == 2 else min(channels, form.group_channels(channels))
    numbers, strips, of_statistics = _statistics(numbers, order, channels, split)
    width = sum(-(-size // _VECTOR) * _VECTOR for size in (middle, channels - middle))
    # of a trellis each token of a batch has a lane, busy or not
    batch = _VECTOR if form.trellis else max(1, min(_VECTOR, _BATCH // width))
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
    of_rows = 448 + 4 * width * (5 + 3 * batch)
    if form.trellis:
        # planes of a batch, in whole vectors of words, and of one token's signs and sizes
        of_rows += shared.PATHS_BYTES + -(-channels // (32 * _VECTOR)) * 64 * (batch * form.bits + form.bits + 1) + 64
    return _Kept(numbers, singles), strips, max(of_statistics, of_rows)


def _statistics(numbers, order, channels, split):
    """(``numbers`` and those that statistics need, strips of channels in a block, bytes of scratch) at residual ``order``."""
    sums = 3 if order == 2 else 1
    strip = min(_STRIP, channels)
    lanes = _SUM_LANES
    while lanes > 8 and lanes * strip * sums > _SUMS:
        lanes //= 2
    whole, groups = -(-strip // _VECTOR) * _VECTOR, _SUM_LANES // lanes
    room = 64 + 4 * whole * (4 + sums * lanes * (groups.bit_length() + 1))
    strips = sum(-(-part // strip) for part in (split, channels - split))
    return numbers | {shared.STRIP: strip, shared.LANES: lanes}, strips, room


def _without_scales_of_channels(form, numbers, order, channels, split):
    """``_common`` of a codec whose only statistics are a prediction's. Parts of a byte an element are those of the state's groups."""
    numbers, strips, room = _statistics(numbers, order, channels, split) if order == 2 else (numbers, 0, 0)
    row = 4 * (channels + 2 * _VECTOR)
    if isinstance(form, formats.Largest):
        return _Kept(numbers, {}), strips, max(room, 192 + 2 * 4 * _VECTOR * _VECTOR + 2 * row)
    if isinstance(form, formats.GroupScales):
        return _with_scales_of_groups(numbers, channels)
    singles = {shared.MOST: form.most, shared.LARGEST_SCALE: form.largest_scale}
    numbers |= {shared.MIDDLE: split, shared.FLOATS: form.floats}
    return _Kept(numbers, singles), strips, max(room, 128 + 5 * row)


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
    return _Kept(numbers, singles), strips, max(of_statistics, scratch)


def _name(codec, end):
    """Of the kernel that takes the codec's "statistics", or does its "encode" or "decode"."""
    family = {formats.PerToken: "per_token_", formats.Largest: "topk_", formats.GroupScales: "int4_"}.get(type(formats.of(codec)), "")
    own = f"{family}{end}_kernel"
    # what only a prediction needs is the same for all
    return own if own in library.KERNELS else f"{end}_kernel"


class _Kept:
    """What kernels are told: place -> whole number, and place -> float32, in memory whose address they are given."""

    def __init__(self, numbers, singles):
        memory = self._memory = np.zeros(shared.COMMON_BYTES // 8, dtype=np.int64)
        for place, number in numbers.items():
            memory[place // 8] = number
        for place, single in singles.items():
            memory.view(np.float32)[place // 4] = single
        self.address = memory.ctypes.data


class _Sections:
    """Addresses of each section: x's, its state's, its payload's. Without states x, or what is decoded, is in their place."""

    def __init__(self, xs, states, message, offsets):
        start, size = message.data_ptr(), shared.SECTION_BYTES // 8
        self._addresses = (ctypes.c_int64 * (size * len(xs)))()
        self.address = ctypes.addressof(self._addresses)
        self._alike = [(size * index + shared.X // 8, size * index + shared.STATE // 8) for index in range(len(xs))]
        for index, offset in enumerate(offsets):
            self._addresses[size * index + shared.PAYLOAD // 8] = start + offset
        for (_, place), state in zip(self._alike, states):
            self._addresses[place] = state.data_ptr()
        self._stateless = not states
        # what addresses point to
        self._kept = states, message

    def take(self, xs):
        """From now on the tensors ``xs``."""
        for (x_place, state_place), x in zip(self._alike, xs):
            address = self._addresses[x_place] = x.data_ptr()
            if self._stateless:
                self._addresses[state_place] = address


def _run(kernel, common, sections, count, workers, scratch):
    """``kernel`` over ``count`` pieces of work in ``workers`` parts; whether any of them gave other than 0."""
    if workers == 1:
        return _work(kernel, common, sections, scratch, 0, count)
    size = -(-count // workers)
    parts = [(first, min(count, first + size)) for first in range(0, count, size)]
    others = [_pool(workers - 1).submit(_work, kernel, common, sections, scratch, *part) for part in parts[1:]]
    return any([_work(kernel, common, sections, scratch, *parts[0]), *(other.result() for other in others)])


def _work(kernel, common, sections, scratch, first, last):
    memory = _memory(scratch)
    kernel(memory, None, common.address, sections.address, first, last, memory + 64)
    return ctypes.c_int64.from_address(memory).value != 0


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
