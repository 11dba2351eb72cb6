"""Times that may be compared: operations in turn, round by round, each by the median of its own."""

import statistics
import time

import torch


def interleaved(operations, repeats, seconds_of, most_seconds):
    """``operations`` {name: function} -> {name: median of what ``seconds_of(function)`` says}.

    ``repeats`` rounds, 3 at least; what would take more than ``most_seconds`` in all of them is measured in fewer, spread
    over the rounds. Before each call that counts is one that does not: how cold the operation before left the caches
    would otherwise be most of what a small copy takes.
    """
    counts, taken = {}, {name: [] for name in operations}
    for name, function in operations.items():
        function()
        counts[name] = min(repeats, max(3, int(most_seconds / max(seconds_of(function), 1e-9))))
    for index in range(repeats):
        for name, function in operations.items():
            if index * counts[name] // repeats != (index + 1) * counts[name] // repeats:
                function()
                taken[name].append(seconds_of(function))
    return {name: statistics.median(times) for name, times in taken.items()}


def thread_seconds(function):
    """Of this thread on its core, which other work on the machine inflates little."""
    began = time.thread_time()
    function()
    return time.thread_time() - began


def wall_seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def device_seconds(function):
    """Of a GPU, between two events of the current stream."""
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began.record()
    function()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / 1e3


def captured(function):
    """``function``'s launches as a CUDA graph: what replays them. It is run twice before, so that kernels are compiled."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        function()
        function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay
