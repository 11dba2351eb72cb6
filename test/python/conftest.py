"""Shared by all tests: the shim on the path, one thread per process, and poisoned allocations.

``torch.empty`` and ``torch.empty_like`` called from ``cfx_shim`` give tensors of 0xFF bytes: NaN for floats, so that
output which nobody writes shows.
"""

import ctypes
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
SHIM = os.path.join(os.path.dirname(os.path.dirname(HERE)), "python_shim")
sys.path[:0] = [path for path in (SHIM, HERE) if path not in sys.path]


def _poisoned(allocate):
    def call(*args, **kwargs):

        tensor = allocate(*args, **kwargs)
        if sys._getframe(1).f_globals.get("__name__", "").startswith("cfx_shim") and tensor.numel():
            tensor.untyped_storage().fill_(0xFF)
        return tensor

    return call


@pytest.fixture(scope="session")
def built(tmp_path_factory, worker_id):
    """A folder with the CPU's kernels, built here and now: a build that fails must fail a test, not fall back to plain torch.

    Of several workers one builds and the others wait for it.
    """
    from cfx_shim import proof
    from cfx_shim.cpu import library

    folder = tmp_path_factory.getbasetemp()
    folder = str((folder if worker_id == "master" else folder.parent) / "cpu-kernels")
    # the managed environment has numba: a machine without it has not been set up
    assert library.prepare(folder, proof.failures) in ("built", "present")
    assert library.prepare(folder, proof.failures) == "present"
    return folder


@pytest.fixture(scope="module")
def kernels(built):
    """The CPU's kernels, each call of which finds NaN in its scratch."""
    from cfx_shim.cpu import launch, library

    memory = launch._memory

    def poisoned(size):
        address, result = memory(size)
        ctypes.memset(address + 64, 0xFF, size)
        return address, result

    assert library.load(built)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(launch, "_memory", poisoned)
        yield library.kernels()
    library.forget()


@pytest.fixture(autouse=True, scope="session")
def poisoned_allocations():
    import torch

    # ranks are forked: OpenMP threads would not survive that, and two cores have no room for more
    torch.set_num_threads(1)
    originals = torch.empty, torch.empty_like
    torch.empty, torch.empty_like = _poisoned(torch.empty), _poisoned(torch.empty_like)
    yield
    torch.empty, torch.empty_like = originals
