"""Residual order 2: the prediction of a base's next change."""

import torch

from cfx_shim import coding, predictor
from cfx_shim.plan import Treatment


def fitted(delta, trend):
    room = torch.empty((delta.shape[0], delta.shape[2]), dtype=torch.uint8)
    predictor.fit(delta, trend, room)
    return room


def test_a_change_that_repeats_at_another_strength_is_predicted_by_channel():
    trend = torch.randn((2, 50, 3), generator=torch.Generator().manual_seed(0))
    strength = torch.tensor([0.5, -0.25, 1.5])
    room = fitted(trend * strength, trend)
    assert torch.equal(predictor.predicted_change(trend, room), trend * strength)


def test_uncorrelated_changes_are_hardly_predicted():
    noise = torch.Generator().manual_seed(1)
    delta, trend = torch.randn((1, 4000, 4), generator=noise), torch.randn((1, 4000, 4), generator=noise)
    predicted = predictor.predicted_change(trend, fitted(delta, trend))
    assert float(predicted.norm() / delta.norm()) < 0.05


def test_the_fit_never_leaves_more_than_was_there_but_for_rounding():
    noise = torch.Generator().manual_seed(2)
    for correlation in (-1.0, -0.3, 0.0, 0.4, 0.9, 1.0):
        trend = torch.randn((1, 64, 8), generator=noise)
        delta = correlation * trend + (1 - abs(correlation)) * torch.randn((1, 64, 8), generator=noise)
        left = delta - predictor.predicted_change(trend, fitted(delta, trend))
        assert float(left.norm()) <= float(delta.norm()) * 1.001


def test_no_last_change_predicts_none():
    delta = torch.ones((1, 5, 3))
    assert not predictor.predicted_change(torch.zeros_like(delta), fitted(delta, torch.zeros_like(delta))).any()


def test_nan_in_the_change_predicts_none_in_its_channel():
    trend = torch.ones((1, 5, 2))
    delta = trend.clone()
    delta[0, 0, 0] = float("nan")
    predicted = predictor.predicted_change(trend, fitted(delta, trend))
    assert predicted[0, :, 0].eq(0).all() and predicted[0, :, 1].eq(1).all()


def test_the_sums_of_the_fit_give_the_energy_of_what_it_misses():
    noise = torch.Generator().manual_seed(3)
    trend = torch.randn((2, 70, 5), generator=noise)
    delta = 0.8 * trend + 0.1 * torch.randn((2, 70, 5), generator=noise)
    room = torch.empty((2, 5), dtype=torch.uint8)
    energy = predictor.fit(delta, trend, room)
    left = delta - predictor.predicted_change(trend, room)
    torch.testing.assert_close(energy, left.square().sum(dim=1), rtol=1e-4, atol=0)


def test_the_trend_takes_over_a_part_of_what_few_levels_say_and_all_of_what_more_say():
    for codec, gain in (("lm1", 0.6875), ("tcq1", 0.6875), ("ternary", 0.875), ("lm2", 1.0), ("lm3", 1.0), ("int2", 1.0)):
        # beta ends at 127/64: with a trend of 0.25, half of a change of 1 is left to the codec
        section = coding.Section("k", torch.ones(1, 1, 8), Treatment(codec, 2, True))
        state = started(section, torch.zeros(1, 1, 8), torch.full((1, 1, 8), 0.25))
        room = torch.zeros((1, section.bytes), dtype=torch.uint8)
        coding.encode(section, section.blocks, room, state)
        assert room[0, -8:].view(torch.int8).tolist() == [127] * 8
        predicted = 127 / 256
        base, trend = section.layout.read(state)
        decoded = base - predicted
        assert decoded.min() > 0.1
        # codes of at most 127 are off by half a step
        torch.testing.assert_close(trend, predicted + gain * decoded, rtol=1 / 127, atol=0)


def test_a_trend_may_be_larger_than_any_float16():
    section = coding.Section("k", torch.full((1, 1, 1), 65504.0, dtype=torch.float16), Treatment("lm2", 2, True, "int8"))
    state = started(section, torch.full((1, 1, 1), -65504.0, dtype=torch.float16), None)
    section.keyframe = section.continues = True
    coding.encode(section, section.blocks, torch.zeros((1, section.bytes), dtype=torch.uint8), state)
    base, trend = section.layout.read(state)
    assert base.item() == 65504.0
    assert abs(trend.item() - 131008.0) <= 131008.0 / 127


def started(section, base, trend):
    """The state of one block with this base and trend."""
    state = torch.zeros(section.layout.shape(1), dtype=section.layout.stored)
    section.layout.start(state, base, trend)
    return state

