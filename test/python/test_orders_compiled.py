"""Residual orders beyond those that a codec is mostly sent with, compiled ahead of time: see test_kernels_compiled.py, whose
measures these are."""

import pytest

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from test_kernels_compiled import (  # noqa: E402
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

from cfx_shim.kernels import formats, traffic  # noqa: E402


def moved(kind, kernel, known, target="sm_90"):
    """Bytes an element of what goes in accesses of 16 bytes, and of a state's in 8: see ``assert_traffic``."""
    elements = 64 * STRIP if kind == "statistics" else known["ROWS"] * known["WIDTH"]
    # a trend that is read alone, or a state that is read and stored
    kept = sum(width for width in widths(kernel) if width == 8) if kind == "statistics" else kept_in_bytes(kernel)
    return (wide(kernel) + kept) * warps(kind, known, target) * kernel.metadata.warp_size / elements


@pytest.mark.parametrize("target", TARGETS)
def test_scales_of_what_a_prediction_leaves_take_a_second_pass(target, tmp_path):
    kernel, known = compiled("statistics", "int2", 4096, 2, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= (256 if target.startswith("gfx") else 128)
    assert kernel.metadata.shared <= 16384 and contractions(kernel, tmp_path) == 0
    passes = formats.of("int2").passes(2)
    assert passes == 2 and formats.of("int2").passes(1) == formats.of("lm2").passes(2) == 1
    # beside them every thread reads back the betas of its channels
    expected = traffic.bytes_an_element("statistics", 2, item_bytes=2, passes=passes) + 1
    assert moved("statistics", kernel, known, target) == expected


@pytest.mark.parametrize("target", TARGETS)
def test_the_papers_codecs_predict_without_spills(target, tmp_path):
    for kind in ("encode", "decode"):
        kernel, known = compiled(kind, "int2", 4096, 2, target)
        assert_lean(kernel, tmp_path)
        # the channels' scales are float16, and so read as wide as the tensor
        assert moved(kind, kernel, known, target) - 2 == traffic.bytes_an_element(kind, 2, item_bytes=2)


def test_the_papers_codecs_predict_from_the_step_before_without_spills(tmp_path):
    for kind in ("first", "one launch"):
        assert_lean(compiled(kind, "int2", 3072, 2, "sm_90")[0], tmp_path)
