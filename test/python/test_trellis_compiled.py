"""Levels on a trellis, compiled ahead of time: see artefacts.py."""

import pytest
import torch

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import (  # noqa: E402
    TARGETS,
    compiled,
    contractions,
    kept_in_bytes,
    resources,
    stores,
    warps,
    wide,
    widths,
)

from cfx_shim.kernels import formats, launch, traffic  # noqa: E402

CODECS = ["tcq1", "tcq2", "tcq3"]


def assert_lean(kernel, most_registers, tmp_path):
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= most_registers and contractions(kernel, tmp_path) == 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("target", TARGETS)
def test_paths_are_found_by_one_warp_without_spills_or_contraction_and_with_the_traffic_that_is_said(target, codec, tmp_path):
    """Each thread in eight channels at once, and in those that come next, which are on their way meanwhile."""
    kernel, _ = compiled("paths", codec, 4096, 2, target)
    assert_lean(kernel, 168, tmp_path)
    assert kernel.metadata.shared == 0 and kernel.metadata.num_warps == 1
    # of the first eight channels and of the next ones, tensor and base in accesses of 16 bytes, trend, betas and scales in 8
    assert wide(kernel) == 2 * (2 + 2) * 8
    assert widths(kernel, "load", "ld").count(8) == 2 * 3
    # a byte an element, for each 32 eight words
    assert stores(kernel).count(4) == (16 if target == "gfx942" else 8), "eight, or of a loop unrolled once"
    assert traffic.bytes_an_element("paths", 2, item_bytes=2) == 2 + 3 + 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("target", TARGETS)
def test_levels_are_found_without_spills_or_contraction_and_with_the_traffic_that_is_said(target, codec, tmp_path):
    kernel, known = compiled("levels", codec, 4096, 2, target)
    assert_lean(kernel, 168, tmp_path)
    threads = warps("levels", known, target) * kernel.metadata.target.warp_size
    moved = (wide(kernel) + kept_in_bytes(kernel)) * threads / (known["ROWS"] * known["WIDTH"])
    passes = formats.of(codec).passes("levels", 2)
    assert moved == traffic.bytes_an_element("levels", 2, item_bytes=2, passes=passes) == 2 * (known["BITS"] > 1) + 6


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [768, 3072, 5120])
def test_launches_of_production_shapes_do_not_spill(channels, codec, tmp_path):
    for target in TARGETS:
        for kind in ("encode", "paths", "levels"):
            assert resources(compiled(kind, codec, channels, 2, target)[0], tmp_path)[1] == 0, (kind, target)


@pytest.mark.parametrize("order, eight_bit", [(0, False), (1, False), (1, True), (2, True)])
@pytest.mark.parametrize("target", TARGETS)
def test_launches_beside_other_states_do_not_spill(target, order, eight_bit, tmp_path):
    for kind in ("encode", "paths", "levels"):
        kernel, _ = compiled(kind, "tcq2", 3072, order, target, eight_bit)
        assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0, kind


@pytest.mark.parametrize("codec", ["tcq2", "tcq3"])
@pytest.mark.parametrize("channels", [288, 1168])
def test_levels_beside_groups_of_a_state_that_are_not_whole_in_a_part_do_not_spill(channels, codec, tmp_path):
    for target in TARGETS:
        kernel, known = compiled("levels", codec, channels, 2, target, True)
        assert known["SPLIT"] == known["CHANNELS"] and resources(kernel, tmp_path)[1] == 0, target


@pytest.mark.parametrize("kind", ["one launch", "first"])
def test_scales_with_those_of_the_step_before_do_not_spill(kind, tmp_path):
    kernel, _ = compiled(kind, "tcq2", 3072, 2, "sm_90")
    assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("target", TARGETS)
def test_rows_on_a_trellis_are_decoded_without_spills_or_contraction(target, codec, tmp_path):
    kernel, known = compiled("decode", codec, 4096, 2, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 128 and contractions(kernel, tmp_path) == 0
    threads = warps("decode", known, target) * kernel.metadata.target.warp_size
    moved = (wide(kernel) + kept_in_bytes(kernel)) * threads / (known["ROWS"] * known["WIDTH"])
    assert moved == traffic.bytes_an_element("decode", 2, item_bytes=2)


@pytest.mark.parametrize("order, statistics", [(0, "exact"), (2, "exact"), (2, "previous")])
def test_scales_paths_and_levels_are_launches_of_their_own(order, statistics, monkeypatch):
    launched = []

    class Kernel:
        def __init__(self, name):
            self._name = name

        def __getitem__(self, grid):
            return lambda *_, **__: launched.append(self._name)

    for name, kernel in (("statistics", "statistics"), ("scales", "encode"), ("paths", "paths"), ("levels", "levels")):
        monkeypatch.setattr(launch, f"{kernel}_kernel", Kernel(name))
    form, xs = formats.of("tcq2"), [torch.zeros(3, 8, 64)] * 3
    states, message = [torch.zeros(3, 4096, dtype=torch.uint8)] * 3, torch.zeros(3, 4096, dtype=torch.uint8)
    histories = [torch.zeros(3, 80, dtype=torch.uint8)] * 3 if statistics == "previous" else []
    where = states if order else [], message, [0, 1024, 2048], formats.NOBODY
    launch.encode(form, xs, *where, order, True, True, statistics, histories)
    assert tuple(launched) == traffic.launches(form, order, statistics)["encode"]
    assert launched == [*([] if histories else ["statistics"]), "scales", "paths", "levels"]
