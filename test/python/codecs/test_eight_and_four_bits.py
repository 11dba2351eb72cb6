"""fp8 and int4: what their steps allow, and their payloads written out."""

import conformance
import pytest
import torch

from cfx_shim import codecs

fp8, int4 = codecs.load("fp8"), codecs.load("int4")


@pytest.mark.parametrize("kind", ["gauss", "laplace"])
def test_fp8_errs_by_a_sixteenth_of_a_value_or_half_a_step_of_its_smallest(kind):
    x = conformance.noise((2, 40, 96), 3, kind)
    smallest = x.abs().amax(dim=2, keepdim=True) / 448 * 2**-10
    # the scale is rounded to bfloat16: the largest value may lie 2^-8 beyond the largest that can be stored
    assert ((conformance.round_trip(fp8, x) - x).abs() <= 1.001 * torch.maximum(x.abs() / 16, smallest)).all()


def test_fp8_payload_written_out():
    x = torch.tensor([[[448.0, -1.0, 0.0, 240.0]]])
    payload, _ = conformance.encoded(fp8, x)
    # bfloat16 1.0; e4m3: 448 = 0 1111 110, -1 = 1 0111 000, 240 = 0 1110 111
    assert payload[0].tolist() == [0x80, 0x3F, 0b01111110, 0b10111000, 0, 0b01110111]
    assert torch.equal(fp8.decode(payload, 1, 4), x)


def test_fp8_bytes_that_are_no_number_decode_to_zero():
    payload = torch.tensor([[0x80, 0x3F, 0x7F, 0xFF, 0xC0, 0x7F]], dtype=torch.uint8)
    assert fp8.decode(payload[:, :4], 1, 2).tolist() == [[[0.0, 0.0]]]
    nan_scale = torch.tensor([[0xC0, 0x7F, 0x38, 0x38]], dtype=torch.uint8)
    assert fp8.decode(nan_scale, 1, 2).tolist() == [[[0.0, 0.0]]]


def with_absmax_scales(x):
    """The same levels with the scale that just reaches each group's largest value."""
    mean = x.mean(dim=1, keepdim=True)
    grouped = (x - mean).unflatten(2, (-1, 32))
    unit = grouped.abs().amax(dim=3, keepdim=True)
    levels = torch.tensor([sign * level for level in int4.LEVELS for sign in (-1, 1)])
    nearest = (grouped.unsqueeze(4) / unit.unsqueeze(4) - levels).abs().argmin(dim=4)
    return (levels[nearest] * unit).flatten(2) + mean


@pytest.mark.parametrize("kind, most", [("gauss", 0.0068), ("laplace", 0.0090)])
def test_int4_errs_less_than_with_scales_that_reach_the_largest_value(kind, most):
    x = conformance.noise((2, 128, 256), 3, kind)
    error = conformance.relative_error(int4, x)
    assert error < most
    assert error < 0.95 * float((x - with_absmax_scales(x)).square().sum() / x.square().sum())


def test_int4_takes_the_scale_of_least_error_of_those_that_it_tries():
    """By trying them all, in float64; a group whose two best are alike within the search's rounding may take either."""
    x = conformance.noise((1, 40, 96), 5, "laplace")
    decoded = conformance.round_trip(int4, x)
    means = codecs._means.read(conformance.encoded(int4, x)[0][:, : 2 * 96])
    rest = (x - means).double()
    scale = rest.abs().amax(dim=2, keepdim=True).bfloat16().double()
    # in whole groups of either part of a token: 32 + 16 channels twice
    for begin, end in ((0, 32), (32, 48), (48, 80), (80, 96)):
        group = rest[:, :, begin:end]
        reach = (group.abs().amax(dim=2, keepdim=True) / scale).log2().mul(-8).floor().clamp(min=0)
        errors = []
        for step in range(6):
            unit = scale * 2.0 ** (-(reach + step) / 8)
            levels = torch.tensor([sign * level for level in int4.LEVELS for sign in (-1, 1)], dtype=torch.float64)
            missed = (group.unsqueeze(3) - levels * unit.unsqueeze(3)).abs().amin(dim=3)
            errors.append(missed.square().sum(dim=2))
        best, found = torch.stack(errors).amin(dim=0), (x - decoded)[:, :, begin:end].double().square().sum(dim=2)
        assert (found <= 1.001 * best).all() and (found >= 0.999 * best).all()


def test_int4_takes_the_means_of_channels_off():
    x = conformance.noise((1, 128, 64), 4)
    offset = torch.linspace(-50, 50, 64)
    error = (conformance.round_trip(int4, x + offset) - (x + offset)).square().sum()
    # a mean is rounded to float16, and what that leaves is coded with the rest
    assert error < 1.01 * (conformance.round_trip(int4, x) - x).square().sum()


def test_int4_payload_written_out():
    # the mean is 0, the token's scale 1; so are those of the groups of 32 and 8 channels of its first part, and that of the
    # second part's 32 is 1/2 = 2^(-8/8)
    x = torch.zeros(1, 2, 72)
    x[0, 0] = 1.0
    x[0, 0, 40:72] = 0.5
    x[0, 1] = -x[0, 0]
    payload, _ = conformance.encoded(int4, x)
    means, scales, codes, levels = payload[0].split([144, 4, 6, 72])
    assert means.tolist() == [0] * 144 and scales.tolist() == [0x80, 0x3F] * 2
    assert codes.tolist() == [0, 0, 8, 0, 0, 8]
    assert levels.tolist() == [0xFF] * 36 + [0] * 36
    assert torch.equal(int4.decode(payload, 2, 72), x)
