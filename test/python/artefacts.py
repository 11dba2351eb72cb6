"""Kernels compiled ahead of time for GPUs that need not be there, and what is read out of the artefacts: registers,
spills, access widths, bytes of memory traffic and contractions.

Traffic is counted from the emitted accesses at a shape without padding, where each thread's access of 16 bytes is one
of tensor or state data, once an element. What a state keeps in a byte an element goes in accesses of 8 bytes, and only
that is stored so; narrower ones, and other loads of 8 bytes, are the payload's (scales, beta, bit planes). Means of
channels are too, but float16 and so as wide as the tensor's.
"""

import os
import re
import subprocess

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cfx_shim.kernels import formats, history_launch, launch, per_token, per_token_launch, repeat, tiles, topk, topk_launch, traffic
from cfx_shim.kernels.decode import decode_kernel
from cfx_shim.kernels.encode import encode_kernel
from cfx_shim.kernels.history import history_kernel
from cfx_shim.kernels.paths import paths_kernel
from cfx_shim.kernels.statistics import statistics_kernel
from cfx_shim.kernels.trellis_levels import levels_kernel

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
        return paths_kernel, launch.paths_constants(form, channels, order, eight_bit, False)
    if kind == "levels":
        return levels_kernel, launch.levels_constants(form, channels, order, True, eight_bit, False)
    if kind == "history":
        return history_kernel, history_launch.constants(form, channels, order)
    if kind in ("one launch", "first"):
        previous = kind == "one launch"
        return encode_kernel, launch.encode_constants(form, channels, order, True, eight_bit, False, previous, True)
    if kind == "encode":
        return encode_kernel, launch.encode_constants(form, channels, order, True, eight_bit, False, start=start)
    return decode_kernel, launch.decode_constants(form, channels, order, eight_bit, False, torch.bfloat16, start)


def warps(kind, known, target="sm_90"):
    if kind == "paths":
        return 1
    if kind == "history":
        return history_launch.WARPS
    if kind == "statistics":
        return tiles.STATISTICS_THREADS // TARGETS[target].warp_size
    if "FLOATS" in known:
        return per_token_launch.warps(known)
    if kind == "decode":
        return (launch.decode_warps if "LEVELS" in known else launch.row_warps)(known)
    if "KEEPS" not in known:
        return launch.row_warps(known)
    return launch.encode_warps(known)


def compiled(kind, codec, channels, order, target, eight_bit=False, ragged=(), starts=0, continues=False, **others):
    """As the launcher compiles it for contiguous tensors: pointers and strides are multiples of 16, numbers not ``ragged`` too."""
    kernel, known = constants(kind, codec, channels, order, eight_bit, starts, continues)
    if kind == "paths":
        known = known | {"LANES": TARGETS[target].warp_size}
    kept = starts or order
    state = {1: "*i8", 2: "*i16"}[kept] if eight_bit else {2: "*u8"}.get(kept, "*bf16")
    types, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in known:
            types[name] = "constexpr"
            continue
        tensor = re.fullmatch(r"(x|out|state|message|history|leaves|counter|words)\d?", name)
        of = {
            "message": "*u8", "history": "*u8", "leaves": "*fp32", "counter": "*i64", "words": "*i32",
            "state": state, "x": "*bf16", "out": "*bf16",
        }  # fmt: skip
        types[name] = of[tensor[1]] if tensor else "i32"
        if name not in ("own", "peers", "taken", "stride", "first", *ragged):
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=types, constexprs=known, attrs=attributes)
    options = {"num_warps": warps(kind, known, target), **repeat.OPTIONS, **others}
    return triton.compile(source, target=TARGETS[target], options=options), known


def nvidia_tool(name, *arguments):
    import triton.backends.nvidia as backend

    tool = os.path.join(os.path.dirname(backend.__file__), "bin", name)
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout


def resources(kernel, tmp_path):
    """Registers a thread and bytes of spills to memory; AMD's scalar registers may be spilled to lanes of a vector register."""
    if "amdgcn" in kernel.asm:
        names = ("vgpr_count", "vgpr_spill_count", "private_segment_fixed_size")
        registers, *spills = (int(re.search(rf"\.{name}:\s*(\d+)", kernel.asm["amdgcn"])[1]) for name in names)
        return registers, sum(spills)
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


def assert_lean(kernel, tmp_path):
    registers, spilled = resources(kernel, tmp_path)
    assert spilled == 0 and registers <= 128
    assert contractions(kernel, tmp_path) == 0


def assert_traffic_of_one_launch(kernel, known, target, bytes_an_element):
    """Beside the inputs, 16 bytes wide: what the sample's tokens alone leave, float32, stored. The trend is not among them: it and the
    payload's channels go in accesses of 8 bytes."""
    if known["ORDER"] == 2:
        bytes_an_element -= 2
    threads = warps("one launch", known, target) * kernel.metadata.target.warp_size
    assert threads * wide(kernel) == (bytes_an_element + 4) * known["ROWS"] * known["WIDTH"]


def assert_traffic(kind, kernel, known, order):
    threads = kernel.metadata.num_warps * kernel.metadata.target.warp_size
    elements = 64 * known["AHEAD"] * STRIP if kind == "statistics" else known["ROWS"] * known["WIDTH"]
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
