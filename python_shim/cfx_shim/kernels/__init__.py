"""Triton kernels of the codecs, with the payload bytes and the decoded bits of plain torch; of low rank with its decoded bits.

``available`` says whether they can run; only then does anything of ours import Triton.
"""

import functools
import importlib.util
import sys

import torch

from .._contract import TRITON_SINCE


def available(device) -> bool:
    """Whether kernels can run on ``device``: on a GPU of their generation, and on a CPU in Triton's interpreter."""
    if device.type == "cpu":
        triton = sys.modules.get("triton")
        return triton is not None and hasattr(triton, "knobs") and triton.knobs.runtime.interpret
    return device.type == "cuda" and _compiles_for(device.index or 0)


@functools.cache
def _compiles_for(index):
    return importlib.util.find_spec("triton") is not None and torch.cuda.get_device_capability(index) >= (8, 0) and _is_new_enough()


@functools.cache
def _is_new_enough():
    """Says so once where it is not."""
    import triton

    found, since = ([int(number) for number in version.split(".")[:2]] for version in (triton.__version__, TRITON_SINCE))
    if found < since:
        text = f"Triton {triton.__version__} is installed; expected {TRITON_SINCE} or newer"
        print(f"cfx: going on without kernels, slowly: {text}", file=sys.stderr)
    return found >= since
