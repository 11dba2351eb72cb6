"""Residual orders beyond those that a codec is mostly sent with, compiled ahead of time: see artefacts.py, whose
measures these are."""

import itertools

import pytest
import torch

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import (  # noqa: E402
    STRIP,
    TARGETS,
    assert_lean,
    compiled,
    contractions,
    kept_in_bytes,
    resources,
    warps,
    wide,
    widths,
)

from cfx_shim import kernels, messages  # noqa: E402
from cfx_shim.coding import Section  # noqa: E402
from cfx_shim.kernels import formats, launch, ops, per_token_launch, topk_launch, traffic  # noqa: E402
from cfx_shim.plan import Treatment  # noqa: E402


def without_payload(kind, codec, kernel, known, target="sm_90"):
    """``moved`` less what is stored in 8 bytes but is no state, of codecs without channel scales: the counter of programs and
    of some the payload."""
    count = 0 if kind == "decode" else 8 * warps(kind, known, target) * kernel.metadata.target.warp_size
    elements = known["ROWS"] * known["WIDTH"]
    payload = 1 if kind == "encode" and codec != "topk" else 0
    return moved(kind, kernel, known, target) - 2 * (count / elements + payload)


def moved(kind, kernel, known, target="sm_90"):
    """Bytes an element of what goes in accesses of 16 bytes, and of a state's in 8: see ``assert_traffic``."""
    elements = 64 * known["AHEAD"] * STRIP if kind == "statistics" else known["ROWS"] * known["WIDTH"]
    # a trend that is read alone, or a state that is read and stored
    kept = sum(width for width in widths(kernel) if width == 8) if kind == "statistics" else kept_in_bytes(kernel)
    return (wide(kernel) + kept) * warps(kind, known, target) * kernel.metadata.target.warp_size / elements


@pytest.mark.parametrize("target", TARGETS)
def test_scales_of_what_a_prediction_leaves_take_a_second_pass(target, tmp_path):
    kernel, known = compiled("statistics", "int2", 4096, 2, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= (256 if target.startswith("gfx") else 128)
    assert kernel.metadata.shared <= 16384 and contractions(kernel, tmp_path) == 0
    passes = formats.of("int2").passes("statistics", 2)
    assert passes == 2 and formats.of("int2").passes("statistics", 1) == formats.of("lm2").passes("statistics", 2) == 1
    # beside them every thread reads back the betas of its channels, once for all it reads ahead
    expected = traffic.bytes_an_element("statistics", 2, item_bytes=2, passes=passes) + 1 / known["AHEAD"]
    assert moved("statistics", kernel, known, target) == expected


@pytest.mark.parametrize("target", TARGETS)
def test_the_papers_codecs_predict_without_spills(target, tmp_path):
    for kind in ("encode", "decode"):
        kernel, known = compiled(kind, "int2", 4096, 2, target)
        assert_lean(kernel, tmp_path)
        # the channels' scales are float16, and so read as wide as the tensor, to decode once for four rows; AMD's not as wide
        scales = 2 if kind == "encode" else 0 if target.startswith("gfx") else 2 / 4
        assert moved(kind, kernel, known, target) - scales == traffic.bytes_an_element(kind, 2, item_bytes=2)


def test_the_papers_codecs_predict_from_the_step_before_without_spills(tmp_path):
    for kind in ("first", "one launch"):
        assert_lean(compiled(kind, "int2", 3072, 2, "sm_90")[0], tmp_path)


@pytest.mark.parametrize("codec", ["fp8", "topk"])
@pytest.mark.parametrize("target", TARGETS)
def test_what_has_no_channel_scales_predicts_without_spills(target, codec, tmp_path):
    for kind in ("encode", "decode"):
        kernel, known = compiled(kind, codec, 4096, 2, target)
        assert_lean(kernel, tmp_path)
        assert kernel.metadata.shared <= 1024
        assert without_payload(kind, codec, kernel, known, target) == traffic.bytes_an_element(kind, 2, item_bytes=2)


@pytest.mark.parametrize("target", ["sm_80", "gfx942"])
def test_a_prediction_alone_is_fitted_in_one_pass(target, tmp_path):
    kernel, known = compiled("statistics", "fp8", 4096, 2, target)
    assert_lean(kernel, tmp_path)
    assert formats.of("fp8").passes("statistics", 2) == formats.of("topk").passes("statistics", 2) == 1
    assert moved("statistics", kernel, known, target) == traffic.bytes_an_element("statistics", 2, item_bytes=2)


@pytest.mark.parametrize("channels, codec, order, eight_bit", [
    (5120, "int8", 1, False), (3072, "fp8", 1, True), (5120, "int8", 2, False), (640, "fp8", 2, True), (640, "topk", 2, True),
])  # fmt: skip
def test_production_shapes_do_not_spill(channels, codec, order, eight_bit, tmp_path):
    for kind in ("encode", "decode"):
        kernel, known = compiled(kind, codec, channels, order, "sm_90", eight_bit)
        assert_lean(kernel, tmp_path)
        if order == 1:
            found = without_payload(kind, codec, kernel, known)
            assert found == traffic.bytes_an_element(kind, order, item_bytes=2, eight_bit=eight_bit)


@pytest.mark.parametrize("codec", ["fp8", "topk"])
def test_calls_are_as_many_launches_as_are_said(codec, monkeypatch):
    launched = []
    launcher = topk_launch if codec == "topk" else per_token_launch
    for module, name in ((launch, "statistics"), (launcher, "encode"), (launcher, "decode")):
        known = type(name, (), {"__getitem__": lambda _, grid, name=name: lambda *_, **__: launched.append(name)})()
        monkeypatch.setattr(module, f"{name}_kernel", known)
    place = [0, 4096, 8192], formats.NOBODY, codec
    for order in (1, 2):
        launched.clear()
        blocks, message = torch.zeros(3, 8, 64), torch.zeros(3, 16384, dtype=torch.uint8)
        states = [torch.zeros(3, 4096, dtype=torch.uint8) if order == 2 else blocks.clone() for _ in range(3)]
        ops.encode([blocks] * 3, states, message, *place, order, True, True, "exact", [])
        assert tuple(launched) == traffic.launches(formats.of(codec), order)["encode"]
        launched.clear()
        ops.decode([], states, message, *place, order, 8, 64, torch.float32)
        assert tuple(launched) == traffic.launches(formats.of(codec), order)["decode"]


# where half of the channels is no multiple of 32: a trend's groups begin anew in a row, or a group of a state in 8 bits goes
# on in a row's second part
NOT_WHOLE = [
    *((codec, 2, False) for codec in ("binary", "int2", "topk")),
    *((codec, order, True) for codec in ("lm2", "ternary") for order in (1, 2)),
]


@pytest.mark.parametrize("channels", [288, 1168])
@pytest.mark.parametrize("codec, order, eight_bit", NOT_WHOLE)
def test_groups_that_are_not_whole_in_a_row_are_gathered_without_spills_or_contraction(
    codec, order, eight_bit, channels, tmp_path
):
    for target in TARGETS:
        for kind in ("encode", "decode"):
            kernel, known = compiled(kind, codec, channels, order, target, eight_bit)
            assert known["SPLIT"] > 0
            assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0, (target, kind)


def test_kernels_serve_all_orders_and_states_at_any_channels(monkeypatch):
    monkeypatch.setattr(kernels, "available", lambda device: True)

    def served(codec, order, channels, base_dtype, feedback):
        treatment = Treatment(codec, order, feedback, base_dtype=base_dtype)
        return messages.kernel_kind(Section("k", torch.zeros(1, 4, channels), treatment)) is not None

    for codec in ("binary", "int2", "topk", "fp8", "int8", "lm2", "ternary", "tcq2", "lowrank_r32", "lowrank_fit_b16"):
        for channels in (1, 8, 20, 64, 72, 192, 288, 1152, 3072):
            every = itertools.product((0, 1, 2), (channels,), ("native", "int8"), (True, False))
            assert all(served(codec, *kind) for kind in every), codec
