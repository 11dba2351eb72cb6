"""tcq1 to tcq3: their bytes against a reading in NumPy, and paths against all there are."""

import itertools

import conformance
import numpy as np
import pytest
import torch

from cfx_shim import codecs
from cfx_shim.codecs import _log_scales, _trellis

BITS = {"tcq1": 1, "tcq2": 2, "tcq3": 3}


def level_of(bits, window, k):
    """The level's number, from the trellis bits t, t', t'', t''' and the index."""
    now, one, two, three = window
    return 4 * k + 2 * (now ^ one ^ three) + two


def rebuilt(name, payload, tokens, channels):
    """A block read bit by bit, float32 [N, C]."""
    bits, raw = BITS[name], payload.numpy()
    levels = np.array(_trellis.levels(bits), dtype=np.float32)
    scales = _log_scales.read(payload[None], tokens, channels)[0].expand(tokens, channels).numpy()
    row = (channels + 7) // 8
    start = 2 * tokens + channels
    planes = [raw[start + plane * tokens * row :][: tokens * row].reshape(tokens, row) for plane in range(bits)]
    bit = [np.unpackbits(plane, axis=1, bitorder="little")[:, :channels].astype(int) for plane in planes]
    values = np.zeros((tokens, channels), dtype=np.float32)
    for token, channel in itertools.product(range(tokens), range(channels)):
        window = [bit[0][token, channel - back] if channel % 256 >= back else 0 for back in range(4)]
        k = sum(plane[token, channel] << place for place, plane in enumerate(bit[1:]))
        values[token, channel] = levels[level_of(bits, window, k)] * scales[token, channel]
    return values


@pytest.mark.parametrize("channels", [1, 8, 13, 256, 270])
@pytest.mark.parametrize("name", BITS)
def test_a_level_depends_on_the_bits_before_it(name, channels):
    tokens = 3
    payload, _ = conformance.encoded(codecs.load(name), conformance.noise((1, tokens, channels), 2))
    random = torch.randint(0, 256, payload.shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    for sent in (payload, random):
        decoded = codecs.load(name).decode(sent, tokens, channels)[0].numpy()
        np.testing.assert_array_equal(decoded, rebuilt(name, sent[0], tokens, channels))


@pytest.mark.parametrize("name", BITS)
def test_no_path_is_better_than_the_one_that_is_taken(name):
    bits, length = BITS[name], 7
    levels = np.array(_trellis.levels(bits))
    for seed in range(6):
        x = conformance.noise((1, 4, length), seed)
        payload, _ = conformance.encoded(codecs.load(name), x)
        scales = _log_scales.read(payload, 4, length)[0].expand(4, length).double().numpy()
        missed = (x - codecs.load(name).decode(payload, 4, length))[0].double().square().sum(dim=1).numpy()
        least = np.full(4, np.inf)
        for path in itertools.product((0, 1), repeat=length):
            total = np.zeros(4)
            for channel in range(length):
                window = [path[channel - back] if channel >= back else 0 for back in range(4)]
                choices = [level_of(bits, window, k) for k in range(2 ** (bits - 1))]
                errors = x[0, :, channel, None].double().numpy() - scales[:, channel, None] * levels[choices]
                total += (errors**2).min(axis=1)
            least = np.minimum(least, total)
        np.testing.assert_allclose(missed, least, rtol=1e-5)


@pytest.mark.parametrize("name", BITS)
def test_it_errs_less_than_single_levels_of_as_many_bytes(name):
    """At the same size, and the more so where scales fit badly."""
    single = codecs.load(f"lm{BITS[name]}")
    assert codecs.load(name).payload_bytes(40, 300, 2) == single.payload_bytes(40, 300, 2)
    uneven = conformance.noise((1, 200, 512), 3) * torch.rand((1, 200, 512), generator=torch.Generator().manual_seed(2)) ** 2
    for x, most in ((conformance.noise((1, 200, 512), 1), 0.87), (uneven, 0.85)):
        ratio = conformance.relative_error(codecs.load(name), x) / conformance.relative_error(single, x)
        assert ratio < most


def test_paths_begin_anew_every_256_channels_and_do_not_know_of_each_other():
    x = conformance.noise((1, 5, 512), 4)
    other = x.clone()
    # the second u, and so its half, is another
    other[:, :, :256] = conformance.noise((1, 5, 256), 9)
    plane = slice(2 * 5 + 512, 2 * 5 + 512 + 5 * 64)
    first, second = (conformance.encoded(codecs.load("tcq2"), each)[0][0, plane].reshape(5, 64) for each in (x, other))
    assert torch.equal(first[:, 32:], second[:, 32:]) and not torch.equal(first[:, :32], second[:, :32])
