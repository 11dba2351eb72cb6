"""Shared by all tests: the shim on the path, one thread per process, and poisoned memory."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
SHIM = os.path.join(os.path.dirname(os.path.dirname(HERE)), "python_shim")
sys.path[:0] = [path for path in (SHIM, HERE) if path not in sys.path]


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
    """The CPU's kernels, which find NaN in their scratch."""
    import poison

    from cfx_shim.cpu import library

    assert library.load(built)
    with poison.scratch():
        yield library.kernels()
    library.forget()


@pytest.fixture(autouse=True, scope="session")
def poisoned_allocations():
    import poison
    import torch

    # ranks are forked: OpenMP threads would not survive that, and two cores have no room for more
    torch.set_num_threads(1)
    with poison.allocations():
        yield
