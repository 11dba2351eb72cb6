"""Statistics of a sample and of the step before: what is sent, what a sender keeps for the next step, and for how long."""

import pytest
import torch
from exchanges import COLLECTIVES, RankUnderTest, slowly_varying
from ranks import run_ranks

from cfx_shim import codecs, coding, predictor, statistics
from cfx_shim.codecs import _sample
from cfx_shim.plan import Treatment

FORMATS = [("binary", 1), ("int2", 1), ("lm1", 1), ("lm1", 2), ("lm2", 2), ("binary", 2)]
every_format = pytest.mark.parametrize("codec, order", FORMATS)


class Loop:
    """A sender and a receiver of one block, from a keyframe on."""

    def __init__(self, codec, order, taken, tokens=300, channels=24, base_dtype="native"):
        self.treatment = Treatment(codec, order, True, base_dtype=base_dtype, statistics=taken)
        self.generator = torch.Generator().manual_seed(tokens)
        self.x = torch.randn((2, tokens, channels), generator=self.generator)
        self.change = torch.randn(self.x.shape, generator=self.generator) * torch.rand(channels, generator=self.generator)
        self.states = self.history = None
        self.sends = 0

    def send(self):
        """Returns (section, room) of the next send; checks that both ends go on alike."""
        self.x = self.x + 0.1 * self.change
        self.change = 0.9 * self.change + 0.3 * torch.randn(self.x.shape, generator=self.generator)
        section = coding.Section("k", self.x, self.treatment)
        section.open(False, self.states is not None, self.sends > self.treatment.order)
        if self.states is None:
            shape = section.layout.shape(len(self.x))
            self.states = [torch.zeros(shape, dtype=section.layout.stored) for _ in range(2)]
        if section.keeps_history and self.history is None:
            layout = statistics.layout(section.codec, section.channels)
            self.history = torch.full(layout.shape(len(self.x)), 0xAB, dtype=torch.uint8)
        room = torch.zeros((len(self.x), section.bytes), dtype=torch.uint8)
        assert not coding.encode(section, self.x, room, self.states[0], self.history)
        coding.decode(section, room, self.states[1])
        assert torch.equal(*self.states)
        self.sends += 1
        return section, room


def channel_scales(section, room):
    """Of a payload, as its bytes."""
    width = section.codec.CHANNEL_SCALES.CHANNEL_BYTES
    start = (2 if width == 1 else 1) * width * section.tokens
    return room[:, start : start + width * section.channels]


@every_format
def test_the_first_sends_are_exact_and_later_ones_carry_what_the_step_before_left(codec, order):
    exact, loop = Loop(codec, order, "exact"), Loop(codec, order, "previous")
    for index in range(order + 4):
        before = None if loop.history is None else loop.history.clone()
        (_, expected), (section, room) = exact.send(), loop.send()
        if index <= order:
            assert section.statistics == "exact" and torch.equal(room, expected)
            continue
        assert section.statistics == "previous" and not torch.equal(room, expected)
        assert torch.equal(channel_scales(section, room), statistics.scales_of(before, section.codec, section.channels))
        if order == 2:
            betas = room[:, section.payload_bytes :]
            assert torch.equal(betas, statistics.beta_of(before, section.codec, section.channels).expand_as(betas))
            assert betas.view(torch.int8).gt(16).all()
        assert not torch.equal(before, loop.history)


@pytest.mark.parametrize("base_dtype", ["native", "int8"])
@every_format
def test_a_sample_of_all_tokens_is_exact_and_one_of_some_is_near(codec, order, base_dtype):
    few = [Loop(codec, order, taken, tokens=_sample.MOST, base_dtype=base_dtype) for taken in ("exact", "sampled")]
    some = [Loop(codec, order, taken, tokens=700, base_dtype=base_dtype) for taken in ("exact", "sampled", "previous")]
    for loop in few + some:
        loop.send()
    for _ in range(5):
        assert torch.equal(*(loop.send()[1] for loop in few))
        scales = [channel_scales(*loop.send()) for loop in some]
        assert not torch.equal(scales[0], scales[1])
    errors = [float((loop.x - loop.send()[0].layout.read(loop.states[0])[0]).norm()) for loop in some]
    assert errors[1] < 1.1 * errors[0] and errors[2] < 1.5 * errors[0]


@pytest.mark.parametrize("tokens", [1, 2, 127, 128, 129, 255, 256, 4352])
def test_a_sample_is_evenly_spread_and_never_larger_than_128(tokens):
    count, stride = _sample.of_tokens(tokens)
    places = _sample.taken(torch.arange(tokens)[None])[0].tolist()
    assert places == [index * stride for index in range(count)]
    assert count == min(tokens, 128) and places[-1] < tokens <= (places[-1] + stride) + stride * 128


@pytest.mark.parametrize("channels", [1, 7, 24, 130])
def test_a_blocks_beta_is_the_least_squares_fit_over_all_its_elements(channels):
    generator = torch.Generator().manual_seed(channels)
    trend = torch.randn((3, 90, channels), generator=generator)
    delta = trend * torch.tensor([0.8, -0.5, 0.0])[:, None, None] + 0.1 * torch.randn(trend.shape, generator=generator)
    fitted = (delta.double() * trend).sum((1, 2)) / trend.double().square().sum((1, 2))
    beta = predictor.fit_block(delta, trend).view(torch.int8).double()[:, 0] / 64
    assert (beta - fitted).abs().max() <= 0.5 / 64 + 1e-5
    assert predictor.fit_block(delta, torch.zeros_like(trend)).eq(0).all()


def _ranks(rank, collective):
    us = RankUnderTest()
    shape = us.blocks(collective, 9, 20)
    kept = Treatment("lm2", 2, True, statistics="previous")
    exact, other = Treatment("lm2", 2, True), Treatment("int2", 2, True, statistics="previous")
    taken, opened = [], us.collectives._calls.open

    def noted(*given):
        call = opened(*given)
        taken.append([None if section.keyframe else section.statistics for section in call.sections])
        return call

    us.collectives._calls.open = noted

    def send(step, treatment, generation=0, change=lambda x: x):
        us.exchange(collective, step, [("k", change(slowly_varying(rank, step, "k", shape)), treatment)], generation)
        assert us.bases_agree()

    for step, treatment in enumerate([kept] * 4 + [exact] + [kept] * 3 + [other] * 3):
        send(step, treatment)
    # one rank's NaN makes all of them send keyframes in the next step
    send(11, other, change=lambda x: x * float("nan") if rank == 0 else x)
    for step in (12, 13, 14, 15):
        send(step, other)
    us.bases.drop_all()
    for step in range(4):
        send(step, kept, 1)
    layout = statistics.layout(codecs.load("lm2"), 20)
    blocks = us.size - 1 if collective == "all_to_all" else 1
    assert sum(tensor.shape == layout.shape(blocks) for tensor in us.bases._tensors.values()) == 1
    return [each for (each,) in taken]


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_a_history_is_used_only_by_the_step_after_it_from_the_same_base_and_scales(collective):
    start = [None, "exact", "exact", "previous"]
    again = ["exact", "exact", "previous"]
    assert run_ranks(2, _ranks, collective) == [start + ["exact"] + again + again + ["previous"] + start + start] * 2
