"""binary against the paper's formulas (paper_model.py)."""

import numpy as np
import paper_model
import torch

from cfx_shim import codecs

codec = codecs.load("binary")


def coded(x):
    payload = torch.zeros((1, codec.payload_bytes(*x.shape, 4)), dtype=torch.uint8)
    codec.encode(torch.from_numpy(x)[None], payload)
    return payload[0].numpy().tobytes(), codec.decode(payload, *x.shape)[0].numpy()


def test_payload_and_decoded_values_are_the_papers_bit_for_bit_where_sums_are_exact():
    for x in paper_model.exact_blocks():
        payload, decoded = coded(x)
        expected_payload, expected = paper_model.binary(x)
        assert payload == expected_payload
        assert decoded.tobytes() == expected.tobytes()


def test_any_other_block_differs_by_the_rounding_of_a_scale_at_most():
    for x in paper_model.odd_blocks():
        payload, decoded = coded(x)
        expected_payload, expected = paper_model.binary(x)
        assert len(payload) == len(expected_payload)
        np.testing.assert_allclose(decoded, expected, rtol=2**-9)


def test_payload_size_is_scales_and_one_bit_an_element():
    assert codec.payload_bytes(1056, 256, 2) == 2 * 1056 + 2 * 256 + 1056 * 256 // 8
    assert codec.payload_bytes(3, 10, 4) == 6 + 20 + 3 * 2


def test_zero_counts_as_positive_and_minus_zero_too():
    x = np.array([[0.0, -0.0, -1.0, 1.0]], dtype=np.float32)
    payload, _ = coded(x)
    assert payload[-1] == 0b1011


def test_a_written_out_example():
    x = np.array([[1.0, -3.0], [-2.0, 6.0]], dtype=np.float32)
    # row means 2 and 4, their mean 3; column means 1.5 and 4.5
    u = np.array([2 / 3, 4 / 3], dtype=np.float16)
    v = np.array([1.5, 4.5], dtype=np.float16)
    payload, decoded = coded(x)
    assert payload == u.tobytes() + v.tobytes() + bytes([0b01, 0b10])
    np.testing.assert_array_equal(decoded, np.float32(u)[:, None] * np.float32(v) * [[1, -1], [-1, 1]])
