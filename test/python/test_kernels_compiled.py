"""What the kernels become, compiled ahead of time for GPUs that need not be there: registers, spills, access widths,
bytes of memory traffic and no contraction, read out of the artefacts.

Traffic is counted from the emitted accesses at a shape without padding, where each thread's access of 16 bytes is one
of tensor or state data, once an element. What a state keeps in a byte an element goes in accesses of 8 bytes, and only
that is stored so; narrower ones, and other loads of 8 bytes, are the payload's (scales, beta, bit planes). Means of
channels are too, but float16 and so as wide as the tensor's.
"""

import os
import re
import subprocess

import pytest
import torch

triton = pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from cfx_shim.kernels import formats, launch, per_token, per_token_launch, tiles, topk, topk_launch, traffic  # noqa: E402
from cfx_shim.kernels.decode import decode_kernel  # noqa: E402
from cfx_shim.kernels.encode import encode_kernel  # noqa: E402
from cfx_shim.kernels.statistics import statistics_kernel  # noqa: E402
from cfx_shim.kernels.trellis import path_kernel  # noqa: E402

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_89": GPUTarget("cuda", 89, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
STRIP = 32


def constants(kind, codec, channels, order, eight_bit, starts=0, continues=False):
    form = formats.of(codec)
    if kind == "statistics":
        means = launch.means_constant(form, 16, channels)
        return statistics_kernel, launch.statistics_constants(form, channels, order, STRIP, eight_bit, False, means)
    if isinstance(form, formats.PerToken):
        known = per_token_launch.constants(form, channels, False, order, eight_bit, starts, continues)
        added = {"DTYPE": tl.bfloat16} if kind == "decode" else {"FEEDBACK": True}
        return getattr(per_token, f"{kind}_kernel"), known | added
    if isinstance(form, formats.Largest):
        if kind == "encode":
            return topk.encode_kernel, topk_launch.encode_constants(channels, order, True, eight_bit, False)
        return topk.decode_kernel, topk_launch.decode_constants(channels, order, eight_bit, False, torch.bfloat16)
    start = launch.start_constants(form, 16, channels, starts, continues)
    if kind == "paths":
        return path_kernel, launch.path_constants(form, channels)
    if kind in ("one launch", "first"):
        previous = kind == "one launch"
        return encode_kernel, launch.encode_constants(form, channels, order, True, eight_bit, False, previous, True)
    if kind == "encode":
        return encode_kernel, launch.encode_constants(form, channels, order, True, eight_bit, False, start=start)
    return decode_kernel, launch.decode_constants(form, channels, order, eight_bit, False, torch.bfloat16, start)


def warps(kind, known, target="sm_90"):
    if kind == "paths":
        return known["LANES"] // 32
    if kind == "statistics":
        return 4
    if "FLOATS" in known:
        return per_token_launch.warps(known)
    if kind == "decode" or "KEEPS" not in known:
        return tiles.row_warps(known["ROWS"], known["WIDTH"])
    return launch.encode_warps(known, TARGETS[target].warp_size)


def compiled(kind, codec, channels, order, target, eight_bit=False, ragged=(), starts=0, continues=False, **others):
    """As the launcher compiles it for contiguous tensors: pointers and strides are multiples of 16, numbers not ``ragged`` too."""
    kernel, known = constants(kind, codec, channels, order, eight_bit, starts, continues)
    kept = starts or order
    state = {1: "*i8", 2: "*i16"}[kept] if eight_bit else {2: "*u8"}.get(kept, "*bf16")
    types, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in known:
            types[name] = "constexpr"
            continue
        tensor = re.fullmatch(r"(x|out|state|message|history|workspace|counter|residual|decided)\d?", name)
        of = {
            "message": "*u8", "history": "*u8", "workspace": "*i32", "counter": "*i64", "residual": "*fp32", "decided": "*i16",
            "state": state, "x": "*bf16", "out": "*bf16",
        }  # fmt: skip
        types[name] = of[tensor[1]] if tensor else "i32"
        if name not in ("own", "peers", "taken", "stride", "leaves", "first", *ragged):
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=types, constexprs=known, attrs=attributes)
    options = {"num_warps": warps(kind, known, target), **launch.OPTIONS, **others}
    return triton.compile(source, target=TARGETS[target], options=options), known


def nvidia_tool(name, *arguments):
    import triton.backends.nvidia as backend

    tool = os.path.join(os.path.dirname(backend.__file__), "bin", name)
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout


def resources(kernel, tmp_path):
    """Registers a thread and bytes of spills."""
    if "amdgcn" in kernel.asm:
        text = kernel.asm["amdgcn"]
        spills = sum(int(count) for count in re.findall(r"\.[sv]gpr_spill_count:\s*(\d+)", text))
        return int(re.search(r"\.vgpr_count:\s*(\d+)", text)[1]), spills
    path = tmp_path / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])
    used = nvidia_tool("cuobjdump", "-res-usage", str(path))
    return int(re.search(r"REG:(\d+)", used)[1]), int(re.search(r"STACK:(\d+)", used)[1]) + int(re.search(r"LOCAL:(\d+)", used)[1])


def widths(kernel, amd="load|store", nvidia="ld|st"):
    """Bytes of every access to global memory in the emitted code."""
    if "amdgcn" in kernel.asm:
        form = rf"\b(?:global|buffer)_(?:{amd})_(dwordx\d|dword|[su]?short|[su]?byte)"
        found = re.findall(form, kernel.asm["amdgcn"])
        size = {"dword": 4, "byte": 1, "ubyte": 1, "sbyte": 1, "short": 2, "ushort": 2, "sshort": 2}
        return [size.get(name) or 4 * int(name[-1]) for name in found]
    found = re.findall(rf"\b(?:{nvidia})\.global(?:\.\w+)*?(?:\.v(\d))?\.b(\d+)", kernel.asm["ptx"])
    return [int(count or 1) * int(bits) // 8 for count, bits in found]


def contractions(kernel, tmp_path):
    """Fused multiply-adds of float32 in the emitted code; none that belong to a division, which is made of them."""
    divides = "fdiv" in kernel.asm["llir"] or "div.rn" in kernel.asm["llir"] or "div.rn" in kernel.asm.get("ptx", "")
    found = len(re.findall(r"fmuladd|llvm\.fma\.|\bcontract\b", kernel.asm["llir"]))
    if "amdgcn" in kernel.asm:
        return found + (0 if divides else len(re.findall(r"\bv_(?:pk_)?(?:fma|fmac|mad|mac)\w*_f32", kernel.asm["amdgcn"])))
    found += len(re.findall(r"\b(?:fma|mad)\.\w*\.?f32", kernel.asm["ptx"]))
    if divides:
        return found
    path = tmp_path / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])
    return found + nvidia_tool("cuobjdump", "-sass", str(path)).count("FFMA")


def stores(kernel):
    """``widths`` of the stores alone."""
    return widths(kernel, "store", "st")


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
    threads = warps(kind, known) * kernel.metadata.warp_size
    assert (wide(kernel) + kept_in_bytes(kernel)) * threads / (known["ROWS"] * known["WIDTH"]) == bytes_an_element
    assert traffic.bytes_an_element(kind, order, item_bytes=2, eight_bit=True) == bytes_an_element


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


@pytest.mark.parametrize("order", [1, 2])
def test_one_launch_does_not_spill_beside_a_state_in_8_bits(order, tmp_path):
    kernel, _ = compiled("one launch", "lm2", 4096, order, "sm_90", eight_bit=True)
    assert resources(kernel, tmp_path)[1] == 0 and contractions(kernel, tmp_path) == 0


@pytest.mark.parametrize("kind", ["encode", "decode"])
@pytest.mark.parametrize("codec", ["fp8", "int8"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_byte_an_element_is_moved_beside_the_tensor_without_spills_or_contraction(target, codec, kind, tmp_path):
    kernel, known = compiled(kind, codec, 4096, 0, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 128
    assert kernel.metadata.shared <= 1024
    assert contractions(kernel, tmp_path) == 0
    threads = warps(kind, known) * kernel.metadata.warp_size
    # the payload goes in halves of a load, and 8 bytes are the counter of programs
    payload = 8 * (widths(kernel).count(8) - (kind == "encode")) * threads
    assert payload == known["ROWS"] * known["WIDTH"]
    assert_traffic(kind, kernel, known, 0)


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
    threads, elements = warps(kind, known) * kernel.metadata.warp_size, known["ROWS"] * known["WIDTH"]
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
    found = (wide(kernel) - 16) * warps("statistics", known) * kernel.metadata.warp_size / (64 * STRIP)
    assert found == traffic.bytes_an_element("statistics", 0, item_bytes=2, passes=formats.of("centred5").passes(0))
    assert found == traffic.keyframe_bytes_an_element("statistics", 2, item_bytes=2, centred=True)


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize("codec", ["centred5", "int8"])
@pytest.mark.parametrize("channels", [5120, 3072, 640])
def test_keyframes_of_production_shapes_do_not_spill(channels, codec, target, tmp_path):
    for kind in ("encode", "decode"):
        for eight_bit in (False, True):
            kernel, _ = compiled(kind, codec, channels, 0, target, eight_bit, starts=2, continues=True)
            assert resources(kernel, tmp_path)[1] == 0


def assert_lean(kernel, tmp_path):
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 128
    assert contractions(kernel, tmp_path) == 0


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


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("kind", ["encode", "decode"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_largest_of_every_group_is_coded_without_spills_or_contraction(target, kind, order, tmp_path):
    kernel, known = compiled(kind, "topk", 4096, order, target)
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 64
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
        threads = topk_launch.warps(known) * kernel.metadata.warp_size
        found = wide(kernel) + (kept_in_bytes(kernel) - (2 * 8 if kind == "encode" else 0) if eight_bit else 0)
        elements = known["ROWS"] * known["WIDTH"]
        assert found * threads / elements == traffic.bytes_an_element(kind, 1, item_bytes=2, eight_bit=eight_bit)


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


def test_a_contraction_would_be_seen(tmp_path):
    kernel, _ = compiled("decode", "lm1", 4096, 2, "sm_90", enable_fp_fusion=True)
    assert contractions(kernel, tmp_path) > 0


def assert_traffic_of_one_launch(kernel, known, target, bytes_an_element):
    """Beside the inputs, 16 bytes wide: float32 sums of the sample's 128 tokens alone, one stored at a leaf, two loaded and
    one stored at a node, one loaded at the root; and the history copied, once a block. The trend is not among them: it and
    the payload's channels go in accesses of 8 bytes."""
    if known["ORDER"] == 2:
        bytes_an_element -= 2
    threads = warps("one launch", known, target) * kernel.metadata.warp_size
    elements = known["ROWS"] * known["WIDTH"]
    assert known["HISTORY_WIDTH"] == 16 * threads
    assert threads * wide(kernel) == (bytes_an_element + 5 * 4) * elements + 2 * known["HISTORY_WIDTH"]


def assert_traffic(kind, kernel, known, order):
    threads = warps(kind, known) * kernel.metadata.warp_size
    elements = 64 * STRIP if kind == "statistics" else known["ROWS"] * known["WIDTH"]
    found = wide(kernel)
    if order == 2:
        # the statistics launch loads nothing of the payload
        found += sum(width for width in widths(kernel) if width == 8) if kind == "statistics" else kept_in_bytes(kernel)
    assert found * threads / elements == traffic.bytes_an_element(kind, order, item_bytes=2)


def wide(kernel):
    """Bytes a thread of what goes in accesses of 16 bytes."""
    return sum(width for width in widths(kernel) if width == 16)


def kept_in_bytes(kernel):
    """Bytes a thread of a state, or a trend, that is stored in 8 bytes and read alike."""
    return 2 * sum(width for width in stores(kernel) if width == 8)
