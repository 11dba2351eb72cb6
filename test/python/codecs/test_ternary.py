"""ternary: its bytes against a reading in NumPy, and the choice of a level."""

import conformance
import numpy as np
import pytest
import torch

from cfx_shim import codecs
from cfx_shim.codecs import _log_scales, lm1, lm2, ternary


def digits_of_token(rows, channels):
    """A token's digits, of the first part and of the second, with what fills them up; ``rows``: its bytes, from the lowest on."""
    low, middle, high, last = rows
    last_bits = [int(byte) >> bit & 1 for byte in last for bit in range(8)]
    first = min(channels, 8 * -(-channels // 16))
    digits, eights, wholes = [], 0, 0
    for part, count in enumerate((first, channels - first)):
        found = []
        for unit in range(-(-count // 32)):
            at = 3 * (2 * unit + part)
            top = sum(bit << place for place, bit in enumerate(last_bits[at : at + 3]))
            whole = int(middle[wholes]) + 256 * int(high[wholes]) + 65536 * top
            wholes += 1
            for _ in range(min(4, -(-count // 8) - 4 * unit)):
                whole, place = divmod(whole, 26)
                q = int(low[eights]) + 256 * place
                eights += 1
                for _ in range(8):
                    q, digit = divmod(q, 3)
                    found.append(digit)
                assert q == 0
        digits.append(found)
    assert eights == len(low) and wholes == len(middle) == len(high)
    return digits


@pytest.mark.parametrize("channels", [1, 4, 8, 9, 23, 70, 128, 300])
def test_digits_are_where_they_are_said_to_be(channels):
    tokens = 7
    x = conformance.noise((2, tokens, channels), 3)
    payload, _ = conformance.encoded(ternary, x)
    signs = conformance.round_trip(ternary, x).sign().int().tolist()
    first = min(channels, 8 * -(-channels // 16))
    low, whole, last = -(-channels // 8), -(-first // 32) + -(-(channels - first) // 32), -(-3 * -(-first // 32) // 4)
    for block in range(2):
        rest = payload[block, _log_scales.scale_bytes(tokens, channels) :].numpy()
        planes = [part.reshape(tokens, -1) for part in np.split(rest, np.cumsum([tokens * low, tokens * whole, tokens * whole]))]
        assert planes[3].shape == (tokens, last)
        for token in range(tokens):
            digits = digits_of_token([plane[token] for plane in planes], channels)
            for part, real in zip(digits, (signs[block][token][:first], signs[block][token][first:])):
                assert [digit - 1 for digit in part] == real + [0] * (len(part) - len(real))


def test_32_channels_take_51_bits_and_a_block_its_scales():
    assert ternary.payload_bytes(1152, 3072, 2) == 2 * 1152 + 3072 + 1152 * (3072 // 32 * 51 // 8)
    assert 8 * ternary.payload_bytes(1152, 3072, 2) < 1.61 * 1152 * 3072
    assert lm1.payload_bytes(1152, 3072, 2) < ternary.payload_bytes(1152, 3072, 2) < lm2.payload_bytes(1152, 3072, 2)
    for channels in (64, 128, 640, 1152):
        assert ternary.code_bytes(channels) <= -(-channels // 5)


def test_each_value_is_the_nearest_of_three():
    x = conformance.noise((2, 60, 45), 4)
    payload, _ = conformance.encoded(ternary, x)
    level = _log_scales.read(payload, 60, 45) * (1.2240 / 0.7978845608028654)
    candidates = torch.stack([-level, torch.zeros_like(level), level])
    decoded = ternary.decode(payload, 60, 45)
    torch.testing.assert_close((decoded - x).abs(), (candidates - x).abs().amin(dim=0), rtol=1e-4, atol=1e-5)
    assert {-1.0, 0.0, 1.0} == set(decoded.sign().unique().tolist())


@pytest.mark.parametrize("byte", [0, 85, 170, 254, 255])
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
