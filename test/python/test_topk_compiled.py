"""The largest of every 16 channels, compiled ahead of time: see artefacts.py."""

import pytest
import torch

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import (  # noqa: E402
    TARGETS,
    assert_traffic,
    compiled,
    contractions,
    kept_in_bytes,
    resources,
    wide,
)

from cfx_shim.kernels import formats, launch, topk_launch, traffic  # noqa: E402


def test_the_largest_of_every_group_is_coded_in_one_launch_and_decoded_in_one(monkeypatch):
    launched = []
    for name in ("encode", "decode"):
        kernel = {(1, 3, 3): lambda *_, name=name, **__: launched.append(name)}
        monkeypatch.setattr(topk_launch, f"{name}_kernel", kernel)
    blocks, message = torch.zeros(3, 8, 64), torch.zeros(3, 4096, dtype=torch.uint8)
    xs, states = [blocks] * 3, [blocks.clone()] * 3
    topk_launch.encode(xs, states, message, [0, 1024, 2048], formats.NOBODY, 1, True, True)
    assert tuple(launched) == traffic.launches(formats.of("topk"))["encode"]
    launched.clear()
    topk_launch.decode([], states, message, [0, 1024, 2048], formats.NOBODY, 1, 8, 64, torch.float32)
    assert tuple(launched) == traffic.launches(formats.of("topk"))["decode"]


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("kind", ["encode", "decode"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_largest_of_every_group_is_coded_without_spills_or_contraction(target, kind, order, tmp_path):
    kernel, known = compiled(kind, "topk", 4096, order, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 96
    assert kernel.metadata.shared <= 1024
    assert contractions(kernel, tmp_path) == 0
    assert_traffic(kind, kernel, known, order)


@pytest.mark.parametrize("eight_bit", [False, True])
@pytest.mark.parametrize("channels", [3072, 1152, 640])
def test_the_largest_of_every_group_takes_no_more_than_there_is_of_any_width(channels, eight_bit, tmp_path):
    for kind in ("encode", "decode"):
        kernel, known = compiled(kind, "topk", channels, 1, "sm_90", eight_bit)
        assert known["WIDTH"] * known["STRETCHES"] == channels
        assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0
        threads = launch.row_warps(known) * kernel.metadata.target.warp_size
        found = wide(kernel) + (kept_in_bytes(kernel) - (2 * 8 if kind == "encode" else 0) if eight_bit else 0)
        elements = known["ROWS"] * known["WIDTH"]
        assert found * threads / elements == traffic.bytes_an_element(kind, 1, item_bytes=2, eight_bit=eight_bit)
