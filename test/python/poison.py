"""Memory that nobody has written to yet, full of 0xFF bytes, NaN for floats: output which nobody writes shows, and so does what a
result should not depend on."""

import contextlib
import ctypes
import sys

import torch

from cfx_shim.cpu import launch


@contextlib.contextmanager
def allocations():
    """In here, of what ``cfx_shim`` makes by ``torch.empty`` and ``torch.empty_like``."""
    originals = torch.empty, torch.empty_like
    torch.empty, torch.empty_like = map(_poisoned, originals)
    try:
        yield
    finally:
        torch.empty, torch.empty_like = originals


def _poisoned(allocate):
    def call(*args, **kwargs):
        tensor = allocate(*args, **kwargs)
        if sys._getframe(1).f_globals.get("__name__", "").startswith("cfx_shim") and tensor.numel():
            tensor.untyped_storage().fill_(0xFF)
        return tensor

    return call


@contextlib.contextmanager
def scratch():
    """In here, of what each call of the CPU's kernels finds in its scratch."""
    memory = launch._memory

    def poisoned(size):
        address, result = memory(size)
        ctypes.memset(address + 64, 0xFF, size)
        return address, result

    launch._memory = poisoned
    try:
        yield
    finally:
        launch._memory = memory
