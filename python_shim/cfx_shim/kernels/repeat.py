"""How kernels are launched, and calls whose launches are noted down and made again without asking Triton which kernels they take.

Triton finds the compiled kernel of a launch from all its arguments, in Python, every time. Where only some tensors of a call change
from one time to the next the answer is the same, and a kernel it returned can be launched by itself
(``CompiledKernel[grid](*arguments)``).
"""

import contextvars
from typing import NamedTuple

import torch

from .formats import MOST_SECTIONS

# how all kernels are compiled: a product and a sum fused on one end only would part the two bases
OPTIONS = {"enable_fp_fusion": False}
# of the call being noted down: its launches and what it allocates
_open = contextvars.ContextVar("open", default=None)


class Repeated:
    """``call`` of a list of tensors, which makes launches through ``run`` and allocates through ``scratch``, and does nothing else.

    From the second time on the launches are the first one's, with the tensors given then. Those have to be of the first ones'
    shapes, strides, dtypes and device; what else is launched with is kept. Nothing is noted in Triton's interpreter, nor while a graph
    is captured.
    """

    def __init__(self, call):
        self._call, self._noted = call, {}

    def __call__(self, given):
        kind = tuple(map(_specialised, given))
        noted = self._noted.get(kind)
        if noted is not None:
            noted.run(given)
        elif torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            self._call(given)
        else:
            noted = _note(self._call, given)
            if noted is not None:
                self._noted[kind] = noted


def run(kernel, grid, *arguments, **constants):
    """Launch ``kernel`` on ``grid``; what comes after its ``arguments`` and how it is compiled is in ``constants``, and ``OPTIONS``."""
    found = kernel[grid](*arguments, **constants, **OPTIONS)
    noted = _open.get()
    if noted is not None and found is not None:
        rest = [constants[name] for name in kernel.arg_names[len(arguments) :]]
        noted.launches.append((found[(*grid, 1, 1)[:3]], [*arguments, *rest]))


def three(items):
    """As many as kernels take."""
    return (*items, *[items[0]] * (MOST_SECTIONS - len(items)))


def scratch(size, dtype, device):
    """``torch.empty``: anew for every call."""
    tensor, noted = torch.empty(size, dtype=dtype, device=device), _open.get()
    if noted is not None:
        noted.allocated.append(tensor)
    return tensor


def _note(call, given):
    """What ``call(given)``, which is made, has launched; None where that is not known."""
    # tensors of their own, or one that was given twice could not be told apart
    given, noting = [x.detach() for x in given], _Noting([], [])
    token = _open.set(noting)
    try:
        call(given)
    finally:
        _open.reset(token)
    noted = _Noted(given, noting)
    return noted if noted.is_whole else None


class _Noting(NamedTuple):
    launches: list
    allocated: list


class _Noted:
    def __init__(self, given, noting):
        self._allocated = [(each.shape, each.dtype, each.device) for each in noting.allocated]
        which = {id(each): index for index, each in enumerate([*given, *noting.allocated])}
        self._launches, found = [], set()
        for launch, arguments in noting.launches:
            places = [(at, which[id(each)]) for at, each in enumerate(arguments) if id(each) in which]
            for at, index in places:
                # neither what was given nor what was allocated is kept
                arguments[at] = None
                found.add(index)
            self._launches.append((launch, arguments, places))
        self.is_whole = bool(self._launches) and len(found) == len(which)

    def run(self, given):
        tensors = given
        if self._allocated:
            tensors = [*given, *[torch.empty(size, dtype=dtype, device=device) for size, dtype, device in self._allocated]]
        for launch, arguments, places in self._launches:
            arguments = arguments.copy()
            for at, index in places:
                arguments[at] = tensors[index]
            launch(*arguments)


def _specialised(x):
    """What Triton compiles a kernel for beside a tensor's type: how its memory is aligned, and on AMD's GPUs how much there is."""
    aligned = x.data_ptr() % 16 == 0
    return (aligned, x.untyped_storage().nbytes() < 1 << 31) if torch.version.hip else aligned
