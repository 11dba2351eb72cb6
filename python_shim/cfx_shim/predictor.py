"""Residual order 2: predict a base's next change from its trend, and code only what the prediction misses.

With base b and trend d, the prediction is b + beta·d, with one beta per channel, fitted by least squares on the sender:
beta_c = <x_c - b_c, d_c> / <d_c, d_c>, sums over tokens as in ``codecs._sums``. What is decoded of the rest is q; then

    b' = b + (beta·d + q)        d' = beta·d + gain·q

With gain 1 the trend is the base's last change. A codec of much noise asks for a smaller gain, which makes the pair an
alpha-beta filter (the steady state of a Kalman filter for position and velocity). Successive changes of diffusion
activations point the same way (correlation 0.6 to 0.9), so this takes more off the error than another bit; where they
do not, beta goes to 0 and the scheme falls back to order 1.

On the wire, per block: C bytes, beta_c as a signed byte in steps of 1/64 (-2 to 127/64).
"""

import torch

from .codecs import _log_scales, _sums

_STEPS = 64.0


def fit(delta, trend, room):
    """Fit beta for ``delta`` = x - b, float32, and ``trend`` = d, both [B, N, C]; store it in ``room`` [B, C] uint8.

    Returns what the prediction will miss, from the same three sums: its squares summed over tokens, [B, C] float32.
    """
    trend = trend.float()
    own, mixed, trends = (_sums.over_tokens(product) for product in (delta * delta, delta * trend, trend * trend))
    room.copy_(_codes(torch.where(trends > 0, mixed / trends, 0.0)))
    beta = _beta(room)
    # own - beta·(2·mixed - beta·trends); rounding may leave less than nothing where the prediction is perfect
    return own.sub_(mixed.mul_(2.0).sub_(trends.mul_(beta)).mul_(beta)).clamp_(min=0.0)


def fit_block(delta, trend):
    """One beta for all channels of ``delta`` and ``trend``, both float32 [B, N, C], its byte as [B, 1] uint8.

    A token's products are summed over channels in the two halves of ``codecs._log_scales``, then over tokens.
    """
    halves = (_log_scales.by_group(product, _sums.over_channels_signed) for product in (delta * trend, trend * trend))
    mixed, trends = (_sums.over_tokens((half[:, :, 0] + half[:, :, 1]).unsqueeze(2)) for half in halves)
    return _codes(torch.where(trends > 0, mixed / trends, 0.0))


def predicted_change(trend, room):
    """beta·d [B, N, C] float32 from the stored beta: the same products on the sender and on every receiver."""
    return trend.float() * _beta(room).unsqueeze(1)


def _codes(beta):
    return (beta * _STEPS).nan_to_num_(0.0).round_().clamp_(-128, 127).to(torch.int8).view(torch.uint8)


def _beta(room):
    return room.contiguous().view(torch.int8).float().div_(_STEPS)
