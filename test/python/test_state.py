"""State of residual sections: in the tensor's own type, and what is kept in 8 bits against the rule in plain numbers."""

import math

import pytest
import torch

from cfx_shim import coding, codecs
from cfx_shim._contract import CODECS
from cfx_shim.coding import Section
from cfx_shim.plan import Treatment
from cfx_shim.state import add_decoded_, aligned, layout

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# whole groups of 32 channels, less than one, several and a rest
SHAPES = ((2, 5, 64), (1, 3, 7), (3, 9, 75), (1, 1, 1))


def stored(values, order=1, trend=None, dtype=torch.float32):
    """``values`` [B, N, C] as an 8-bit state gives them back: (state, base, trend)."""
    form = layout("int8", order, *values.shape[1:], dtype)
    state = torch.full(form.shape(len(values)), 99, dtype=form.stored)
    form.move(state, torch.zeros_like(values), values.clone(), trend)
    return state, *form.read(state)


def by_the_rule(group, most):
    """(codes, scale byte) of one group of numbers, from the definition."""
    need = float(torch.tensor(max(abs(x) for x in group)) * torch.tensor(1 / most, dtype=torch.float32))
    scales = [(1 + c % 8 / 8) * 2.0 ** (c // 8 - 20) for c in range(256)]
    byte = next((c for c, scale in enumerate(scales) if scale >= need), 255)
    inverse = torch.tensor(1.0) / torch.tensor(scales[byte])
    return [max(-most, min(most, round(float(torch.tensor(x) * inverse)))) for x in group], byte, scales[byte]


def spread(shape, seed):
    """Magnitudes over many octaves, so that groups have scales of their own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * 2.0 ** torch.randint(-24, 22, shape, generator=generator)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_order_1_is_a_byte_an_element_and_a_byte_a_group_by_the_rule(shape):
    values = spread(shape, 1)
    state, base, _ = stored(values)
    batch, tokens, channels = shape
    groups = math.ceil(channels / 32)
    assert state.shape == (batch, tokens * (channels + groups)) and state.dtype == torch.int8
    for block in range(batch):
        for token in range(tokens):
            for group in range(groups):
                span = slice(32 * group, min(32 * group + 32, channels))
                codes, byte, scale = by_the_rule(values[block, token, span].tolist(), 127)
                row = state[block, token * channels : (token + 1) * channels]
                assert row[span].tolist() == codes
                assert int(state[block, tokens * channels + token * groups + group]) & 0xFF == byte
                assert base[block, token, span].tolist() == [code * scale for code in codes]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_order_2_is_a_word_for_base_and_trend_by_the_rule(shape):
    values, trend = spread(shape, 2), spread(shape, 3)
    state, base, slope = stored(values, 2, trend)
    batch, tokens, channels = shape
    groups = math.ceil(channels / 32)
    assert state.shape == (batch, tokens * (channels + groups)) and state.dtype == torch.int16
    for token in range(tokens):
        for group in range(groups):
            span = slice(32 * group, min(32 * group + 32, channels))
            bases, high, high_scale = by_the_rule(values[0, token, span].tolist(), 511)
            slopes, low, low_scale = by_the_rule(trend[0, token, span].tolist(), 31)
            words = state[0, token * channels : (token + 1) * channels][span].tolist()
            assert words == [64 * one + other % 64 for one, other in zip(bases, slopes)]
            assert int(state[0, tokens * channels + token * groups + group]) & 0xFFFF == high + 256 * low
            assert base[0, token, span].tolist() == [code * high_scale for code in bases]
            assert slope[0, token, span].tolist() == [code * low_scale for code in slopes]


def test_the_noise_of_rounding_is_half_a_hundredth_of_a_gaussian_and_a_third_of_that_with_a_trend():
    values = torch.randn((1, 256, 256), generator=torch.Generator().manual_seed(4))
    for order, limit in ((1, 0.006), (2, 0.0015)):
        base = stored(values, order, values)[1]
        assert float((base - values).norm() / values.norm()) < limit


@pytest.mark.parametrize("order", [1, 2])
def test_what_is_zero_huge_tiny_or_no_number_is_kept_as_defined(order):
    most, top = (127, 487680.0) if order == 1 else (511, 1962240.0)
    values = torch.zeros((1, 7, 64))
    values[0, 1, :3] = torch.tensor([3e38, -3e38, 1.0])
    values[0, 2, :3] = torch.tensor([math.inf, -math.inf, 1e5])
    values[0, 3, :3] = torch.tensor([math.nan, 5000.0, -5000.0])
    values[0, 4, :3] = torch.tensor([1e-42, -(2.0**-21), 1e-30])
    values[0, 5, :3] = torch.tensor([1.0, -1.0, 0.5])
    values[0, 6, 32:] = 4.0
    base = stored(values, order, torch.zeros_like(values))[1]
    assert torch.isfinite(base).all()
    assert not base[0, 0].any() and not base[0, 4].any()
    assert base[0, 1, :3].tolist() == [top, -top, 0.0]
    assert base[0, 2, :2].tolist() == [top, -top]
    assert base[0, 3, 0] == 0 and (base[0, 3, 1:3] - values[0, 3, 1:3]).abs().max() <= 1920
    # another group of the same token is not touched by any of it
    assert not base[0, :6, 32:].any()
    assert (base[0, 5:] - values[0, 5:]).abs().max() <= 4.0 / most


def test_float16_is_used_saturated():
    form = layout("int8", 1, 1, 2, torch.float16)
    state = torch.zeros(form.shape(1), dtype=form.stored)
    used = form.move(state, torch.full((1, 1, 2), 65000.0), torch.tensor([[[5000.0, -5000.0]]]), None)
    assert used.dtype == torch.float16 and used.flatten().tolist() == [65504.0, 60000.0]


def test_memory_in_8_bits_is_about_half_of_sixteen_bits_a_number_and_with_a_native_base_three_quarters():
    for order in (1, 2):
        sizes = {}
        for kind in ("native", "int8"):
            form = layout(kind, order, 1152, 3072, torch.bfloat16)
            sizes[kind] = math.prod(form.shape(3)) * form.stored.itemsize
        assert sizes["int8"] <= 0.53 * 3 * order * 1152 * 3072 * 2
        assert sizes["native"] == 3 * 1152 * (3072 * 2 if order == 1 else 3072 * 3 + 3072 // 32)


def walk(shape, steps, seed, dtype):
    """Tensors whose successive changes point the same way, a sixteenth of their norm each."""
    generator = torch.Generator().manual_seed(seed)
    x, change = (torch.randn(shape, generator=generator) for _ in range(2))
    for _ in range(steps):
        yield x.to(dtype)
        change = 0.8 * change + 0.6 * torch.randn(shape, generator=generator)
        x = x + change / 16


def loop(codec, order, dtype, base_dtype, shape=(2, 20, 70), steps=12, keyframe="identity"):
    """Both ends of one site: relative error of what is used over all steps but the first."""
    states, error, energy = None, 0.0, 0.0
    for step, x in enumerate(walk(shape, steps, 5, dtype)):
        section = Section("k", x, Treatment(codec, order, True, keyframe, base_dtype))
        section.open(step == 0, states is not None)
        if states is None:
            form = section.layout
            # what was in memory before must not show
            states = [torch.full(form.shape(len(x)), fill, dtype=form.stored) for fill in (3, 77)]
        room = torch.zeros((len(x), aligned(section.bytes)), dtype=torch.uint8)[:, : section.bytes]
        assert not coding.encode(section, x, room, states[0])
        received = coding.decode(section, room, states[1])
        assert received.dtype == dtype and torch.equal(*states)
        if step:
            error += float((received.float() - x.float()).square().sum())
            energy += float(x.float().square().sum())
    return math.sqrt(error / energy)


LOSSY = [name for name in CODECS if not codecs.load(name).EXACT]


@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("codec", LOSSY)
def test_both_ends_hold_the_same_8_bits_with_every_codec_and_order(codec, dtype):
    for order in (1, 2):
        own, eight = (loop(codec, order, dtype, kind, keyframe="int8" if order == 2 else "identity") for kind in ("native", "int8"))
        # a codec of 8 bits is as fine as the state itself
        assert eight <= 1.03 * own + 0.002


@pytest.mark.parametrize("keyframe", ["identity", "int8", "centred4", "centred5"])
def test_every_keyframe_starts_8_bits(keyframe):
    assert loop("lm2", 2, torch.bfloat16, "int8", keyframe=keyframe) < 1.03 * loop("lm2", 2, torch.bfloat16, "native", keyframe=keyframe)


def test_what_is_used_one_step_late_is_never_rounded():
    assert loop("stale", 1, torch.float32, "int8") == loop("stale", 1, torch.float32, "native")
    assert Section("k", torch.zeros(1, 2, 3), Treatment("stale", 0, True, "identity", "int8")).layout.stored == torch.float32


def test_a_keyframe_is_used_as_it_arrives_and_kept_in_8_bits():
    x = next(walk((1, 4, 40), 1, 6, torch.bfloat16))
    section = Section("k", x, Treatment("lm2", 2, True, "identity", "int8"), keyframe=True)
    state = torch.zeros(section.layout.shape(1), dtype=section.layout.stored)
    room = torch.zeros((1, section.bytes), dtype=torch.uint8)
    coding.encode(section, x, room, torch.zeros_like(state))
    assert torch.equal(coding.decode(section, room, state), x)
    base, trend = section.layout.read(state)
    assert not trend.any() and 0 < float((base - x.float()).norm() / x.float().norm()) < 0.002


# in the tensor's own type


@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("shape", [*SHAPES, (2, 3, 130)], ids=str)
def test_beside_a_native_base_a_trend_is_a_byte_an_element_by_the_rule(shape, dtype):
    values, trend = torch.randn(shape, generator=torch.Generator().manual_seed(7)).to(dtype), spread(shape, 8)
    batch, tokens, channels = shape
    form = layout("native", 2, tokens, channels, dtype)
    state = torch.full(form.shape(batch), 99, dtype=form.stored)
    # a started state shows nothing of what was in memory before
    form.start(state, values, torch.ones(shape))
    form.move(state, form.read(state)[0], torch.zeros(shape), trend)
    # whole bytes of a bit plane in the first of two parts, each of whole groups and a rest
    middle = min(channels, 8 * math.ceil(channels / 16))
    starts = [*range(0, middle, 32), *range(middle, channels, 32)]
    spans = [slice(a, min(b, middle if a < middle else channels)) for a, b in zip(starts, [*starts[1:], channels])]
    size = values[0].numel() * dtype.itemsize
    at = 16 * math.ceil(size / 16)
    end = at + tokens * (channels + len(spans))
    assert state.shape == (batch, 16 * math.ceil(end / 16)) and state.dtype == torch.uint8
    base, slope = form.read(state)
    assert base.dtype == dtype and torch.equal(base, values)
    for block in range(batch):
        assert torch.equal(state[block, :size].view(dtype).view(tokens, channels), values[block])
        assert not state[block, size:at].any() and not state[block, end:].any()
        for token in range(tokens):
            for group, span in enumerate(spans):
                codes, byte, scale = by_the_rule(trend[block, token, span].tolist(), 127)
                row = state[block, at + token * channels :][:channels].view(torch.int8)
                assert row[span].tolist() == codes
                assert int(state[block, at + tokens * channels + token * len(spans) + group]) == byte
                assert slope[block, token, span].tolist() == [code * scale for code in codes]


def test_a_sum_is_formed_in_float32_and_rounded_once():
    base = torch.tensor([256.0], dtype=torch.bfloat16)
    # 256 + 1.5 = 257.5 rounds to 258 in bfloat16, whose step here is 2; 1.5 alone is exact
    assert add_decoded_(base, torch.tensor([1.5])) is base
    assert base.item() == 258.0
    single = torch.tensor([1.0])
    assert add_decoded_(single, torch.tensor([2.0**-20])) is single
    assert single.item() == 1 + 2.0**-20
