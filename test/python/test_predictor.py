"""Residual order 2: the prediction of a base's next change."""

import torch

from cfx_shim import predictor


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
