"""The low-rank codecs against the best factors there are, and their bytes against a reading in NumPy."""

import conformance
import numpy as np
import pytest
import torch

from cfx_shim import codecs
from cfx_shim._contract import CODECS
from cfx_shim.codecs import _low_rank

LOW_RANK = [name for name in CODECS if name.startswith("lowrank")]
each_size = pytest.mark.parametrize("name", LOW_RANK)


def decaying(shape, ratio, seed=0):
    """Blocks whose singular values are ``ratio`` to the powers 0, 1, 2 …"""
    left, right = conformance.noise(shape, seed), conformance.noise((shape[0], shape[2], shape[2]), seed + 1)
    u, v = torch.linalg.qr(left)[0], torch.linalg.qr(right)[0]
    return (u * ratio ** torch.arange(u.shape[2])) @ v[:, : u.shape[2]]


def best_error(x, rank):
    """The least ‖x − y‖² / ‖x‖² of any y of this rank (Eckart and Young)."""
    values = torch.linalg.svdvals(x).square()
    return float(values[:, rank:].sum() / values.sum())


def rank_of(name, tokens, channels):
    codec = codecs.load(name)
    if name.startswith("lowrank_fit"):
        rows = (tokens + 3) // 4 + (channels + 3) // 4
        return (codec.payload_bytes(tokens, channels, 2) - 2 - rows) // (1 + rows)
    if name.startswith("lowrank_int4"):
        return codec.payload_bytes(tokens, channels, 2) // (8 + (tokens + 1) // 2 + (channels + 1) // 2)
    return codec.payload_bytes(tokens, channels, 2) // (2 * (tokens + channels))


@pytest.mark.parametrize("name", ["lowrank_r8", "lowrank_r16", "lowrank_r32"])
def test_two_rounds_come_close_to_the_best_factors_and_closer_than_one(name):
    x = decaying((2, 120, 90), 0.9)
    rank = rank_of(name, 120, 90)
    once = [u @ v for u, v in (_low_rank.subspace(block, rank, rounds=1) for block in x)]
    error = conformance.relative_error(codecs.load(name), x)
    assert error < 1.3 * best_error(x, rank)
    assert error < float((x - torch.stack(once)).square().sum() / x.square().sum())


def test_four_bits_a_factor_cost_less_than_the_step_of_their_range_allows():
    x = decaying((2, 120, 90), 0.7)
    exact, coarse = (conformance.relative_error(codecs.load(name), x) for name in ("lowrank_r8", "lowrank_int4_r8"))
    assert exact < coarse < 0.03


@each_size
def test_a_block_of_lower_rank_is_rebuilt(name):
    # in 4 bits each factor errs by a step of its range over √12: about 1.3 % of a Gaussian one, in squares
    x = decaying((1, 264, 256), 0.5)
    x = x[:, :, :1] @ x[:, :1]
    assert conformance.relative_error(codecs.load(name), x) < (0.04 if "int4" in name else 0.15 if "fit" in name else 1e-5)


@pytest.mark.parametrize("name", ["lowrank_r32", "lowrank_int4_r32"])
def test_a_rank_is_never_above_either_side(name):
    assert rank_of(name, 5, 16) == 5 and rank_of(name, 40, 3) == 3 and rank_of(name, 40, 50) == 32


@pytest.mark.parametrize("name", [name for name in LOW_RANK if name.endswith(("b16", "b31"))])
def test_a_budget_is_kept_wherever_rank_1_keeps_it(name):
    codec = codecs.load(name)
    for tokens, channels in ((264, 256), (528, 128), (1152, 3072), (33, 130)):
        rank, size = rank_of(name, tokens, channels), codec.payload_bytes(tokens, channels, 2)
        budget = tokens * channels * int(name[-2:]) // 800
        assert rank == 1 or size <= budget
        assert size + size // rank > budget
    assert rank_of("lowrank_int4_b16", 264, 256) == 5


@each_size
def test_decoded_bits_do_not_depend_on_the_batch(name):
    x = conformance.noise((3, 37, 50), 4)
    codec = codecs.load(name)
    payload, _ = conformance.encoded(codec, x)
    together = codec.decode(payload, 37, 50)
    for index in range(3):
        alone = codec.decode(payload[index : index + 1].clone(), 37, 50)
        assert torch.equal(alone.view(torch.int32), together[index : index + 1].view(torch.int32))


def test_the_search_begins_with_the_same_matrix_for_the_same_shape():
    first = _low_rank.start(40, 8, "cpu").clone()
    _low_rank.start.cache_clear()
    torch.manual_seed(99)
    assert torch.equal(_low_rank.start(40, 8, "cpu"), first)
    assert not torch.equal(_low_rank.start(41, 8, "cpu")[:40], first)


def test_lowrank_payload_is_two_matrices_of_float16():
    x = conformance.noise((1, 12, 10), 5)
    payload, _ = conformance.encoded(codecs.load("lowrank_r8"), x)
    halves = np.frombuffer(payload[0].numpy().tobytes(), dtype="<f2").astype(np.float32)
    u, v = halves[: 12 * 8].reshape(12, 8), halves[12 * 8 :].reshape(8, 10)
    np.testing.assert_allclose(u.T @ u, np.eye(8), atol=2e-3)
    np.testing.assert_allclose(v, u.T @ x[0].numpy(), atol=2e-2)
    decoded = codecs.load("lowrank_r8").decode(payload, 12, 10)[0].numpy()
    expected = u[:, :1] * v[:1]
    for k in range(1, 8):
        expected = expected + u[:, k : k + 1] * v[k : k + 1]
    np.testing.assert_array_equal(decoded, expected)


def test_lowrank_int4_payload_is_bounds_and_nibbles():
    codec = codecs.load("lowrank_int4_r8")
    payload, _ = conformance.encoded(codec, conformance.noise((1, 9, 11), 6))
    raw = payload[0].numpy().tobytes()
    bounds = np.frombuffer(raw[:64], dtype="<f2").astype(np.float32).reshape(2, 8, 2)

    def factor(which, start, length):
        rows = []
        for k in range(8):
            row = raw[start + k * ((length + 1) // 2) :][: (length + 1) // 2]
            codes = np.array([(byte >> shift) & 15 for byte in row for shift in (0, 4)][:length], dtype=np.float32)
            least, largest = bounds[which, k]
            assert codes.min() == 0 and codes.max() == 15
            rows.append(least + codes * ((largest - least) / np.float32(15)))
        return np.stack(rows)

    u, v = factor(0, 64, 9), factor(1, 64 + 8 * 5, 11)
    decoded = codec.decode(payload, 9, 11)[0].numpy()
    np.testing.assert_allclose(decoded, u.T @ v, atol=1e-5)


def test_lowrank_fit_payload_is_whole_numbers_times_one_unit():
    tokens, channels, rank = 9, 11, 8
    codec = codecs.load("lowrank_fit_r8")
    payload, _ = conformance.encoded(codec, conformance.noise((1, tokens, channels), 6))
    raw = payload[0].numpy()

    def fields(start, rows, length):
        width = (length + 3) // 4
        chunk = raw[start : start + rows * width].reshape(rows, width)
        return np.stack([(chunk[:, i // 4] >> 2 * (i % 4)) & 3 for i in range(length)], axis=1).astype(np.int64)

    unit = np.frombuffer(b"\0\0" + raw[:2].tobytes(), dtype="<f4")[0]
    weights = raw[2:10].astype(np.int64)
    classes = np.array([5, 7, 10, 14])
    u = (2 * fields(16, rank, tokens) - 3) * classes[fields(10, 1, tokens)]
    v = (2 * fields(16 + 8 * 3, rank, channels) - 3) * classes[fields(13, 1, channels)] * weights[:, None]
    whole = u.T @ v
    assert raw.size == 16 + 8 * 3 + 8 * 3 and weights.max() == 48 and np.abs(whole).max() < 2**24
    decoded = codec.decode(payload, tokens, channels)[0].numpy()
    np.testing.assert_array_equal(decoded, whole.astype(np.float32) * unit)


def test_no_sum_of_lowrank_fit_passes_what_float32_holds_exactly():
    tokens, channels = 200, 6000
    codec = codecs.load("lowrank_fit_b31")
    size = codec.payload_bytes(tokens, channels, 2)
    assert rank_of("lowrank_fit_b31", 20000, 5120) == 128
    payload = torch.full((1, size), 0xFF, dtype=torch.uint8)
    # a unit of 1, and everything else as large as it can be
    payload[0, :2] = torch.tensor([0x80, 0x3F], dtype=torch.uint8)
    decoded = codec.decode(payload, tokens, channels)
    assert torch.all(decoded == rank_of("lowrank_fit_b31", tokens, channels) * 42 * 42 * 48)
    assert 128 * 42 * 42 * 48 < 2**24


def test_fitted_factors_beat_four_bits_at_the_same_bytes():
    x = decaying((2, 264, 256), 0.95) + 0.02 * conformance.noise((2, 264, 256), 9)
    fit, int4 = codecs.load("lowrank_fit_b16"), codecs.load("lowrank_int4_b16")
    assert fit.payload_bytes(264, 256, 2) <= int4.payload_bytes(264, 256, 2)
    assert conformance.relative_error(fit, x) < 0.95 * conformance.relative_error(int4, x)
