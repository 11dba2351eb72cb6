"""Levels on a trellis, compiled ahead of time: see artefacts.py."""

import pytest

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

from cfx_shim.kernels import formats, traffic  # noqa: E402


@pytest.mark.parametrize("codec", ["tcq1", "tcq2", "tcq3"])
@pytest.mark.parametrize("target", TARGETS)
def test_paths_are_found_in_registers(target, codec, tmp_path):
    """A thread finds one: nothing of it is shared or spilled. It reads 4 bytes of the residual and writes and reads 2."""
    kernel, _ = compiled("paths", codec, 3072, 2, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 64 and kernel.metadata.shared == 0
    assert contractions(kernel, tmp_path) == 0
    loads = [width for width in widths(kernel, "load", "ld") if width > 1]
    assert set(loads) == {2, 4} and set(stores(kernel)) == {1, 2}
    assert traffic.bytes_an_element("paths", 2, item_bytes=2) == 4 + 2 + 2


@pytest.mark.parametrize("kind", ["encode", "decode"])
@pytest.mark.parametrize("codec", ["tcq1", "tcq2", "tcq3"])
@pytest.mark.parametrize("target", TARGETS)
def test_rows_on_a_trellis_are_coded_without_spills_or_contraction(target, codec, kind, tmp_path):
    kernel, known = compiled(kind, codec, 4096, 2, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 128 and contractions(kernel, tmp_path) == 0
    threads = warps(kind, known, target) * kernel.metadata.warp_size
    elements = known["ROWS"] * known["WIDTH"]
    # of the trend nothing is written where the residual is
    trend = kept_in_bytes(kernel) if kind == "decode" else elements / threads
    moved = traffic.bytes_an_element("scales" if kind == "encode" else "decode", 2, item_bytes=2)
    assert (wide(kernel) + trend) * threads / elements == moved


def test_a_path_goes_through_four_launches_without_a_base_through_three():
    form = formats.of("tcq2")
    assert traffic.launches(form, 2)["encode"] == ("statistics", "scales", "paths", "decode")
    assert traffic.launches(form, 0)["encode"] == ("statistics", "scales", "paths")
