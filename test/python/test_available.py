"""Which machines get kernels. There is no GPU here: what a GPU would say of itself is made up."""

import pytest
import torch

from cfx_shim import kernels

triton = pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")


@pytest.fixture
def found(monkeypatch):
    """A function of a Triton's version and a GPU's generation that asks whether kernels are available there."""

    def ask(version, generation):
        monkeypatch.setattr(triton, "__version__", version)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: generation)
        for each in (kernels._compiles_for, kernels._is_new_enough):
            each.cache_clear()
        return [kernels.available(torch.device("cuda", index)) for index in (0, 1)]

    yield ask
    for each in (kernels._compiles_for, kernels._is_new_enough):
        each.cache_clear()


def test_kernels_are_for_a_made_up_gpu_from_ampere_on(found, capsys):
    assert found("3.4.0", (8, 0)) == found("3.10.1+git1", (12, 0)) == [True, True]
    assert found("3.9.0", (7, 5)) == [False, False]
    assert capsys.readouterr().err == ""


def test_a_triton_that_cannot_compile_them_is_named_once_and_left_alone(found, capsys):
    assert found("3.3.1", (9, 0)) == [False, False]
    assert capsys.readouterr().err == "cfx: going on without kernels, slowly: Triton 3.3.1 is installed; expected 3.4 or newer\n"
