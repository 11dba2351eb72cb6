"""What starts a state, compiled ahead of time: see artefacts.py."""

import pytest

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import STRIP, TARGETS, assert_lean, compiled, resources, stores, warps, wide  # noqa: E402

from cfx_shim.kernels import formats, traffic  # noqa: E402

STARTED = [
    (kind, codec, order, eight_bit)
    for codec in ("centred4", "centred5", "int8", "fp8")
    for kind in ("encode", "decode")
    for order, eight_bit in ((1, False), (2, False), (1, True), (2, True))
]


@pytest.mark.parametrize("continues", [False, True])
@pytest.mark.parametrize("kind, codec, order, eight_bit", STARTED)
def test_a_keyframe_moves_its_tensor_and_the_state_that_it_starts(kind, codec, order, eight_bit, continues, tmp_path):
    """And what a trend is taken from, where there is one to be taken."""
    kernel, known = compiled(kind, codec, 4096, 0, "sm_90", eight_bit, starts=order, continues=continues)
    assert_lean(kernel, tmp_path)
    threads, elements = warps(kind, known) * kernel.metadata.target.warp_size, known["ROWS"] * known["WIDTH"]
    found = (wide(kernel) + sum(width for width in stores(kernel) if width == 8)) * threads
    if formats.of(codec).centred:
        # means of channels, which are read as wide as the tensor
        found -= 2 * elements
    elif kind == "encode":
        # the payload is stored as a trend is, and so is the counter of programs
        found -= elements + 8 * threads
    assert found / elements == traffic.keyframe_bytes_an_element(kind, order, 2, eight_bit, continues=continues)


@pytest.mark.parametrize("codec", ["centred5", "int8", "fp8"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_keyframe_has_no_spills_and_no_contraction(target, codec, tmp_path):
    for kind in ("statistics", "encode", "decode") if formats.of(codec).centred else ("encode", "decode"):
        kernel, _ = compiled(kind, codec, 4096, 0, target, starts=2, continues=True)
        assert_lean(kernel, tmp_path)
        assert kernel.metadata.shared <= 16384


def test_means_that_are_taken_off_cost_a_second_pass_over_the_tensor(tmp_path):
    kernel, known = compiled("statistics", "centred5", 4096, 0, "sm_90")
    # beside them every thread reads back the means of its channels
    found = (wide(kernel) - 16) * warps("statistics", known) * kernel.metadata.target.warp_size / (64 * known["AHEAD"] * STRIP)
    assert found == traffic.bytes_an_element("statistics", 0, item_bytes=2, passes=formats.of("centred5").passes("statistics", 0))
    assert found == traffic.keyframe_bytes_an_element("statistics", 2, item_bytes=2, centred=True)


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize("codec", ["centred5", "int8"])
@pytest.mark.parametrize("channels", [5120, 3072, 640])
def test_keyframes_of_production_shapes_do_not_spill(channels, codec, target, tmp_path):
    for kind in ("encode", "decode"):
        for eight_bit in (False, True):
            kernel, _ = compiled(kind, codec, channels, 0, target, eight_bit, starts=2, continues=True)
            assert resources(kernel, tmp_path)[1] == 0


@pytest.mark.parametrize("kind", ["encode", "decode"])
def test_groups_of_a_state_that_are_not_whole_in_a_part_are_gathered_without_spills(kind, tmp_path):
    for target in TARGETS:
        kernel, known = compiled(kind, "centred5", 1168, 0, target, True, starts=2, continues=True)
        assert known["SPLIT"] == known["CHANNELS"] and resources(kernel, tmp_path)[1] == 0, target
