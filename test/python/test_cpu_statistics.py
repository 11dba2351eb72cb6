"""The compiled kernels with other statistics than those of all tokens of a send, against plain torch."""

import itertools

import pytest
import torch
from cpu_compared import HARD, compare, counted_launches, noise

from cfx_shim.cpu import launch
from cfx_shim.state import INT8, NATIVE

CODECS = ["binary", "int2", "lm1", "lm2", "ternary", "tcq1", "tcq2"]
SHAPES = [(1, 33, 48), (2, 131, 24), (1, 300, 41), (1, 700, 130)]


def going_on(shape, count):
    """Blocks of ``count`` steps, whose changes point the same way."""
    first = noise(shape, 0)
    return [first + 0.1 * step * noise(shape, 1) + 0.05 * noise(shape, 2 + step) for step in range(count)]


@pytest.mark.parametrize("codec", CODECS)
def test_statistics_of_a_sample_are_the_same(kernels, codec, monkeypatch):
    calls = counted_launches(monkeypatch)
    # 128 tokens side by side, every other one, and every fifth, of rows that are whole vectors and that are not
    for shape, dtype in itertools.product([(2, 131, 24), (1, 300, 41), (1, 700, 64)], (torch.float32, torch.bfloat16)):
        steps = [step.to(dtype) for step in going_on(shape, 3)]
        for order, base_dtype in itertools.product((1, 2), (NATIVE, INT8)):
            calls.clear()
            for threads in (1, 2):
                with launch.shared_by(threads):
                    compare(steps, codec, order, base_dtype=base_dtype, taken="sampled")
            assert calls == [("Encoding", 1), ("Decoding", 1)] * 2 * len(steps)


@pytest.mark.parametrize("codec", CODECS)
def test_statistics_of_the_step_before_are_the_same(kernels, codec, monkeypatch):
    calls = counted_launches(monkeypatch)
    # less than 128 tokens, every other one, and every fifth; halves of a row that begin at a whole vector and that do not
    for shape, dtype in itertools.product(SHAPES, (torch.float32, torch.bfloat16)):
        steps = [step.to(dtype) for step in going_on(shape, 4)]
        for order, base_dtype in itertools.product((1, 2), (NATIVE, INT8)):
            calls.clear()
            for threads in (1, 2):
                with launch.shared_by(threads):
                    compare(steps, codec, order, sections=2, base_dtype=base_dtype, taken="previous")
            assert calls == [("Encoding", 2), ("Decoding", 2)] * 2 * len(steps)


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("codec", ["int2", "lm1", "tcq2"])
def test_statistics_of_the_step_before_are_the_same_of_hard_values(kernels, codec, kind):
    steps = [HARD[kind](step) for step in going_on((1, 140, 41), 4)]
    steps[2][0, 3, 5], steps[2][0, 4, 30] = float("nan"), float("inf")
    for order in (1, 2):
        compare(steps, codec, order, taken="previous")


# strips that are whole rows, parts of rows longer and shorter than what is fetched ahead, and too narrow to be split more
WIDE = [((1, 70, 1700), 2), ((1, 70, 2500), 2), ((3, 70, 1200), 3), ((2, 70, 1030), 4)]


@pytest.mark.parametrize("codec", [*CODECS, "int8", "topk"])
def test_threads_share_wide_rows_without_a_trace(kernels, codec, monkeypatch):
    calls = counted_launches(monkeypatch)
    for (shape, threads), dtype in itertools.product(WIDE, (torch.float32, torch.bfloat16)):
        steps = [step.to(dtype) for step in going_on(shape, 2)]
        for order, base_dtype in itertools.product((1, 2), (NATIVE, INT8)):
            calls.clear()
            with launch.shared_by(threads):
                compare(steps, codec, order, base_dtype=base_dtype)
            assert calls == [("Encoding", 1), ("Decoding", 1)] * len(steps)
