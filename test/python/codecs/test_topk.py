"""topk: which values are kept, and where they lie in the payload."""

import conformance
import torch

from cfx_shim import codecs

codec = codecs.load("topk")


def test_a_written_out_example():
    x = torch.zeros(1, 1, 20)
    x[0, 0, 3], x[0, 0, 4], x[0, 0, 18] = 2.0, -5.0, 0.5
    payload, _ = conformance.encoded(codec, x)
    values = torch.tensor([-5.0, 0.5]).half().view(torch.uint8).tolist()
    # positions 4 of the first group and 18 - 16 = 2 of the second
    assert payload[0].tolist() == [*values, 4 | 2 << 4]
    expected = torch.zeros(1, 1, 20)
    expected[0, 0, 4], expected[0, 0, 18] = -5.0, 0.5
    assert torch.equal(codec.decode(payload, 1, 20), expected)


def test_the_first_of_equals_is_kept():
    x = torch.full((1, 2, 16), -3.0)
    decoded = conformance.round_trip(codec, x)
    assert torch.equal(decoded[:, :, 0], x[:, :, 0]) and torch.all(decoded[:, :, 1:] == 0)


def test_each_group_keeps_one_value_to_the_precision_of_float16():
    x = conformance.noise((2, 7, 50), 2)
    decoded = conformance.round_trip(codec, x)
    kept = decoded != 0
    assert kept.sum() == 2 * 7 * 4
    torch.testing.assert_close(decoded[kept], x[kept], rtol=2**-11, atol=0)
    for group in range(4):
        part = slice(16 * group, min(50, 16 * group + 16))
        largest = x[:, :, part].abs().amax(dim=2)
        torch.testing.assert_close(decoded[:, :, part].abs().amax(dim=2), largest, rtol=2**-11, atol=0)


def test_a_position_beyond_a_narrow_group_decodes_to_nothing():
    payload, _ = conformance.encoded(codec, torch.ones(1, 1, 3))
    payload[0, 2] = 9
    assert torch.equal(codec.decode(payload, 1, 3), torch.zeros(1, 1, 3))


def test_payload_is_two_and_a_half_bytes_a_group():
    assert codec.payload_bytes(10, 256, 2) == 10 * 16 * 2 + 10 * 8
    assert codec.payload_bytes(3, 17, 4) == 3 * (2 * 2 + 1)
