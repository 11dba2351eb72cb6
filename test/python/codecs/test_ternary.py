"""ternary: its bytes against a reading in NumPy, and the choice of a level."""

import conformance
import numpy as np
import pytest
import torch

from cfx_shim import codecs
from cfx_shim.codecs import _log_scales, lm1, lm2, ternary


def digits_of(payload, tokens, channels):
    """[B, N, 5, S] by division, digit by digit, padding included."""
    start = _log_scales.scale_bytes(tokens, channels)
    rest = payload.numpy()[:, start:].reshape(len(payload), tokens, -1).astype(np.int64)
    digits = []
    for _ in range(5):
        rest, digit = np.divmod(rest, 3)
        digits.append(digit)
    assert not rest.any()
    return np.stack(digits, axis=2)


def test_a_block_takes_a_byte_for_five_channels_and_its_scales():
    assert ternary.payload_bytes(1152, 3072, 2) == 2 * 1152 + 3072 + 1152 * 615
    assert lm1.payload_bytes(1152, 3072, 2) < ternary.payload_bytes(1152, 3072, 2) < lm2.payload_bytes(1152, 3072, 2)


@pytest.mark.parametrize("channels", [1, 4, 5, 6, 23, 128])
def test_digit_i_of_byte_j_is_channel_i_times_the_row_and_j(channels):
    tokens = 7
    x = conformance.noise((2, tokens, channels), 3)
    payload, _ = conformance.encoded(ternary, x)
    digits = digits_of(payload, tokens, channels)
    row = -(-channels // 5)
    signs = np.sign(conformance.round_trip(ternary, x).numpy())
    for channel in range(5 * row):
        held = digits[:, :, channel // row, channel % row] - 1
        np.testing.assert_array_equal(held, signs[:, :, channel] if channel < channels else 0)


def test_each_value_is_the_nearest_of_three():
    x = conformance.noise((2, 60, 45), 4)
    payload, _ = conformance.encoded(ternary, x)
    level = _log_scales.read(payload, 60, 45) * (1.2240 / 0.7978845608028654)
    candidates = torch.stack([-level, torch.zeros_like(level), level])
    decoded = ternary.decode(payload, 60, 45)
    torch.testing.assert_close((decoded - x).abs(), (candidates - x).abs().amin(dim=0), rtol=1e-4, atol=1e-5)
    assert {-1.0, 0.0, 1.0} == set(decoded.sign().unique().tolist())


@pytest.mark.parametrize("byte", [0, 121, 242, 243, 255])
def test_every_byte_is_read_as_one_of_three_levels(byte):
    x = conformance.noise((1, 6, 11), 5)
    payload, _ = conformance.encoded(ternary, x)
    start = _log_scales.scale_bytes(6, 11)
    level = _log_scales.read(payload, 6, 11) * (1.2240 / 0.7978845608028654)
    payload[:, start:] = byte
    decoded = ternary.decode(payload, 6, 11)
    assert ((decoded == 0) | torch.isclose(decoded.abs(), level)).all()


def test_it_errs_less_than_one_bit_and_more_than_two():
    x = conformance.noise((2, 200, 96), 6)
    one, three, two = (conformance.relative_error(codecs.load(name), x) for name in ("lm1", "ternary", "lm2"))
    assert 1.5 * two < three < one / 1.5
