"""The low-rank kernels compiled ahead of time, and the launches of a call: see artefacts.py, whose measures these are."""

import re

import pytest
import torch

triton = pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import TARGETS, contractions, resources, widths  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from triton import language as tl  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from cfx_shim.kernels import formats, launch, low_rank, low_rank_decode, low_rank_launch, traffic  # noqa: E402
from cfx_shim.state import layout  # noqa: E402

CHANNELS = 3072
# ranks of cfx-lowrank at FLUX's shapes on 4 GPUs, after 50 steps and before; and the columns that factors then have
RANKS = {62: 64, 128: 128}
# what a kernel's arguments point to, or are
TYPES = {
    **dict.fromkeys(("x", "state", "out"), "*bf16"),
    **dict.fromkeys(("by_v", "u", "target", "gram", "gram_u", "gram_v", "whole"), "*fp16"),
    **dict.fromkeys(("residual", "weights", "scale"), "*fp32"),
    **dict.fromkeys(("levels", "levels_u", "levels_v"), "*i8"),
    **dict.fromkeys(("message", "classes", "classes_u", "classes_v"), "*u8"),
    **dict.fromkeys(("ridge", "level_unit", "most_unit"), "fp32"),
    "largest": "*i32",
}
# numbers that need not be multiples of 16
RAGGED = ("own", "peers", "first", "rank", "length", "blocks", "payload_bytes", "betas0", "betas1", "betas2")


# by residual order, and whether a state is in 8 bits: a trend beside a native base makes both bytes
STATES = {(1, True): "*i8", (2, False): "*u8", (2, True): "*i16"}


def compiled(kernel, known, target):
    known = dict(known)
    if "DTYPE" in known:
        known["DTYPE"] = tl.bfloat16
    types, attributes, options = {}, {}, {"num_warps": known.pop("num_warps", 4), **launch.OPTIONS}
    for index, name in enumerate(kernel.arg_names):
        if name in known:
            types[name] = "constexpr"
            continue
        types[name] = TYPES.get(re.sub(r"\d$", "", name), "i32")
        if re.fullmatch(r"state\d", name):
            types[name] = STATES.get((known["ORDER"], known["EIGHT_BIT"]), "*bf16")
        if name not in RAGGED and types[name] != "fp32":
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=types, constexprs=known, attrs=attributes)
    return triton.compile(source, target=TARGETS[target], options=options)


def wide(kernel, *accesses):
    """Bytes a thread of what goes in accesses of 16 bytes."""
    return sum(width for width in widths(kernel, *accesses) if width == 16)


def launches_of(rank, monkeypatch, order=1, channels=CHANNELS, feedback=True):
    """{kernel's name: its compile-time constants} of a call of one section at this rank, and [what is launched], in order."""
    found, launched = {}, []

    class Kernel:
        def __init__(self, name):
            self._name = name

        def __getitem__(self, grid):
            def launched_with(*_, **known):
                found[self._name] = {key: each for key, each in known.items() if key != "enable_fp_fusion"}
                launched.append(self._name)

            return launched_with

    class Operations(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            name, out = function.__name__.split(".")[0], (keywords or {}).get("out")
            if name == "bmm":
                launched.append("gram" if out.shape[1] == out.shape[2] else "product")
            elif name in ("clamp", "div"):
                launched.append({"clamp": "limit", "div": "scale"}[name])
            return function(*arguments, **(keywords or {}))

    kernels = {name: getattr(low_rank, name) for name in dir(low_rank) if name.endswith("_kernel")}
    for name in kernels:
        monkeypatch.setattr(low_rank, name, Kernel(name.removesuffix("_kernel")))
    monkeypatch.setattr(low_rank_launch, "decode_kernel", Kernel("decode"))
    monkeypatch.setattr(launch, "statistics_kernel", Kernel("statistics"))
    form = formats.of("lowrank_fit_r8" if rank == 8 else "lowrank_fit_b31")
    monkeypatch.setattr(formats.LowRank, "rank", lambda *_: rank)
    x, message, kept = torch.zeros(1, 40, channels), torch.zeros(1, 1 << 17, dtype=torch.uint8), layout("native", order, 40, channels, torch.float32)
    arguments = (form, [x], [torch.zeros(kept.shape(1), dtype=kept.stored)], message, [0], formats.NOBODY, order, feedback, True)
    # the first time makes room, which is kept
    low_rank_launch.encode(*arguments)
    launched.clear()
    with Operations():
        low_rank_launch.encode(*arguments)
    return {name: (kernels.get(f"{name}_kernel", low_rank_decode.decode_kernel), known) for name, known in found.items()}, launched


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("target", TARGETS)
def test_kernels_have_no_spills_and_decode_without_contraction_in_wide_accesses(target, rank, monkeypatch, tmp_path):
    found, _ = launches_of(rank, monkeypatch)
    monkeypatch.undo()
    assert set(found) == {"open", "residual", "weights", "nearer", "revise", "pack", "decode"}
    for name, (kernel, known) in found.items():
        known = known | ({"SOFT": False} if "SOFT" in known else {})
        built = compiled(kernel, known, target)
        registers, spilled = resources(built, tmp_path)
        assert spilled == 0 and registers <= 256, (name, registers, spilled)
        assert built.metadata.shared <= 49152, name
        if name in ("residual", "decode"):
            assert contractions(built, tmp_path) == 0, name
            # of a tile: the base read and written; or x and the base, and the residual in float32
            elements = known["ROWS"] * known.get("COLUMNS", known.get("WIDTH"))
            threads = known["num_warps"] * built.metadata.target.warp_size
            loaded, stored = (wide(built, *end) * threads / elements for end in (("load", "ld"), ("store", "st")))
            if name == "decode" and target == "gfx942":
                # as products lie in its registers: 8 bytes
                assert loaded == 2 and min(widths(built, "store", "st")) == 8
            else:
                moved = traffic.bytes_an_element(name, 1, item_bytes=2)
                assert loaded + stored == moved == {"decode": 2 + 2, "residual": 2 + 2 + 4}[name]
    assert found["nearer"][1]["K"] == RANKS[rank]


@pytest.mark.parametrize("target", TARGETS)
def test_beside_bases_in_8_bits_they_move_what_is_said_too(target, monkeypatch, tmp_path):
    found, _ = launches_of(62, monkeypatch)
    monkeypatch.undo()
    for name, used in (("residual", False), ("decode", False), ("decode", True)):
        kernel, known = found[name]
        known = known | {"SOFT": False, "EIGHT_BIT": True} | ({"USED": used} if name == "decode" else {})
        built = compiled(kernel, known, target)
        registers, spilled = resources(built, tmp_path)
        assert spilled == 0 and registers <= 256, (name, registers, spilled)
        assert contractions(built, tmp_path) == 0, name
        # what is narrower is a payload's, or scales, 1/32 of the state
        ends = [[width for width in widths(built, *end) if width >= 4] for end in (("load", "ld"), ("store", "st"))]
        if target == "gfx942":
            # as products lie in its registers: 4 numbers side by side
            assert min(min(end) for end in ends) == (4 if name == "decode" else 8), (name, ends)
        else:
            assert min(min(end) for end in ends) == (16 if name == "decode" else 8), (name, ends)
            threads = known["num_warps"] * built.metadata.target.warp_size
            moved = sum(map(sum, ends)) * threads / (known["ROWS"] * known.get("COLUMNS", known.get("WIDTH")))
            received = 2 if name == "decode" and not used else 0
            assert moved == traffic.bytes_an_element(name, 1, item_bytes=2, eight_bit=True) - received, (name, ends)


@pytest.mark.parametrize("channels", [CHANNELS, 288])
@pytest.mark.parametrize("eight_bit", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_with_a_prediction_they_do_not_spill_and_move_a_trend_too(target, eight_bit, channels, monkeypatch, tmp_path):
    found, _ = launches_of(62, monkeypatch, 2, channels)
    monkeypatch.undo()
    follows, _ = launches_of(62, monkeypatch, 2, channels, feedback=False)
    monkeypatch.undo()
    assert follows["residual"][1]["FOLLOWS"] and "decode" not in follows
    for kernel, known in (found["residual"], found["decode"], follows["residual"]):
        # of 288 channels, groups of a trend beside a native base begin anew in the middle of one
        split = {"SPLIT": channels if "COLUMNS" in known else 0} if eight_bit else {}
        known = known | {"SOFT": False, "EIGHT_BIT": eight_bit} | split
        built = compiled(kernel, known, target)
        registers, spilled = resources(built, tmp_path)
        assert spilled == 0 and registers <= 256, (registers, spilled)
        assert contractions(built, tmp_path) == 0
        if channels == CHANNELS and target != "gfx942" and not known.get("FOLLOWS"):
            threads = known["num_warps"] * built.metadata.target.warp_size
            moved = sum(width for end in (("load", "ld"), ("store", "st")) for width in widths(built, *end) if width >= 4)
            name = "decode" if "COLUMNS" in known else "residual"
            expected = traffic.bytes_an_element(name, 2, item_bytes=2, eight_bit=eight_bit)
            received = 2 if name == "decode" and eight_bit else 0
            assert moved * threads / (known["ROWS"] * known.get("COLUMNS", known.get("WIDTH"))) == expected - received, name


@pytest.mark.parametrize("order", [1, 2])
def test_a_call_is_as_many_launches_as_are_said(order, monkeypatch):
    _, launched = launches_of(8, monkeypatch, order)
    assert tuple(launched) == traffic.launches(formats.of("lowrank_fit_r8"), order)["encode"]


def test_without_feedback_a_call_is_a_launch_less(monkeypatch):
    _, launched = launches_of(8, monkeypatch, feedback=False)
    assert tuple(launched) == traffic.launches(formats.of("lowrank_fit_r8"))["encode"][:-1]


def test_factors_have_the_columns_of_their_rank():
    assert {rank: low_rank_launch._columns(rank) for rank in (1, 8, 16, 17, *RANKS)} == {1: 16, 8: 16, 16: 16, 17: 32} | RANKS
