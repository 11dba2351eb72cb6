"""Kernels that do not give what plain torch gives are told from those that do, and never kept."""

import os

import pytest

from cfx_shim import proof
from cfx_shim.cpu import build, library


def test_a_kernel_that_does_nothing_is_found_out(kernels, monkeypatch):
    assert proof.failures() == []
    monkeypatch.setitem(kernels, "topk_decode_kernel", lambda *arguments: 0)
    found = proof.failures()
    named = [f"topk of order {order}" for order in range(3)]
    assert {text.split(",")[0] for text in found} == {*named, *(f"{each} with bases in 8 bits" for each in named[1:])}
    assert any(text.startswith("topk of order 1, [18, 41] of torch.bfloat16, 2 threads: other values") for text in found)


def test_what_is_proved_wrong_is_not_kept_nor_built_again(built, tmp_path, monkeypatch):
    (name,) = [name for name in os.listdir(built) if name.endswith(".o")]
    with open(os.path.join(built, name), "rb") as file:
        code = file.read()
    builds = []
    monkeypatch.setattr(build, "compiled", lambda *arguments: builds.append(arguments) or code)
    wrong = ["binary of order 1: other bytes in step 0", "more"]
    before = library.kernels()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"do not give what plain torch gives \(binary of order 1: .*, and 1 more\)"):
            library.prepare(str(tmp_path), lambda: wrong)
    assert len(builds) == 1 and library.kernels() is before
    assert [each for each in os.listdir(tmp_path) if not each.endswith(".lock")] == [f"{name}.refused"]
    # a kernel that is right is kept
    os.remove(tmp_path / f"{name}.refused")
    assert library.prepare(str(tmp_path), list) == "built" and library.prepare(str(tmp_path), list) == "present"
    assert len(builds) == 2
