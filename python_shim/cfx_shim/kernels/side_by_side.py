"""How many programs of one launch can wait for each other, tried once on each device."""

import sys

import torch

from . import barrier, tiles
from .launch import interpreted

# what such a launch is told beside its own constants; eight warps of any kernel fit into a multiprocessor
OPTIONS = {"launch_cooperative_grid": True, "num_warps": 8}


def programs(device) -> int:
    """One for each multiprocessor of ``device``; 0 where they cannot, and while a graph is captured before anyone has tried.

    AMD's cannot: there a barrier of a program's threads, as Triton emits it, does not wait for what they have stored.
    """
    if interpreted() or device.type != "cuda" or torch.version.hip:
        return 0
    index = torch.cuda.current_device() if device.index is None else device.index
    if index not in _found and torch.cuda.is_current_stream_capturing():
        return 0
    if index not in _found:
        _found[index] = _tried(device)
    return _found[index]


_found = {}


def _tried(device):
    count = torch.cuda.get_device_properties(device).multi_processor_count
    arrived, numbers, found = (torch.zeros(size, dtype=torch.int32, device=device) for size in (1, count, count))
    try:
        barrier.trial_kernel[(count,)](arrived, numbers, found, PROGRAMS=tiles.power_of_two(count), **OPTIONS)
        works = bool(found.all())
    except RuntimeError:
        # the driver launches no such grid
        works = False
    if not works:
        print("cfx: programs of a launch cannot wait for each other on this GPU; low rank takes a launch for each factor", file=sys.stderr)
    return count if works else 0
