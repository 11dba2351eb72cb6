"""The compiled kernels with other statistics than those of all tokens of a send, against plain torch."""

import itertools

import pytest
import torch
from cpu_compared import compare, counted_launches, noise, section_of

from cfx_shim import codecs, messages, statistics
from cfx_shim._contract import SECTION_ALIGN
from cfx_shim.cpu import launch, library
from cfx_shim.state import INT8, NATIVE, aligned


@pytest.mark.parametrize("codec", ["binary", "int2", "lm1", "lm2", "ternary", "tcq1", "tcq2"])
def test_statistics_of_a_sample_are_the_same(kernels, codec, monkeypatch):
    calls = counted_launches(monkeypatch)
    # 128 tokens side by side, every other one, and every fifth, of rows that are whole vectors and that are not
    for shape, dtype in itertools.product([(2, 131, 24), (1, 300, 41), (1, 700, 64)], (torch.float32, torch.bfloat16)):
        first = noise(shape, 0)
        steps = [(first + 0.1 * step * noise(shape, 1) + 0.05 * noise(shape, 2 + step)).to(dtype) for step in range(3)]
        for order, base_dtype in itertools.product((1, 2), (NATIVE, INT8)):
            calls.clear()
            for threads in (1, 2):
                with launch.shared_by(threads):
                    compare(steps, codec, order, base_dtype=base_dtype, taken="sampled")
            assert calls == [("Encoding", 1), ("Decoding", 1)] * 2 * len(steps)


def test_what_keeps_statistics_for_the_next_step_is_coded_by_plain_torch_and_decoded_by_kernels(kernels, monkeypatch):
    calls = counted_launches(monkeypatch)
    steps = [noise((1, 33, 48), seed) for seed in range(2)]
    with_kernels = _with_history(steps)
    assert calls == [("Decoding", 1)] * 2
    with library.set_aside():
        assert all(torch.equal(left, right) for left, right in zip(with_kernels, _with_history(steps)))


def _with_history(steps):
    layout, seen = section_of(steps[0], "lm2", 2).layout, []
    sender, receiver = (torch.zeros(layout.shape(1), dtype=layout.stored) for _ in "sr")
    history = torch.zeros(statistics.layout(codecs.load("lm2"), 48).shape(1), dtype=torch.uint8)
    for number, blocks in enumerate(steps):
        section = section_of(blocks, "lm2", 2, taken="previous")
        section.open(False, True, number > 0)
        message = torch.zeros((1, aligned(section.bytes) + SECTION_ALIGN), dtype=torch.uint8)
        messages.write([section], [sender], message, None, [history])
        seen += [message, *messages.read([section], [receiver], message, None)[0], history.clone()]
    return [*seen, sender, receiver]
