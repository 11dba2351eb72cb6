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


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("target", TARGETS)
def test_paths_are_found_without_spills_or_contraction_and_with_the_traffic_that_is_said(target, codec, tmp_path):
    """In three loops: over rows, over a path in eight channels at once, of each thread its own, and over what it coded."""
    kernel, known = compiled("paths", codec, 4096, 2, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 168 and contractions(kernel, tmp_path) == 0
    assert kernel.metadata.shared <= 1024
    # elements a thread in each loop
    rows, path, coded = known["ROWS"] * known["WIDTH"] // known["LANES"], 8, 8
    levels = 2 * coded if known["BITS"] > 1 else 0
    # tensor and base in accesses of 16 bytes, the base written once; the trend in 8, beside channel scales and betas
    assert wide(kernel) == 4 * rows + 4 * path + levels + 2 * coded + 2 * coded
    eights = [width for width in widths(kernel, "load", "ld") if width == 8]
    assert sum(eights) == 3 * (rows + path + coded) and stores(kernel).count(8) == 1
    # beside a byte an element, for each 32 eight words
    assert stores(kernel).count(4) == (16 if target == "gfx942" else 8), "eight, or of a loop unrolled once"
    passes = formats.of(codec).passes("paths", 2)
    assert passes == (4 + levels // coded) // 2
    assert traffic.bytes_an_element("paths", 2, item_bytes=2, passes=passes) == 3 * 3 + 2 * passes + 3 + 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [768, 3072, 5120])
def test_paths_of_production_shapes_do_not_spill(channels, codec, tmp_path):
    for target in TARGETS:
        assert resources(compiled("paths", codec, channels, 2, target)[0], tmp_path)[1] == 0, target


@pytest.mark.parametrize("order, eight_bit", [(0, False), (1, False), (1, True), (2, True)])
@pytest.mark.parametrize("target", TARGETS)
def test_paths_beside_other_states_do_not_spill(target, order, eight_bit, tmp_path):
    kernel, _ = compiled("paths", "tcq2", 3072, order, target, eight_bit)
    assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0


@pytest.mark.parametrize("codec", ["tcq2", "tcq3"])
@pytest.mark.parametrize("channels", [288, 1168])
def test_paths_beside_groups_of_a_state_that_are_not_whole_in_a_part_do_not_spill(channels, codec, tmp_path):
    for target in TARGETS:
        kernel, known = compiled("paths", codec, channels, 2, target, True)
        assert known["SPLIT"] == known["CHANNELS"] and resources(kernel, tmp_path)[1] == 0, target


@pytest.mark.parametrize("kind", ["one launch", "first", "paths of given scales"])
def test_scales_of_the_step_before_are_a_launch_of_their_own_that_does_not_spill(kind, tmp_path):
    kernel, _ = compiled(kind, "tcq2", 3072, 2, "sm_90")
    assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0
    if kind == "paths of given scales":
        # as in the launch that finds them too, but for what that reads for them
        path, levels, coded = 8, 16, 8
        assert wide(kernel) == 4 * path + levels + 2 * coded + 2 * coded
        passes = formats.of("tcq2").passes("paths alone", 2)
        assert traffic.bytes_an_element("paths alone", 2, item_bytes=2, passes=passes) == 2 * 3 + 2 * 2 + 3 + 1


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
def test_two_launches_encode(order, statistics, monkeypatch):
    launched = []

    class Kernel:
        def __init__(self, name):
            self._name = name

        def __getitem__(self, grid):
            return lambda *_, **__: launched.append(self._name)

    for name, kernel in (("statistics", "statistics"), ("paths", "trellis"), ("encode", "encode"), ("decode", "decode")):
        monkeypatch.setattr(launch, f"{kernel}_kernel", Kernel(name))
    form, xs = formats.of("tcq2"), [torch.zeros(3, 8, 64)] * 3
    states, message = [torch.zeros(3, 4096, dtype=torch.uint8)] * 3, torch.zeros(3, 4096, dtype=torch.uint8)
    histories = [torch.zeros(3, 80, dtype=torch.uint8)] * 3 if statistics == "previous" else []
    where = states if order else [], message, [0, 1024, 2048], formats.NOBODY
    launch.encode(form, xs, *where, order, True, True, statistics, histories)
    # what finds the scales of tokens is the launch that encodes other codecs
    names = {"scales": "encode", "paths alone": "paths"}
    assert tuple(launched) == tuple(names.get(each, each) for each in traffic.launches(form, order, statistics)["encode"])
    assert launched == (["encode", "paths"] if histories else ["statistics", "paths"])
