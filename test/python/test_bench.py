"""``cfx bench codecs``, the Python side: the gate finds what is wrong, and where it does no figure is given away."""

import json
import sys

import pytest
import torch

from cfx_bench import codecs_main, gate, loop, timing, work
from cfx_bench.call import Call
from cfx_bench.signals import MadeUp, Walk
from cfx_shim import codecs
from cfx_shim._contract import CODECS
from cfx_shim.codecs import _low_rank
from cfx_shim.plan import Plan, Treatment
from farming import cell, plan

LOSSY = [name for name in CODECS if not codecs.load(name).EXACT and name != "skip"]
PAPERS = ("binary", "int2", "topk", "lowrank_r8", "lowrank_int4_r8")


def treatment_of(name, taken="exact"):
    return Treatment(name, 2 if name.startswith("lm") else 1, True, statistics=taken)


def checked(name, more_bytes=0, taken="exact"):
    treatment, steps = treatment_of(name, taken), Walk(33, 130, torch.bfloat16, heavy=True).steps(4)
    return gate.failures(name, treatment, Call(steps[:1], treatment, 1).payload_bytes + more_bytes, steps)


@pytest.mark.parametrize("name", LOSSY)
def test_the_gate_lets_every_codec_through(name):
    assert checked(name) == []


@pytest.mark.parametrize("taken", ["sampled", "previous"])
@pytest.mark.parametrize("name", ["binary", "lm2"])
def test_the_gate_lets_other_statistics_through(name, taken):
    assert checked(name, taken=taken) == []


def test_other_statistics_for_the_next_step_are_found(monkeypatch):
    encode = Call.encode

    def wrong(call, blocks):
        encode(call, blocks)
        call.histories[0][0, 0] ^= 1

    monkeypatch.setattr(Call, "encode", wrong)
    assert checked("lm2", taken="previous") == ["step 0: torch and plain torch keep different statistics for the next step"]


def test_another_size_than_the_planned_one_is_found():
    (found,) = checked("lm2", more_bytes=1)
    assert found.startswith("its payload takes") and found.endswith("are planned")


def change(monkeypatch, name, function, wrong, reference=False):
    codec = codecs.load(name)
    for each in (function, f"{function}_reference") if reference else (function,):
        monkeypatch.setattr(codec, each, wrong(getattr(codec, each)), raising=True)


def one_byte(encode):
    def wrong(x, payload, *rest):
        flag = encode(x, payload, *rest)
        payload[:, -1] ^= 1
        return flag

    return wrong


def larger(decode):
    return lambda payload, tokens, channels: decode(payload, tokens, channels) * 1.01


@pytest.mark.parametrize("name", ["binary", "lm2", "int8"])
def test_an_encoder_that_leaves_its_reference_is_found(monkeypatch, name):
    change(monkeypatch, name, "encode", one_byte)
    assert checked(name) == ["encode and encode_reference write different bytes"]


@pytest.mark.parametrize("name", ["int2", "lm1", "fp8"])
def test_a_decoder_that_leaves_its_reference_is_found(monkeypatch, name):
    change(monkeypatch, name, "decode", larger)
    assert checked(name) == ["decode and decode_reference give different values"]


@pytest.mark.parametrize("name", PAPERS)
def test_values_a_hundredth_off_the_papers_are_found_where_codec_and_reference_agree(monkeypatch, name):
    change(monkeypatch, name, "decode", larger, reference=True)
    (found,) = checked(name)
    assert "values are not the paper's" in found


@pytest.mark.parametrize("low, high", [(0.25, 2.0), (0.5, 4.0)])
def test_other_levels_than_the_papers_are_found(monkeypatch, low, high):
    codec = codecs.load("int2")
    monkeypatch.setattr(codec, "LOW", low)
    monkeypatch.setattr(codec, "HIGH", high)
    assert any("values are not the paper's" in found for found in checked("int2"))


def test_one_round_less_of_the_search_is_found(monkeypatch):
    subspace = _low_rank.subspace
    monkeypatch.setattr(_low_rank, "subspace", lambda x, rank: subspace(x, rank, rounds=1))
    assert any("values are not the paper's" in found for found in checked("lowrank_r8"))


def test_a_path_that_writes_other_bytes_than_plain_torch_is_found(monkeypatch):
    encode = Call.encode

    def wrong(call, blocks):
        encode(call, blocks)
        call.send[0, 3] ^= 1

    monkeypatch.setattr(Call, "encode", wrong)
    assert "step 0: torch and plain torch write different bytes" in checked("binary")


def test_a_receiver_that_keeps_something_else_is_found(monkeypatch):
    decode = Call.decode

    def wrong(call):
        values = decode(call)
        call.received[0][-1, 0, 0] += 1
        return values

    monkeypatch.setattr(Call, "decode", wrong)
    assert "step 0: the states of sender and receivers differ" in checked("binary")


def job(names, **others):
    shape = {"tokens": 24, "channels": 40, "dtype": "bf16", "peers": 2}
    entries = []
    for name in names:
        treatment = treatment_of(name)
        block = Walk(24, 40, torch.bfloat16, heavy=False).steps(1)
        entries.append({
            "codec": name,
            "plan": plan(cell(name, residualOrder=treatment.order)),
            "checked": [{"tokens": 24, "channels": 40, "bytes": Call(block, treatment, 1).payload_bytes}],
            "paper": "binary" if name in ("binary", "lm1") else None,
        })  # fmt: skip
    whole = {"device": "cpu", "threads": 1, "repeats": 3, "largeMib": 0, "kernels": "", "trace": None, "stepOfDemo": False}
    return shape | whole | {"codecs": entries} | others


def run_main(monkeypatch, tmp_path, job):
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job))
    monkeypatch.setattr(sys, "argv", ["codecs_main", str(file)])
    with pytest.raises(SystemExit) as ended:
        codecs_main.main()
    return ended.value.code


def test_where_a_codec_is_broken_nothing_is_measured_and_only_failures_are_printed(monkeypatch, tmp_path, capsys):
    def measured(*_):
        raise AssertionError("something was measured")

    for module, name in ((work, "coding"), (work, "large"), (work, "step_of_demo"), (loop, "shipped"), (loop, "of_formulas")):
        monkeypatch.setattr(module, name, measured)
    change(monkeypatch, "int2", "decode", larger)
    assert run_main(monkeypatch, tmp_path, job(["binary", "int2"])) == codecs_main.WRONG
    assert json.loads(capsys.readouterr().out) == {
        "failures": ["int2, 24 × 40: decode and decode_reference give different values"]
    }


def test_a_gpu_that_is_not_there_and_a_trace_that_is_none_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run_main(monkeypatch, tmp_path, job(["binary"], device="cuda")) == codecs_main.UNUSABLE
    assert "found no GPU" in capsys.readouterr().err
    assert run_main(monkeypatch, tmp_path, job(["binary"], trace=str(tmp_path))) == codecs_main.UNUSABLE
    assert "holds no trace" in capsys.readouterr().err


def test_all_figures_are_there(monkeypatch):
    monkeypatch.setattr(codecs_main, "BUILT_IN", {"short": lambda: MadeUp(4, 0.7, 0, 0.5, 0.07, blocks=1)})
    monkeypatch.setattr(work, "_LARGE_CHANNELS", 64)
    answer = codecs_main.run(job(["lm1", "lowrank_r8"], largeMib=1, stepOfDemo=True))
    assert set(answer["times"]) == set(answer["steps"]) == set(answer["signals"]["short"]["codecs"]) == {"lm1", "lowrank_r8"}
    assert set(answer["signals"]["short"]["papers"]) == {"binary"}
    assert answer["large"]["mib"] == 1 and set(answer["large"]["codecs"]) == {"lm1", "lowrank_r8"}
    times = answer["times"]["lm1"]
    assert times["path"] == "torch" and not times["graph"]
    assert min(times["copySeconds"], times["encodeSeconds"], times["decodeSeconds"]) > 0
    # statistics read x, base and trend in 16 bits, encoding reads them and writes two, decoding reads and writes two
    assert times["traffic"] == {
        "encode": {"bytesAnElement": 5 + 8, "launches": 2},
        "decode": {"bytesAnElement": 6, "launches": 1},
    }
    # x and the base read and the residual written in float32, read for four products, and the base moved
    assert answer["times"]["lowrank_r8"]["traffic"] == {
        "encode": {"bytesAnElement": 2 + 2 + 4 + 4 * 4 + 4, "launches": 25},
        "decode": {"bytesAnElement": 4, "launches": 1},
    }


def modelled(codec, order, taken="exact", tokens=1088):
    return codecs_main._traffic(codec, Treatment(codec, order, True, statistics=taken), 2, tokens)


def test_launches_and_passes_are_modelled_as_they_are_and_only_with_the_orders_that_kernels_serve():
    moved = {"bytesAnElement": 2, "launches": 1}
    for codec in ("fp8", "int8"):
        assert modelled(codec, 0) == {"encode": moved, "decode": moved}
    moved = {"encode": {"bytesAnElement": 6, "launches": 1}, "decode": {"bytesAnElement": 4, "launches": 1}}
    fitted = {"encode": {"bytesAnElement": 5 + 8, "launches": 2}, "decode": {"bytesAnElement": 6, "launches": 1}}
    for codec in ("fp8", "int8", "topk"):
        assert modelled(codec, 1) == moved
        # a launch before that fits the prediction
        assert modelled(codec, 2) == fitted
    # two passes for their statistics
    fitted["encode"]["bytesAnElement"] += 5
    for codec in ("binary", "int2"):
        assert modelled(codec, 2) == fitted
    moved = {"encode": {"bytesAnElement": 4 + 2, "launches": 2}, "decode": {"bytesAnElement": 2, "launches": 1}}
    for codec in ("centred4", "centred5"):
        assert modelled(codec, 0) == moved
        assert modelled(codec, 1) is None
    # x and the base measured, and the residual written in float16, read for 20 products; 17 times programs wait for each other
    moved = {"bytesAnElement": 4 + 4 + 2 + 20 * 2 + 4, "launches": 8, "barriers": 17}
    assert modelled("lowrank_fit_b31", 1) == {"encode": moved, "decode": {"bytesAnElement": 4, "launches": 1}}
    # one for the means
    moved = {"encode": {"bytesAnElement": 2 + 2, "launches": 2}, "decode": {"bytesAnElement": 2, "launches": 1}}
    assert modelled("int4", 0) == moved
    assert modelled("int4", 1) is None


def test_what_other_statistics_spare_is_modelled():
    def encoding(*given):
        moved = modelled(*given)["encode"]
        return moved["bytesAnElement"], moved["launches"]

    # a launch over an eighth of the tokens
    assert encoding("lm1", 2, "sampled", 1024) == (5 / 8 + 8, 2)
    assert encoding("binary", 1, "previous") == (6, 1) and encoding("lm1", 2, "previous") == (8, 1)
    # scales, paths and levels, for which one bit needs the tensor no more
    assert encoding("tcq1", 2, "previous") == (5 + 6 + 6, 3) and encoding("tcq2", 2, "previous") == (5 + 6 + 8, 3)


@pytest.mark.parametrize("name", ["binary", "int2", "topk", "lowrank_int4_r8"])
def test_the_papers_loop_from_its_formulas_errs_as_the_shipped_one_does(name):
    signal = MadeUp(8, 0.7, 3, 0.5, 0.07, blocks=1)
    (ours,), (theirs,) = loop.shipped(signal, Plan(plan(cell(name)))), loop.of_formulas(signal, name)
    assert ours["energy"] == pytest.approx(theirs["energy"], rel=1e-6)
    assert ours["error"][0] == theirs["error"][0] == 0
    # another rounding here and there, which the loop carries on
    assert ours["error"][1:] == pytest.approx(theirs["error"][1:], rel=0.02)


def test_operations_take_turns_and_long_ones_fewer():
    taken, order = {"short": 0.001, "long": 1.0}, []

    def seconds_of(function):
        function()
        return taken[order[-1]]

    operations = {name: lambda name=name: order.append(name) for name in taken}
    assert timing.interleaved(operations, 20, seconds_of, 5.0) == taken
    # each time once that does not count
    assert order.count("short") == 2 * 20 + 2 and order.count("long") == 2 * 5 + 2
    turns = order[4:]
    assert turns[:2] == ["short", "short"] and turns[-2:] == ["long", "long"]


def test_large_tensors_are_larger_than_the_cache(monkeypatch):
    monkeypatch.setattr(codecs_main.machine, "last_level_cache", lambda: 260 * 2**20)
    assert codecs_main._large_mib(None) == 384
    assert codecs_main._large_mib(0) == 0
    monkeypatch.setattr(codecs_main.machine, "last_level_cache", lambda: None)
    assert codecs_main._large_mib(None) == 128
