"""centred4 and centred5: what means of channels change."""

import conformance
import pytest
import torch

from cfx_shim import codecs

both = pytest.mark.parametrize("bits", [4, 5])


def relative_error(name, x):
    return conformance.relative_error(codecs.load(name), x)


@both
def test_the_payload_is_that_of_lloyd_max_levels_and_two_bytes_a_channel(bits):
    assert codecs.load(f"centred{bits}").payload_bytes(1152, 3072, 2) == 2 * 1152 + 3 * 3072 + bits * 1152 * 3072 // 8


def test_means_stand_at_the_end_as_float16():
    x = torch.tensor([[[1.0, -8.0, 3.0], [2.0, -8.0, 7.0]]])
    payload, _ = conformance.encoded(codecs.load("centred4"), x)
    assert payload[0, -6:].clone().view(torch.float16).tolist() == [1.5, -8.0, 5.0]


@both
def test_a_constant_in_each_channel_costs_no_error(bits):
    x = conformance.noise((1, 200, 96))
    offset = 40 * conformance.noise((1, 1, 96), 1)
    error = (x + offset - conformance.round_trip(codecs.load(f"centred{bits}"), x + offset)).square().mean()
    plain = (x - conformance.round_trip(codecs.load(f"centred{bits}"), x)).square().mean()
    assert float(error) == pytest.approx(float(plain), rel=0.15)


def test_centring_pays_where_channels_are_off_zero_and_costs_nothing_where_they_are_not():
    x = conformance.noise((1, 200, 96), 2)
    assert relative_error("centred4", x + 2) < relative_error("lm4", x + 2) / 3
    assert relative_error("centred4", x) < 1.02 * relative_error("lm4", x)


@both
def test_a_constant_block_comes_back_as_float16_has_it(bits):
    x = torch.full((1, 9, 5), 0.1)
    decoded = conformance.round_trip(codecs.load(f"centred{bits}"), x)
    torch.testing.assert_close(decoded, x, rtol=2**-10, atol=0)


@both
def test_a_mean_has_the_same_bytes_wherever_it_is_taken(bits):
    """Not so without a rule: the sum of zeros has a sign, and a NaN has bits of its own on every device."""
    codec = codecs.load(f"centred{bits}")
    zeros = torch.zeros(1, 64, 3)
    assert torch.equal(conformance.encoded(codec, -zeros)[0][0, -6:], torch.zeros(6, dtype=torch.uint8))
    x = zeros.clone()
    x[0, 5, 1] = float("nan")
    x[0, 6, 2] = float("-inf")
    payload, non_finite = conformance.encoded(codec, x)
    assert non_finite
    # -65504 for what is beyond it
    assert payload[0, -6:].tolist() == [0, 0, 0, 0, 0xFF, 0xFB]
