"""A byte an element and a scale a token, compiled ahead of time: see artefacts.py."""

import pytest
import torch

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import TARGETS, assert_traffic, compiled, contractions, resources, warps, widths  # noqa: E402

from cfx_shim.kernels import formats, per_token_launch, traffic  # noqa: E402


def test_a_byte_an_element_is_coded_in_one_launch_and_decoded_in_one(monkeypatch):
    launched = []
    for name in ("encode", "decode"):
        kernel = {(1, 3, 3): lambda *_, name=name, **__: launched.append(name)}
        monkeypatch.setattr(per_token_launch, f"{name}_kernel", kernel)
    form, blocks = formats.of("fp8"), torch.zeros(3, 8, 64)
    xs, message = [blocks] * 3, torch.zeros(3, 4096, dtype=torch.uint8)
    per_token_launch.encode(form, xs, [], message, [0, 1024, 2048], formats.NOBODY, 0, True, True)
    assert tuple(launched) == traffic.launches(form)["encode"]
    launched.clear()
    per_token_launch.decode(form, xs, [], message, [0, 1024, 2048], formats.NOBODY, 0, 8, 64, torch.float32)
    assert tuple(launched) == traffic.launches(form)["decode"]
    assert traffic.launches(formats.of("lm2")) == traffic.LAUNCHES


@pytest.mark.parametrize("kind", ["encode", "decode"])
@pytest.mark.parametrize("codec", ["fp8", "int8"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_byte_an_element_is_moved_beside_the_tensor_without_spills_or_contraction(target, codec, kind, tmp_path):
    kernel, known = compiled(kind, codec, 4096, 0, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 128
    assert kernel.metadata.shared <= 1024
    assert contractions(kernel, tmp_path) == 0
    threads = warps(kind, known) * kernel.metadata.target.warp_size
    # the payload goes in halves of a load, and 8 bytes are the counter of programs
    payload = 8 * (widths(kernel).count(8) - (kind == "encode")) * threads
    assert payload == known["ROWS"] * known["WIDTH"]
    assert_traffic(kind, kernel, known, 0)


@pytest.mark.parametrize("channels", [13824, 5120, 3072, 640])
@pytest.mark.parametrize("codec", ["fp8", "int8"])
def test_rows_of_any_width_are_held_without_spills(codec, channels, tmp_path):
    for kind in ("encode", "decode"):
        kernel, known = compiled(kind, codec, channels, 0, "sm_90")
        assert resources(kernel, tmp_path)[1] == 0
        assert widths(kernel).count(16) >= channels * known["ROWS"] // (8 * 32 * warps(kind, known))


@pytest.mark.parametrize("codec", ["fp8", "int8"])
def test_values_that_begin_anywhere_do_not_narrow_the_access_to_the_tensor(codec, tmp_path):
    for kind in ("encode", "decode"):
        kernel, known = compiled(kind, codec, 4096, 0, "sm_90", ragged=("tokens",))
        assert resources(kernel, tmp_path)[1] == 0
        assert_traffic(kind, kernel, known, 0)
