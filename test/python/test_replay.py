"""Plans on traces, offline: equal to the codecs' own loop, honest about bytes, loud where a trace is broken."""

import os

import pytest
import torch
from safetensors.torch import save_file

from cfx_eval.replay import replay
from cfx_eval.signal import signal
from cfx_eval.trace import Trace
from cfx_shim import codecs
from cfx_shim.cpu import launch, library
from cfx_shim.plan import Plan
from farming import cell, plan

NAME = "Model.2|k|all_gather|0"


def _write(folder, tensors, rank=0, name=NAME):
    path = os.path.join(folder, "sample-0000", f"rank-{rank}")
    os.makedirs(path, exist_ok=True)
    for step, tensor in enumerate(tensors):
        if tensor is not None:
            save_file({name: tensor.contiguous()}, os.path.join(path, f"trace-{step:03d}.safetensors"))
    return str(folder)


def _walk(steps=6, shape=(1, 24, 16), dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, values = torch.randn(shape, generator=generator), []
    for _ in range(steps):
        values.append(x.to(dtype))
        x = x + 0.1 * torch.randn(shape, generator=generator)
    return values


def _one_bit_loop(values):
    codec = codecs.load("binary")
    base, errors = values[0].clone(), [0.0]
    for x in values[1:]:
        payload = torch.zeros((len(x), codec.payload_bytes(*x.shape[1:], 4)), dtype=torch.uint8)
        codec.encode(x - base, payload)
        base = base + codec.decode(payload, *x.shape[1:])
        errors.append(float((x - base).square().sum()))
    return errors


def test_a_replay_is_the_codecs_own_loop(tmp_path):
    values = _walk()
    (row,) = replay(Trace(_write(tmp_path, values)), Plan(plan(cell("binary"))))
    assert row["codec"] == ["identity"] + ["binary"] * 5
    assert row["error"] == pytest.approx(_one_bit_loop(values), rel=1e-6)
    assert row["energy"] == pytest.approx([float(x.square().sum()) for x in values])


@pytest.mark.parametrize("base_dtype", ["native", "int8"])
def test_compiled_kernels_code_where_they_are_there_and_change_nothing(tmp_path, kernels, monkeypatch, base_dtype):
    trace = Trace(_write(tmp_path, _walk(shape=(2, 24, 16))))
    plans = Plan(plan(cell("tcq2", residualOrder=2, keyframeCodec="int8", baseDtype=base_dtype)))
    calls = []
    for kept in (launch.Encoding, launch.Decoding):

        def counted(*given, kept=kept, **named):
            calls.append(kept.__name__)
            return kept(*given, **named)

        monkeypatch.setattr(launch, kept.__name__, counted)
    (row,) = replay(trace, plans)
    assert calls == ["Encoding", "Decoding"] * 6
    with library.set_aside():
        (plain,) = replay(trace, plans)
    assert len(calls) == 2 * 6
    assert {key: each for key, each in row.items() if "Seconds" not in key} == {
        key: each for key, each in plain.items() if "Seconds" not in key
    }


def test_bytes_are_the_sections_with_their_padding(tmp_path):
    values = _walk(steps=3, shape=(3, 10, 7), dtype=torch.bfloat16)
    (row,) = replay(Trace(_write(tmp_path, values)), Plan(plan(cell("binary"))))
    # 10 tokens by 7 channels: a keyframe of 140 bytes is padded to 144, and 34 + 10 bytes to 48
    assert (row["blocks"], row["rawBytes"], row["wireBytes"]) == (3, 3 * 140, 144 + 2 * 48)


@pytest.mark.parametrize("codec", ["identity", "off"])
def test_what_is_not_compressed_has_no_error(tmp_path, codec):
    (row,) = replay(Trace(_write(tmp_path, _walk())), Plan(plan(cell(codec))))
    assert row["error"] == [0.0] * 6 and row["codec"] == [codec] * 6


def test_a_plan_may_change_its_codec_between_steps(tmp_path):
    plans = Plan(plan(cell("int2", steps=[0, 3]), cell("off", steps=[3, 4]), cell("binary")))
    (row,) = replay(Trace(_write(tmp_path, _walk())), plans)
    # after a step that the framework sent itself there is no base
    assert row["codec"] == ["identity", "int2", "int2", "off", "identity", "binary"]


def test_feedback_pays(tmp_path):
    trace = Trace(_write(tmp_path, _walk(steps=12)))
    closed, open_ = (replay(trace, Plan(plan(cell("binary", feedback=on))))[0]["error"][-1] for on in (True, False))
    assert closed < 0.5 * open_


def test_sites_of_all_ranks_are_found(tmp_path):
    for rank in (0, 1):
        _write(tmp_path, _walk(seed=rank), rank)
    rows = replay(Trace(str(tmp_path)), Plan(plan(cell("binary"))))
    assert [(row["rank"], row["layer"], row["transformer"]) for row in rows] == [(0, 2, "Model"), (1, 2, "Model")]


def test_a_folder_without_a_trace_and_one_with_a_gap_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no trace"):
        Trace(str(tmp_path / "none"))
    values = _walk()
    values[2] = None
    with pytest.raises(ValueError, match="lacks steps"):
        Trace(_write(tmp_path, values))


def test_a_broken_file_is_named(tmp_path):
    folder = _write(tmp_path, _walk())
    (tmp_path / "sample-0000" / "rank-0" / "trace-001.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(ValueError, match="trace-001.safetensors cannot be read"):
        Trace(folder)


def test_the_signal_of_a_straight_line(tmp_path):
    start, direction = torch.randn(2, 1, 32, 16, generator=torch.Generator().manual_seed(1)).unbind(0)
    values = [start + step * 0.1 * direction for step in range(4)]
    (row,) = signal(Trace(_write(tmp_path, values)))
    assert row["continuation"] == [None, None, pytest.approx(1.0, abs=1e-5), pytest.approx(1.0, abs=1e-5)]
    expected = [float((0.1 * direction).norm() / x.norm()) for x in values[1:]]
    assert row["relativeChange"] == [None, *(pytest.approx(value, rel=1e-5) for value in expected)]


def test_a_rotation_makes_heavy_tails_light(tmp_path):
    generator = torch.Generator().manual_seed(2)
    spikes = torch.randn(1, 64, 128, generator=generator) * (torch.rand(1, 64, 128, generator=generator) < 0.02)
    (row,) = signal(Trace(_write(tmp_path, [torch.zeros_like(spikes), spikes])))
    assert row["kurtosis"][1] > 50 and row["rotatedKurtosis"][1] < 6
