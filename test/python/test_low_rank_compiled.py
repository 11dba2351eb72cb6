"""The low-rank kernels compiled ahead of time, and the launches of a call: see artefacts.py, whose measures these are."""

import re

import pytest
import torch

triton = pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

from artefacts import TARGETS, contractions, resources, widths  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from triton import language as tl  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from cfx_shim.codecs import _factor_fit  # noqa: E402
from cfx_shim.kernels import barrier, formats, launch, low_rank, low_rank_decode, low_rank_launch, low_rank_pack, repeat, residual, side_by_side, traffic  # noqa: E402
from cfx_shim.state import layout  # noqa: E402

CHANNELS = 3072
# ranks, of cfx-lowrank at FLUX's shapes on 4 GPUs the last two; and the columns that factors then have
RANKS = {8: 16, 20: 32, 62: 64, 128: 128}
# what a kernel's arguments point to, or are
TYPES = {
    **dict.fromkeys(("state", "out"), "*bf16"),
    **dict.fromkeys(("x", "whole", "residual"), "*fp16"),
    **dict.fromkeys(("gram", "grams", "gram_u", "gram_v", "largest", "sums", "arrived", "numbers", "found"), "*i32"),
    **dict.fromkeys(("levels", "levels_u", "levels_v"), "*i8"),
    **dict.fromkeys(("message", "classes", "classes_u", "classes_v"), "*u8"),
    **dict.fromkeys(("ridge", "level_unit", "most_unit"), "fp32"),
    "weights": "*fp32",
    "shares": "*i64",
}
# what ``traffic`` calls them
WORDS = {"residual": "largest", "residual WRITES": "residual", "decode": "decode"}
# numbers that need not be multiples of 16
RAGGED = ("own", "peers", "first", "last", "turn", "blocks", "flags", "arrived", "rank", "size", "payload_bytes", "betas0", "betas1", "betas2")


# by residual order, and whether a state is in 8 bits: a trend beside a native base makes both bytes
STATES = {(1, True): "*i8", (2, False): "*u8", (2, True): "*i16"}


def compiled(kernel, known, target):
    known = dict(known)
    if "DTYPE" in known:
        known["DTYPE"] = tl.bfloat16
    types, attributes, options = {}, {}, {"num_warps": known.pop("num_warps", 4), **repeat.OPTIONS}
    options |= {key: known.pop(key) for key in ("launch_cooperative_grid",) if key in known}
    for index, name in enumerate(kernel.arg_names):
        if name in known:
            types[name] = "constexpr"
            continue
        types[name] = "*bf16" if re.fullmatch(r"x\d", name) else TYPES.get(re.sub(r"\d$", "", name), "i32")
        if re.fullmatch(r"state\d", name):
            types[name] = STATES.get((known["ORDER"], known["EIGHT_BIT"]), "*bf16")
        if name not in RAGGED and types[name] != "fp32":
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=types, constexprs=known, attrs=attributes)
    return triton.compile(source, target=TARGETS[target], options=options)


def wide(kernel, *accesses):
    """Bytes a thread of what goes in accesses of 16 bytes."""
    return sum(width for width in widths(kernel, *accesses) if width == 16)


def copies_ahead(kernel):
    """Bytes of NVIDIA's copies to shared memory, that go on while what is there is multiplied."""
    return [int(size, 0) for size in re.findall(r"cp\.async\.c[ag]\.shared\.global [^;]*?, (0x\w+|\d+)", kernel.asm.get("ptx", ""))]


def launches_of(rank, monkeypatch, order=1, channels=CHANNELS, feedback=True, together=2):
    """{kernel's name, and in which ways: (it, its compile-time constants)} of a call of one section at this rank, and [what is
    launched, in ``traffic``'s words], in order."""
    found, launched, ways = {}, [], ("OF_V", "WRITES")

    class Kernel:
        def __init__(self, name, kernel=None):
            self._name, self._kernel = name, kernel

        def __getitem__(self, grid):
            def launched_with(*_, **known):
                known = {key: each for key, each in known.items() if key != "enable_fp_fusion"}
                found[" ".join([self._name, *(way for way in ways if known.get(way))])] = self._kernel, known
                launched.append("largest" if known.get("MEASURES") else self._name)

            return launched_with

    class Operations(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            name = function.__name__.split(".")[0]
            # views, and what ``poison`` fills, are no launches
            if name not in ("empty", "set_", "fill_", "view", "select", "split_with_sizes", "unbind"):
                launched.append(name)
            return function(*arguments, **(keywords or {}))

    for module in (low_rank, residual):
        for name in dir(module):
            if name.endswith("_kernel"):
                monkeypatch.setattr(module, name, Kernel(name.removesuffix("_kernel"), getattr(module, name)))
    monkeypatch.setattr(low_rank_launch, "decode_kernel", Kernel("decode", low_rank_decode.decode_kernel))
    monkeypatch.setattr(low_rank_launch, "pack_kernel", Kernel("pack", low_rank_pack.pack_kernel))
    monkeypatch.setattr(low_rank_launch.side_by_side, "programs", lambda _: together)
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
    return found, launched


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("target", TARGETS)
def test_kernels_have_no_spills_and_decode_without_contraction_in_wide_accesses(target, rank, monkeypatch, tmp_path):
    # on AMD's programs never wait for each other
    monkeypatch.setattr(low_rank_launch, "LANES", TARGETS[target].warp_size)
    monkeypatch.setattr(low_rank_launch, "_capability", lambda _: (9, 0) if target == "sm_90" else None)
    found, _ = launches_of(rank, monkeypatch, together=0 if target == "gfx942" else 2)
    monkeypatch.undo()
    assert set(found) == {"open", "residual", "residual WRITES", "search", "revise", "revise OF_V", "pack", "decode"}
    for name, (kernel, known) in found.items():
        known = known | ({"SOFT": False} if "SOFT" in known else {})
        built = compiled(kernel, known, target)
        registers, spilled = resources(built, tmp_path)
        assert spilled == 0 and registers <= 256, (name, registers, spilled)
        # all that gfx942 has, sm_90, and of the others sm_89
        assert built.metadata.shared <= {"gfx942": 65536, "sm_90": 232448}.get(target, 101376), name
        threads = known.get("num_warps", 4) * built.metadata.target.warp_size
        if name.startswith(("search", "revise")):
            # x and the other factor, 16 bytes at a time, ahead of what is multiplied where there are such copies
            ahead = copies_ahead(built)
            assert {*ahead} == ({16} if target != "gfx942" else set()), (name, ahead)
            assert 16 in [*ahead, *widths(built, "load", "ld")], name
            assert known["K"] == RANKS[rank]
        if name in ("residual", "residual WRITES", "decode"):
            assert contractions(built, tmp_path) == 0, name
            # of a tile: the base read and written; or x and the base, and the residual in float16
            elements = known["ROWS"] * known.get("COLUMNS", known.get("WIDTH"))
            loaded, stored = (wide(built, *end) * threads / elements for end in (("load", "ld"), ("store", "st")))
            if name == "decode" and target == "gfx942":
                # as products lie in its registers: 8 bytes
                assert loaded == 2 and min(widths(built, "store", "st")) == 8
            else:
                moved = traffic.bytes_an_element(WORDS[name], 1, item_bytes=2)
                assert loaded + stored == moved == {"decode": 2 + 2, "residual": 2 + 2, "residual WRITES": 2 + 2 + 2}[name]


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("target", TARGETS)
def test_the_papers_residual_is_measured_and_written_by_one_launch(target, order, monkeypatch, tmp_path):
    found, _ = launches_of(62, monkeypatch, order)
    monkeypatch.undo()
    monkeypatch.setitem(TYPES, "residual", "*fp32")
    kernel, known = found["residual"]
    built = compiled(kernel, known | {"SOFT": False, "WRITES": True}, target)
    assert resources(built, tmp_path)[1] == 0 and contractions(built, tmp_path) == 0
    threads = known["num_warps"] * built.metadata.target.warp_size
    moved = sum(width for end in (("load", "ld"), ("store", "st")) for width in widths(built, *end) if width >= 8)
    assert moved * threads / (known["ROWS"] * known["WIDTH"]) == traffic.bytes_an_element("wide residual", order, item_bytes=2)


@pytest.mark.parametrize("target", TARGETS)
def test_beside_bases_in_8_bits_they_move_what_is_said_too(target, monkeypatch, tmp_path):
    found, _ = launches_of(62, monkeypatch)
    monkeypatch.undo()
    for name, used in (("residual", False), ("residual WRITES", False), ("decode", False), ("decode", True)):
        kernel, known = found[name]
        known = known | {"SOFT": False, "EIGHT_BIT": True} | ({"USED": used} if name == "decode" else {})
        built = compiled(kernel, known, target)
        registers, spilled = resources(built, tmp_path)
        assert spilled == 0 and registers <= 256, (name, registers, spilled)
        assert contractions(built, tmp_path) == 0, name
        # what is narrower is a payload's, a block's, or scales, 1/32 of the state
        least = 4 if name == "decode" else 8
        ends = [[width for width in widths(built, *end) if width >= least] for end in (("load", "ld"), ("store", "st"))]
        if target == "gfx942":
            # as products lie in its registers: 4 numbers side by side
            assert min(min(end) for end in ends if end) == least, (name, ends)
        else:
            assert min(min(end) for end in ends if end) == (16 if name == "decode" else 8), (name, ends)
            threads = known["num_warps"] * built.metadata.target.warp_size
            moved = sum(map(sum, ends)) * threads / (known["ROWS"] * known.get("COLUMNS", known.get("WIDTH")))
            received = 2 if name == "decode" and not used else 0
            assert moved == traffic.bytes_an_element(WORDS[name], 1, item_bytes=2, eight_bit=True) - received, (name, ends)


@pytest.mark.parametrize("channels", [CHANNELS, 288])
@pytest.mark.parametrize("eight_bit", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_with_a_prediction_they_do_not_spill_and_move_a_trend_too(target, eight_bit, channels, monkeypatch, tmp_path):
    found, _ = launches_of(62, monkeypatch, 2, channels)
    monkeypatch.undo()
    follows, _ = launches_of(62, monkeypatch, 2, channels, feedback=False)
    monkeypatch.undo()
    assert follows["residual WRITES"][1]["FOLLOWS"] and not follows["residual"][1]["FOLLOWS"] and "decode" not in follows
    for name, (kernel, known) in (*((name, found[name]) for name in WORDS), ("residual WRITES", follows["residual WRITES"])):
        # of 288 channels, groups of a trend beside a native base begin anew in the middle of one
        split = {"SPLIT": channels if "COLUMNS" in known else 0} if eight_bit else {}
        known = known | {"SOFT": False, "EIGHT_BIT": eight_bit} | split
        built = compiled(kernel, known, target)
        registers, spilled = resources(built, tmp_path)
        assert spilled == 0 and registers <= 256, (registers, spilled)
        assert contractions(built, tmp_path) == 0
        if channels == CHANNELS and target != "gfx942" and not known.get("FOLLOWS"):
            threads = known["num_warps"] * built.metadata.target.warp_size
            moved = sum(width for end in (("load", "ld"), ("store", "st")) for width in widths(built, *end) if width >= 8)
            expected = traffic.bytes_an_element(WORDS[name], 2, item_bytes=2, eight_bit=eight_bit)
            received = 2 if name == "decode" and eight_bit else 0
            assert moved * threads / (known["ROWS"] * known.get("COLUMNS", known.get("WIDTH"))) == expected - received, name


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("target", [target for target in TARGETS if target != "gfx942"])
def test_programs_that_wait_for_each_other_fit_side_by_side_one_a_multiprocessor_and_order_memory(target, rank, monkeypatch, tmp_path):
    found, _ = launches_of(rank, monkeypatch)
    monkeypatch.undo()
    kernel, known = found["search"]
    trial = barrier.trial_kernel, {"PROGRAMS": 256, **side_by_side.OPTIONS}
    for each in ((kernel, known), trial):
        built = compiled(*each, target)
        assert built.metadata.launch_cooperative_grid
        threads = built.metadata.num_warps * built.metadata.target.warp_size
        assert threads * resources(built, tmp_path)[0] <= 65536 and built.metadata.shared <= 101376
        # all threads have written before one says so with the release, and read behind its acquire
        ordered = re.findall(r"bar\.sync|st\.global|red\.\w+|atom\.global\.gpu\.acq_rel\.add|ld\.global\.gpu\.acquire", built.asm["ptx"])
        said = [at for at, what in enumerate(ordered) if what.startswith("atom")]
        assert said and all(ordered[at - 1 : at + 2] == ["bar.sync", ordered[at], "bar.sync"] for at in said)
        assert all("ld.global.gpu.acquire" in ordered[at:] for at in said)


@pytest.mark.parametrize("order", [1, 2])
def test_a_call_is_as_many_launches_as_are_said(order, monkeypatch):
    _, launched = launches_of(8, monkeypatch, order)
    assert tuple(launched) == traffic.launches(formats.of("lowrank_fit_r8"), order)["encode"]


def test_where_programs_cannot_wait_each_factor_is_a_launch(monkeypatch):
    _, launched = launches_of(8, monkeypatch, together=0)
    assert launched.count("search") == 2 * _factor_fit.ROUNDS and launched.count("revise") == 2


def test_without_feedback_a_call_is_a_launch_less(monkeypatch):
    _, launched = launches_of(8, monkeypatch, feedback=False)
    assert tuple(launched) == traffic.launches(formats.of("lowrank_fit_r8"))["encode"][:-1]


def test_factors_have_the_columns_of_their_rank():
    assert {rank: low_rank_launch._columns(rank) for rank in (1, 16, 17, *RANKS)} == {1: 16, 16: 16, 17: 32} | RANKS
