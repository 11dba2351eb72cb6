"""int2 against the paper's formulas (paper_model.py)."""

import numpy as np
import paper_model
import torch

from cfx_bench import paper
from cfx_shim import codecs

codec = codecs.load("int2")


def coded(x):
    payload = torch.zeros((1, codec.payload_bytes(*x.shape, 4)), dtype=torch.uint8)
    codec.encode(torch.from_numpy(x)[None], payload)
    return payload[0].numpy().tobytes(), codec.decode(payload, *x.shape)[0].numpy()


def test_payload_and_decoded_values_are_the_papers_bit_for_bit_where_sums_are_exact():
    for x in paper_model.exact_blocks():
        payload, decoded = coded(x)
        expected_payload, expected = paper_model.int2(x)
        assert payload == expected_payload
        assert decoded.tobytes() == expected.tobytes()


def test_any_other_block_differs_by_the_rounding_of_a_scale_where_no_value_is_next_to_the_split():
    for x in paper_model.odd_blocks():
        payload, decoded = coded(x)
        expected_payload, expected = paper_model.int2(x)
        assert len(payload) == len(expected_payload)
        s = paper.scale(*paper.scales(x))
        clear = np.abs(np.abs(x) - s) > 2**-9 * s
        assert clear.mean() > 0.95
        np.testing.assert_allclose(decoded[clear], expected[clear], rtol=2**-9)


def test_payload_size_is_scales_and_two_bits_an_element():
    assert codec.payload_bytes(1056, 256, 2) == 2 * 1056 + 2 * 256 + 2 * 1056 * 256 // 8
    assert codec.payload_bytes(3, 10, 4) == 6 + 20 + 2 * 3 * 2


def test_a_written_out_example():
    x = np.array([[1.0, -3.0], [-1.0, 3.0]], dtype=np.float32)
    # u = 1, 1 and v = 1, 3: every element is at the split, which belongs to the high level
    payload, decoded = coded(x)
    ones, v = np.array([1, 1], dtype=np.float16), np.array([1, 3], dtype=np.float16)
    assert payload == ones.tobytes() + v.tobytes() + bytes([0b01, 0b10]) + bytes([0b11, 0b11])
    np.testing.assert_array_equal(decoded, 2 * x)


def test_levels_are_half_and_double_the_scale():
    x = np.array([[1.0, 1.0, 1.0, 5.0]] * 2 + [[3.0, 3.0, 3.0, 3.0]] * 2, dtype=np.float32)
    _, decoded = coded(x)
    s = paper.scale(*paper.scales(x))
    assert set(np.unique(decoded / s)) == {0.5, 2.0}
