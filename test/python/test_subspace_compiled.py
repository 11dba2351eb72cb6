"""The kernels of the paper's low rank compiled ahead of time, and the launches of a call: see artefacts.py, whose
measures these are."""

import re

import pytest
import torch

triton = pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import TARGETS, assert_lean, contractions, resources, wide  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from triton import language as tl  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from cfx_shim.kernels import formats, low_rank_product, repeat, residual, subspace, subspace_launch, traffic  # noqa: E402

CHANNELS, TOKENS = 3072, 48
# what a kernel's arguments point to
TYPES = {**dict.fromkeys(("u", "v", "start", "factor"), "*fp32"), "gram": "*fp64", "largest": "*i32", "message": "*u8", "out": "*bf16", "state": "*bf16"}
# by residual order, and whether a state is in 8 bits
STATES = {(2, False): "*u8", (2, True): "*i16"}


def compiled(kernel, known, target):
    known = dict(known)
    if "DTYPE" in known:
        known["DTYPE"] = tl.bfloat16
    options = {"num_warps": known.pop("num_warps", 4), **repeat.OPTIONS}
    types, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        types[name] = "constexpr" if name in known else TYPES.get(re.sub(r"\d$", "", name), "i32")
        if re.fullmatch(r"state\d", name):
            types[name] = STATES.get((known["ORDER"], known["EIGHT_BIT"]), types[name])
        if name not in known and name not in ("own", "peers", "rank", "payload_bytes"):
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=types, constexprs=known, attrs=attributes)
    return triton.compile(source, target=TARGETS[target], options=options)


def launches_of(codec, monkeypatch):
    """{kernel's name: its compile-time constants} of a call of one section, and [what is launched], in order."""
    found, launched = {}, []

    class Kernel:
        def __init__(self, name):
            self._name = name

        def __getitem__(self, grid):
            def launched_with(*_, **known):
                found[self._name] = {key: each for key, each in known.items() if key != "enable_fp_fusion"}
                launched.append({"residual": "wide residual"}.get(self._name, self._name.replace("_int4", "")))

            return launched_with

    class Operations(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            name, out = function.__name__.split(".")[0], (keywords or {}).get("out")
            if name == "bmm":
                square, of_x = out.shape[1] == out.shape[2], CHANNELS in arguments[0].shape[1:] and TOKENS in arguments[0].shape[1:]
                launched.append("gram" if square else "projection" if of_x else "apply")
            elif name == "copy_":
                launched.append("widen")
            elif name not in ("empty", "set_", "fill_", "view", "transpose"):
                # views, and what ``poison`` fills, are no launches
                launched.append(name)
            return function(*arguments, **(keywords or {}))

    for module, name in (
        *((residual, name) for name in ("open_kernel", "residual_kernel")),
        *((subspace, name) for name in ("start_kernel", "factor_kernel", "pack_kernel", "pack_int4_kernel")),
        (subspace_launch, "decode_kernel"),
    ):
        monkeypatch.setattr(module, name, Kernel(name.removesuffix("_kernel")))
    x, state, message = torch.zeros(1, TOKENS, CHANNELS), torch.zeros(1, TOKENS, CHANNELS), torch.zeros(1, 1 << 18, dtype=torch.uint8)
    arguments = (formats.of(codec), [x], [state], message, [0], formats.NOBODY, 1, True, True)
    # the first time makes room, which is kept
    subspace_launch.encode(*arguments)
    launched.clear()
    with Operations():
        subspace_launch.encode(*arguments)
    monkeypatch.undo()
    return found, launched


@pytest.mark.parametrize("target", TARGETS)
def test_kernels_have_no_spills_and_decode_without_contraction_in_wide_accesses(target, monkeypatch, tmp_path):
    found = {}
    for codec in ("lowrank_r32", "lowrank_int4_r32"):
        for name, known in launches_of(codec, monkeypatch)[0].items():
            found[f"{codec}, {name}"] = name, known
    assert {name for name, _ in found.values()} == {"open", "residual", "start", "factor", "pack", "pack_int4", "decode"}
    for what, (name, known) in found.items():
        # those of low rank's other codec
        if name in ("open", "residual"):
            continue
        if name == "decode":
            for others in ({"ORDER": 2}, {"ORDER": 2, "EIGHT_BIT": True}):
                assert_lean(compiled(low_rank_product.decode_kernel, known | {"SOFT": False} | others, target), tmp_path)
            built = compiled(low_rank_product.decode_kernel, known | {"SOFT": False}, target)
            assert_lean(built, tmp_path)
            # the base read and written
            moved = wide(built) * known["num_warps"] * TARGETS[target].warp_size / (known["ROWS"] * known["COLUMNS"])
            assert moved == traffic.bytes_an_element("decode", 1, item_bytes=2) == 2 + 2, what
        elif name != "factor" or what.startswith("lowrank_r32"):
            built = compiled(getattr(subspace, f"{name}_kernel"), known, target)
            assert resources(built, tmp_path)[1] == 0, what
    # the most columns that it takes
    known = {"DIVIDES": True, "SHIFT": 1e-6, "K": 128, "num_warps": subspace_launch.factor_warps(128)}
    built = compiled(subspace.factor_kernel, known, target)
    assert resources(built, tmp_path)[1] == 0 and built.metadata.shared <= 16384


def test_a_contraction_of_the_product_would_be_seen(monkeypatch, tmp_path):
    known = {"ROWS": 64, "COLUMNS": 64, "FOUR_BITS": False, "DTYPE": None, "ORDER": 1, "EIGHT_BIT": False, "USED": False, "SOFT": False, "num_warps": 8}
    monkeypatch.setitem(repeat.OPTIONS, "enable_fp_fusion", True)
    assert contractions(compiled(low_rank_product.decode_kernel, known, "sm_90"), tmp_path) > 0


@pytest.mark.parametrize("codec", ["lowrank_r32", "lowrank_int4_r32"])
def test_a_call_is_as_many_launches_as_are_said(codec, monkeypatch):
    _, launched = launches_of(codec, monkeypatch)
    assert tuple(launched) == traffic.launches(formats.of(codec))["encode"]
