"""From sections to kernels: addresses, scratch, and the work split over as many threads as torch uses.

Alike sections of a message go together, all blocks of each. What a thread gets never shows in a result. Kernels run
without Python's lock; threads are started at the first message large enough to need them, and again after a fork.
"""

import contextlib
import ctypes
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from .. import codecs, predictor
from .._contract import SECTION_ALIGN
from ..kernels import formats
from ..state import INT8, NATIVE, in_eight_bits, layout
from . import arguments, library, shared

# elements from which another thread pays
_LEAST_ELEMENTS = 1 << 17

# threads, in place of as many as pay
_given_threads = None

_own = threading.local()
_pools = {}
os.register_at_fork(after_in_child=_pools.clear)


def takes(codec, order, blocks, keyframe=False):
    """Whether the kernels are there and can code ``blocks`` [P, N, C], or send them as a ``keyframe``, with any state."""
    if library.kernels() is None or blocks.device.type != "cpu" or blocks.dtype not in arguments.KINDS or not blocks.numel():
        return False
    form = formats.of(codec)
    return form is not None and form.codes(order, keyframe)


class Encoding:
    """See ``kernels.ops.Encoding``. Any channels that are side by side."""

    def __init__(
        self, xs, states, message, offsets, own, codec, order, feedback, first, keyframe=False, continues=False, statistics="exact",
        histories=(),
    ):  # fmt: skip
        x = xs[0]
        peers, tokens, channels = x.shape
        blocks = peers - (own < peers)
        steps = x.stride(0), x.stride(1), message.stride(0)
        self._sections, count = _Sections(xs, states, message, offsets, histories), len(xs) * blocks
        self._elements, kernels = count * tokens * channels, library.kernels()
        # one thread goes block by block, so that what statistics have read is in cache for what codes it; more have alike work
        workers = _workers(self._elements)
        alone, shares = workers == 1 and not histories, workers // math.gcd(count, workers)
        self._workers = 1 if alone else None
        self._told, strips, self._scratch = arguments.of_call(
            codec, order, feedback, x.dtype, blocks, own, tokens, channels, *steps, keyframe, continues, in_eight_bits(states), alone,
            statistics, histories[0].stride(0) if histories else 0, shares,
        )
        passes = [("statistics", count * strips), ("history", len(histories) * blocks), ("encode", count * tokens)]
        self._passes = [(kernels[arguments.kernel_name(codec, end)], pieces) for end, pieces in passes if pieces]
        self._search = None
        if arguments.factor_bits(codec) > 2:
            self._search = _Search(x, states, message, offsets, own, codec, order, feedback)
        self._first = first
        flag = message.data_ptr() + message.shape[1] - SECTION_ALIGN
        self._flags = [ctypes.c_uint8.from_address(flag + peer * message.stride(0)) for peer in range(peers)]

    def __call__(self, xs):
        self._sections.take(xs)
        workers = self._workers or _workers(self._elements)
        if self._search is not None:
            seen = self._search(xs)
        else:
            for kernel, count in self._passes:
                seen = _run(kernel, self._told, self._sections, count, workers, self._scratch)
        if seen or self._first:
            for flag in self._flags:
                flag.value = seen

    # histories are kept with the rest
    keeps_behind = False

    def keep(self):
        """Nothing."""


class Decoding:
    """See ``kernels.ops.Decoding``."""

    def __init__(
        self, states, message, offsets, own, codec, order, tokens, channels, dtype, keyframe=False, continues=False
    ):  # fmt: skip
        peers = message.shape[0]
        blocks = peers - (own < peers)
        steps = 0, 0, message.stride(0)
        self._told, _, self._scratch = arguments.of_call(
            codec, order, True, dtype, blocks, own, tokens, channels, *steps, keyframe, continues, in_eight_bits(states)
        )
        self._sections, count = _Sections(offsets, states, message, offsets), len(offsets) * blocks
        self._count, self._elements = count * tokens, count * tokens * channels
        self._kernel = library.kernels()[arguments.kernel_name(codec, "decode")]

    def __call__(self, outs):
        if outs:
            self._sections.take(outs)
        _run(self._kernel, self._told, self._sections, self._count, _workers(self._elements), self._scratch)


class _Search:
    """The paper's low rank: plain torch finds the factors, block by block, and bases move as a receiver's do."""

    def __init__(self, x, states, message, offsets, own, codec, order, feedback):
        self._codec, (peers, tokens, channels) = codecs.load(codec), x.shape
        size = self._codec.payload_bytes(tokens, channels, x.element_size())
        self._ranks = [rank for rank in range(peers) if rank != own]
        self._rooms = [[message[rank, None, offset : offset + size] for rank in self._ranks] for offset in offsets]
        ends = [offset + size for offset in offsets] if order == 2 else []
        self._betas = [[message[rank, None, end : end + channels] for rank in self._ranks] for end in ends]
        base_dtype = INT8 if in_eight_bits(states) else NATIVE
        self._layout = layout(base_dtype, order, tokens, channels, x.dtype)
        self._states, self._follows = states, feedback
        self._move = Decoding(states, message, offsets, own, codec, order, tokens, channels, x.dtype)

    def __call__(self, xs):
        """Whether NaN or Inf was seen."""
        seen = False
        for index, (x, rooms) in enumerate(zip(xs, self._rooms)):
            for block, (rank, room) in enumerate(zip(self._ranks, rooms)):
                residual = x[rank, None].float()
                if self._states:
                    base, trend = self._layout.read(self._states[index][block, None])
                    residual = residual - base
                if self._betas:
                    betas = self._betas[index][block]
                    predictor.fit(residual, trend, betas)
                    residual -= predictor.predicted_change(trend, betas)
                seen |= bool(self._codec.encode(residual, room))
        if self._states and self._follows:
            self._move([])
        elif self._states:
            for state, x in zip(self._states, xs):
                self._layout.start(state, x[self._ranks], None)
        return seen


class _Sections:
    """Addresses of each section: x's, its state's, its payload's and its history's, if there is one. Without states x, or what
    is decoded, is in their place."""

    def __init__(self, xs, states, message, offsets, histories=()):
        start, size = message.data_ptr(), shared.SECTION_BYTES // 8
        self._addresses = (ctypes.c_int64 * (size * len(xs)))()
        self.address = ctypes.addressof(self._addresses)
        self._alike = [(size * index + shared.X // 8, size * index + shared.STATE // 8) for index in range(len(xs))]
        for index, offset in enumerate(offsets):
            self._addresses[size * index + shared.PAYLOAD // 8] = start + offset
        for (_, place), state in zip(self._alike, states):
            self._addresses[place] = state.data_ptr()
        for index, history in enumerate(histories):
            self._addresses[size * index + shared.HISTORY // 8] = history.data_ptr()
        self._stateless = not states
        # what addresses point to
        self._kept = states, message, histories

    def take(self, xs):
        """From now on the tensors ``xs``."""
        for (x_place, state_place), x in zip(self._alike, xs):
            address = self._addresses[x_place] = x.data_ptr()
            if self._stateless:
                self._addresses[state_place] = address


def _run(kernel, told, sections, count, workers, scratch):
    """``kernel`` over ``count`` pieces of work in ``workers`` parts; whether any of them gave other than 0."""
    if workers == 1:
        return _work(kernel, told, sections, scratch, 0, count)
    size = -(-count // workers)
    parts = [(first, min(count, first + size)) for first in range(0, count, size)]
    others = [_pool(workers - 1).submit(_work, kernel, told, sections, scratch, *part) for part in parts[1:]]
    return any([_work(kernel, told, sections, scratch, *parts[0]), *(other.result() for other in others)])


def _work(kernel, told, sections, scratch, first, last):
    address, result = _memory(scratch)
    kernel(address, None, told.address, sections.address, first, last, address + 64)
    return result.value != 0


def _memory(size):
    """This thread's, on a cache line: (address of 64 bytes for a result and ``size`` bytes of scratch, the result)."""
    held = getattr(_own, "scratch", None)
    if held is None or held[0] < size:
        memory = np.empty(size + 128, dtype=np.uint8)
        address = -(-memory.ctypes.data // 64) * 64
        held = _own.scratch = size, (address, ctypes.c_int64.from_address(address)), memory
    return held[1]


@contextlib.contextmanager
def shared_by(threads):
    """In here so many threads share every call's work, however small it is."""
    global _given_threads
    held, _given_threads = _given_threads, threads
    try:
        yield
    finally:
        _given_threads = held


def _workers(elements):
    if _given_threads is not None:
        return _given_threads
    if elements < 2 * _LEAST_ELEMENTS:
        return 1
    return min(torch.get_num_threads(), elements // _LEAST_ELEMENTS)


def _pool(size):
    pool = _pools.get(size)
    if pool is None:
        pool = _pools[size] = ThreadPoolExecutor(size, "cfx-codec")
    return pool
