"""From tensors to kernels: addresses, scratch, and the work split over as many threads as torch uses.

What a thread gets never shows in a result. Kernels run without Python's lock; threads are started at the first block
large enough to need them, and again after a fork.
"""

import ctypes
import functools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ..codecs import _log_scales
from ..kernels import formats
from . import library

_KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
# elements from which another thread pays, and channels of a strip of the statistics, whose lanes should stay in cache
_LEAST_ELEMENTS, _STRIP = 1 << 17, 256

# 0-d tensors, which nobody changes
_SEEN = (torch.tensor(False), torch.tensor(True))
_own = threading.local()
_pools = {}
os.register_at_fork(after_in_child=_pools.clear)


def takes(codec, order, blocks, state):
    """The codec's Format if the kernels are loaded and can code ``blocks`` [B, N, C] against ``state``, else None.

    ``state`` [B, order, N, C] in the blocks' dtype; None with order 0. Scales from |x| take a pass of their own behind a
    prediction, which no kernel makes.
    """
    if library.kernels() is None or blocks.device.type != "cpu" or blocks.dtype not in _KINDS or not blocks.numel():
        return None
    form = _format_of(codec)
    if form is None or (order == 2 and form.half_scales):
        return None
    if order == 0:
        return form
    fits = state.dtype == blocks.dtype and state.shape[1:] == (order, *blocks.shape[1:]) and state.is_contiguous()
    return form if fits else None


_format_of = functools.cache(formats.of)


def encode(form, blocks, room, state, feedback):
    """Write ``blocks`` [B, N, C] into ``room`` [B, bytes], move ``state``; returns a 0-d bool tensor: NaN or Inf was seen."""
    kernels = library.kernels()
    count, tokens, channels = blocks.shape
    if blocks.stride(2) != 1 and channels > 1:
        blocks = blocks.contiguous()
    kind, item = _KINDS[blocks.dtype], blocks.element_size()
    order = 0 if state is None else state.shape[1]
    step, half = blocks.stride(1), int(form.half_scales)
    scales_at = 2 * tokens
    betas_at = scales_at + (2 * channels if half else channels) + form.bits * tokens * ((channels + 7) // 8)
    levels, thresholds = _table(_levels(form)), _table(form.thresholds or (math.nan,))
    mean = _log_scales.MEAN_MAGNITUDE
    group = form.group_channels(channels)
    seen = False
    for block in range(count):
        x = blocks.data_ptr() + block * blocks.stride(0) * item
        payload = room.data_ptr() + block * room.stride(0)
        base, trend = _state_addresses(state, block, item)

        def statistics(first, last):
            for start in range(first, last, _STRIP):
                stop = min(last, start + _STRIP)
                scratch = _scratch(96 * _STRIP)
                kernels["statistics_kernel"](
                    *_NO_RESULT, x, step, kind, item, base, trend, order, tokens, channels, start, stop, half,
                    _log_scales.V_BIAS, mean, payload + scales_at, payload + betas_at, scratch,
                )  # fmt: skip

        def rows(first, last):
            result = ctypes.c_int64()
            kernels["encode_kernel"](
                ctypes.addressof(result), None, x, step, kind, item, base, trend, order, int(feedback), form.gain,
                tokens, channels, first, last, group, half, form.bits, _log_scales.V_BIAS, _log_scales.U_BIAS,
                levels, thresholds, payload, _scratch(32 * (channels + 64)),
            )  # fmt: skip
            return result.value != 0

        workers = _workers(tokens * channels)
        _split(statistics, channels, workers, 64)
        seen |= any(_split(rows, tokens, workers, 1))
    return _SEEN[seen]


def decode(form, like, room, state):
    """Values [B, N, C] in the dtype of ``like`` [.., N, C] from ``room`` [B, bytes]; moves ``state`` where there is one."""
    kernel = library.kernels()["decode_kernel"]
    tokens, channels = like.shape[1:]
    target = torch.empty((room.shape[0], tokens, channels), dtype=like.dtype) if state is None else state
    kind, item = _KINDS[target.dtype], target.element_size()
    order = 0 if state is None else state.shape[1]
    levels, group = _table(_levels(form)), form.group_channels(channels)
    for block in range(room.shape[0]):
        payload = room.data_ptr() + block * room.stride(0)
        base, trend = _state_addresses(target, block, item)

        def rows(first, last):
            kernel(
                *_NO_RESULT, kind, item, base, trend, order, form.gain, tokens, channels, first, last, group,
                int(form.half_scales), form.bits, _log_scales.V_BIAS, _log_scales.U_BIAS, levels, payload,
                _scratch(32 * (channels + 64)),
            )  # fmt: skip

        _split(rows, tokens, _workers(tokens * channels), 1)
    return target if state is None else state[:, 0]


_unused = ctypes.c_int64()
_NO_RESULT = (ctypes.addressof(_unused), None)


def _state_addresses(state, block, item):
    if state is None:
        return 0, 0
    base = state.data_ptr() + block * state.stride(0) * item
    return base, base + (state.stride(1) * item if state.dim() == 4 and state.shape[1] == 2 else 0)


def _levels(form):
    """Two at least, for kernels treat one bit as two of which the second level is never reached."""
    return form.levels if form.bits > 1 else form.levels * 2


@functools.cache
def _array(values):
    return np.array(values, dtype=np.float32)


@functools.cache
def _table(values):
    """Address of ``values`` as float32, for good."""
    return _array(values).ctypes.data


def _scratch(size):
    """Address of at least ``size`` bytes of this thread's, on a cache line."""
    held = getattr(_own, "scratch", None)
    if held is None or held[0] < size:
        memory = np.empty(size + 64, dtype=np.uint8)
        held = _own.scratch = (size, memory, -(-memory.ctypes.data // 64) * 64)
    return held[2]


def _workers(elements):
    if elements < 2 * _LEAST_ELEMENTS:
        return 1
    return min(torch.get_num_threads(), elements // _LEAST_ELEMENTS)


def _split(work, count, workers, multiple):
    """``work(first, last)`` over ``count`` in ``workers`` parts that begin at multiples of ``multiple``: all results."""
    if workers == 1:
        return [work(0, count)]
    size = -(-count // (workers * multiple)) * multiple
    parts = [(first, min(count, first + size)) for first in range(0, count, size)]
    others = [_pool(workers - 1).submit(work, *part) for part in parts[1:]]
    return [work(*parts[0]), *(other.result() for other in others)]


def _pool(size):
    pool = _pools.get(size)
    if pool is None:
        pool = _pools[size] = ThreadPoolExecutor(size, "cfx-codec")
    return pool
