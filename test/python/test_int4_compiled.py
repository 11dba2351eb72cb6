"""The kernels of ``int4`` compiled ahead of time, and the launches of a call: see artefacts.py, whose measures these are."""

import re

import pytest
import torch

triton = pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

import triton.language as tl  # noqa: E402
from artefacts import TARGETS, assert_lean, resources, stores, wide  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from cfx_shim.kernels import formats, int4, int4_launch, repeat, traffic  # noqa: E402

STRIP = 32


def compiled(kind, channels, target, eight_bit=False):
    """Of a keyframe that starts a state of order 2 with a base before; the kernel, its constants, and its warps."""
    kernel, start = getattr(int4, f"{kind}_kernel"), (channels, False, 2, True, eight_bit)
    if kind == "means":
        known, warps = int4_launch.means_constants(channels, STRIP, False), 4
    else:
        known = int4_launch.encode_constants(*start) if kind == "encode" else int4_launch.decode_constants(*start)
        known, warps = known | ({"DTYPE": tl.bfloat16} if kind == "decode" else {}), int4_launch.warps(known, TARGETS[target].warp_size)
    of = {"message": "*u8", "state": "*i16" if eight_bit else "*u8", "x": "*bf16", "out": "*bf16"}
    types, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        types[name] = "constexpr" if name in known else of.get(re.sub(r"\d$", "", name), "i32")
        if name not in known and name not in ("own", "peers"):
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=types, constexprs=known, attrs=attributes)
    options = {"num_warps": warps, **repeat.OPTIONS}
    return triton.compile(source, target=TARGETS[target], options=options), known, warps * TARGETS[target].warp_size


@pytest.mark.parametrize("kind", ["means", "encode", "decode"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_keyframe_moves_its_tensor_and_its_state_without_spills_or_contraction(target, kind, tmp_path):
    kernel, known, threads = compiled(kind, 4096, target)
    assert_lean(kernel, tmp_path)
    assert kernel.metadata.shared <= 16384
    moved = traffic.keyframe_bytes_an_element("statistics" if kind == "means" else kind, 2, item_bytes=2)
    if kind == "means":
        assert wide(kernel) * threads / (64 * STRIP) == moved
        return
    # means are read as wide as the tensor, and once more where a state is started beside coding; a trend goes in bytes
    means = 4 if kind == "encode" else 2
    found = (wide(kernel) + sum(width for width in stores(kernel) if width == 8)) * threads
    assert found / (known["ROWS"] * known["WIDTH"]) - means == moved
    # levels go four bytes a thread
    assert (4 in stores(kernel)) == (kind == "encode")


@pytest.mark.parametrize("channels", [13824, 5120, 640])
def test_rows_of_any_width_are_held_without_spills(channels, tmp_path):
    for kind in ("encode", "decode"):
        kernel, _, _ = compiled(kind, channels, "sm_90", eight_bit=True)
        assert resources(kernel, tmp_path)[1] == 0


def test_a_call_is_as_many_launches_as_are_said(monkeypatch):
    launched = []

    class Kernel:
        def __init__(self, name):
            self._name = name

        def __getitem__(self, grid):
            return lambda *_, **__: launched.append(self._name)

    for name in ("means", "encode", "decode"):
        monkeypatch.setattr(int4_launch, f"{name}_kernel", Kernel(name))
    blocks, message = torch.zeros(3, 8, 64), torch.zeros(3, 4096, dtype=torch.uint8)
    xs = [blocks] * 3
    int4_launch.encode(xs, [], message, [0, 1024, 2048], formats.NOBODY, 0, True)
    assert len(launched) == len(traffic.launches(formats.of("int4"))["encode"])
    int4_launch.decode(xs, [], message, [0, 1024, 2048], formats.NOBODY, 0, 8, 64, torch.float32)
    assert launched == ["means", "encode", "decode"]


@pytest.mark.parametrize("kind", ["encode", "decode"])
def test_groups_of_a_state_that_are_not_whole_in_a_part_are_gathered_without_spills(kind, tmp_path):
    for target in TARGETS:
        kernel, known, _ = compiled(kind, 1168, target, True)
        assert known["SPLIT"] == known["CHANNELS"] and resources(kernel, tmp_path)[1] == 0, target
