"""The row kernels compiled ahead of time, and the launches of a call: see artefacts.py, whose measures these are."""

import collections
import re

import pytest
import torch

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import (  # noqa: E402
    TARGETS,
    assert_lean,
    assert_traffic,
    assert_traffic_of_one_launch,
    compiled,
    contractions,
    kept_in_bytes,
    resources,
    warps,
    wide,
    widths,
)

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from cfx_shim.kernels import formats, int4_launch, launch, ops, per_token_launch, tiles, topk_launch, traffic  # noqa: E402

# at 16 bits: x, base (and a byte of trend), read, and for the state written
FIGURES = {
    ("statistics", 0): 2, ("encode", 0): 2, ("decode", 0): 2,
    ("statistics", 1): 4, ("encode", 1): 6, ("decode", 1): 4,
    ("statistics", 2): 5, ("encode", 2): 8, ("decode", 2): 6,
}  # fmt: skip


def test_what_is_said_of_traffic_is_what_is_aimed_at():
    assert {key: traffic.bytes_an_element(*key, item_bytes=2) for key in FIGURES} == FIGURES


@pytest.mark.parametrize("kind", ["statistics", "encode", "decode"])
def test_without_a_state_the_tensor_alone_is_moved(kind):
    kernel, known = compiled(kind, "lm1", 4096, 0, "sm_90")
    assert_traffic(kind, kernel, known, 0)


def test_a_call_is_as_many_launches_as_are_said(monkeypatch):
    launched = []

    class Kernel:
        def __init__(self, name):
            self._name = name

        def __getitem__(self, grid):
            return lambda *_, **__: launched.append(self._name)

    for name in ("statistics", "encode", "decode"):
        monkeypatch.setattr(launch, f"{name}_kernel", Kernel(name))
    form, blocks = formats.of("lm2"), torch.zeros(3, 8, 64)
    xs, states, message = [blocks] * 3, [torch.zeros(3, 4096, dtype=torch.uint8)] * 3, torch.zeros(3, 4096, dtype=torch.uint8)
    launch.encode(form, xs, states, message, [0, 1024, 2048], formats.NOBODY, 2, True, True)
    assert tuple(launched) == traffic.LAUNCHES["encode"]
    launched.clear()
    launch.decode(form, [], states, message, [0, 1024, 2048], formats.NOBODY, 2, 8, 64, torch.float32)
    assert tuple(launched) == traffic.LAUNCHES["decode"]


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("codec", ["binary", "int2", "lm2", "ternary", "tcq2", "fp8", "int8", "topk", "centred5", "int4"])
def test_a_call_waits_for_no_device_and_allocates_the_ways_of_a_trellis_alone(codec, order, monkeypatch):
    """What torch does beside the launches, in the second call of a shape: a graph may capture it."""
    for module in (launch, per_token_launch, topk_launch, int4_launch):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            monkeypatch.setattr(module, name, collections.defaultdict(lambda: lambda *_, **__: None))
    operations, allocated = [], []
    monkeypatch.setattr(torch, "empty", lambda *shape, **_: allocated.append(shape) or message)

    class Operations(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            operations.append(str(function))
            return function(*arguments, **(keywords or {}))

    keyframe = codec in ("centred5", "int4")
    blocks, message = torch.zeros(3, 8, 64), torch.zeros(3, 4096, dtype=torch.uint8)
    xs, states = [blocks] * 3, [torch.zeros(3, 4096, dtype=torch.uint8)] * (3 if order else 0)
    outs = [] if order else [torch.zeros(3, 8, 64)] * 3
    place = [0, 1024, 2048], formats.NOBODY, codec, order

    def call():
        # what the operators do, which a mode does not look into
        ops._encode(xs, states, message, *place, True, True, "exact", [], keyframe)
        ops._decode(outs, states, message, *place, 8, 64, torch.float32, keyframe)

    call()
    allocated.clear()
    with Operations():
        call()
    # for each 32 elements of a program's paths eight words of 4 bytes
    assert operations == [] and allocated == ([(3 * 3 * 8 * 2 * tiles.PATHS,)] if codec == "tcq2" else [])


@pytest.mark.parametrize(
    "kind, codec", [("statistics", "lm2"), *((kind, codec) for codec in ("lm2", "ternary") for kind in ("encode", "decode"))]
)
@pytest.mark.parametrize("target", TARGETS)
def test_a_kernel_has_no_spills_no_contraction_and_the_traffic_of_its_inputs(target, kind, codec, tmp_path):
    kernel, known = compiled(kind, codec, 4096, 2, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= (256 if target.startswith("gfx") else 128)
    assert kernel.metadata.shared <= 16384
    assert_traffic(kind, kernel, known, 2)
    assert contractions(kernel, tmp_path) == 0


@pytest.mark.parametrize("kind", ["statistics", "encode", "decode"])
def test_without_a_predictor_encoding_moves_6_bytes_an_element_and_decoding_4(kind, tmp_path):
    kernel, known = compiled(kind, "lm1", 4096, 1, "sm_90")
    assert_traffic(kind, kernel, known, 1)
    assert resources(kernel, tmp_path)[1] == 0


@pytest.mark.parametrize("codec", ["lm1", "ternary"])
@pytest.mark.parametrize("channels", [3072, 768])
def test_production_shapes_load_16_bytes_a_thread_and_do_not_spill(channels, codec, tmp_path):
    kernel, _ = compiled("encode", codec, channels, 2, "sm_90")
    assert resources(kernel, tmp_path)[1] == 0
    assert widths(kernel).count(16) >= 5


@pytest.mark.parametrize("kind, order, bytes_an_element", [("encode", 1, 4), ("encode", 2, 6), ("decode", 1, 4), ("decode", 2, 6)])
def test_a_state_in_8_bits_moves_4_bytes_an_element_and_6_with_a_predictor(kind, order, bytes_an_element, tmp_path):
    """Scales of the state, 1/32 of an element's bytes each way, and the payload apart."""
    kernel, known = compiled(kind, "lm1", 4096, order, "sm_90", eight_bit=True)
    assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0
    threads = warps(kind, known) * kernel.metadata.target.warp_size
    assert (wide(kernel) + kept_in_bytes(kernel)) * threads / (known["ROWS"] * known["WIDTH"]) == bytes_an_element
    assert traffic.bytes_an_element(kind, order, item_bytes=2, eight_bit=True) == bytes_an_element


@pytest.mark.parametrize("kind, codec, order", [("encode", "lm2", 2), ("decode", "lm2", 2), ("decode", "binary", 1), ("levels", "tcq2", 2)])
@pytest.mark.parametrize("eight_bit", [False, True])
def test_no_thread_stores_a_state_before_all_have_loaded_theirs(kind, codec, order, eight_bit):
    """For Triton may have one thread store what another one loads."""
    lines = compiled(kind, codec, 3072, order, "sm_90", eight_bit)[0].asm["ptx"].splitlines()
    loads, stores, barriers = (
        [at for at, line in enumerate(lines) if re.search(form, line)]
        for form in (r"\bld\.global.*\.v[24]\.b32", r"\bst\.global.*\.v[24]\.b32", r"\bbar\.sync")
    )
    assert any(loads[-1] < barrier < stores[0] for barrier in barriers)


@pytest.mark.parametrize("target", TARGETS)
def test_one_launch_reads_its_inputs_once_without_spills_or_contraction(target, tmp_path):
    kernel, known = compiled("one launch", "lm2", 4096, 2, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 128
    assert kernel.metadata.shared <= 16384
    assert contractions(kernel, tmp_path) == 0
    assert_traffic_of_one_launch(kernel, known, target, traffic.bytes_an_element("encode", 2, item_bytes=2))


def test_one_launch_without_a_predictor_moves_6_bytes_an_element(tmp_path):
    kernel, known = compiled("one launch", "lm1", 4096, 1, "sm_90")
    assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0
    assert_traffic_of_one_launch(kernel, known, "sm_90", traffic.bytes_an_element("encode", 1, item_bytes=2))


@pytest.mark.parametrize("kind", ["one launch", "first"])
@pytest.mark.parametrize(
    "codec, channels, order",
    [("binary", 3072, 1), ("int2", 640, 1), ("lm1", 3072, 2), ("lm3", 768, 2), ("ternary", 3072, 2)],
)
def test_what_keeps_statistics_does_not_spill_at_production_shapes(kind, codec, channels, order, tmp_path):
    kernel, _ = compiled(kind, codec, channels, order, "sm_90")
    assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0
    assert widths(kernel).count(16) >= 3


@pytest.mark.parametrize("codec", ["int2", "lm1", "lm2", "lm4", "ternary"])
@pytest.mark.parametrize("target", TARGETS)
def test_rows_of_5120_channels_fit_registers(target, codec, tmp_path):
    for kind, eight_bit in (("encode", False), ("encode", True), ("decode", False), ("one launch", False)):
        assert_lean(compiled(kind, codec, 5120, 2, target, eight_bit)[0], tmp_path)


@pytest.mark.parametrize("order", [1, 2])
def test_one_launch_does_not_spill_beside_a_state_in_8_bits(order, tmp_path):
    kernel, _ = compiled("one launch", "lm2", 4096, order, "sm_90", eight_bit=True)
    assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0


@pytest.mark.parametrize("codec, order", [("binary", 2), ("lm2", 1), ("lm2", 2)])
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept_for_the_next_step_is_summed_without_spills(target, codec, order, tmp_path):
    kernel, _ = compiled("history", codec, 3072, order, target)
    assert_lean(kernel, tmp_path)
    # one row of the sample's first half and one of its second
    assert widths(kernel).count(16) >= 2


def test_a_contraction_would_be_seen(tmp_path):
    kernel, _ = compiled("decode", "lm1", 4096, 2, "sm_90", enable_fp_fusion=True)
    assert contractions(kernel, tmp_path) > 0
