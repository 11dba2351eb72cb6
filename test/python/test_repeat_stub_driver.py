"""``kernels.repeat``: calls made again without asking Triton pass a driver what Triton would.

Kernels are found and compiled by Triton itself.
"""

import gc
import weakref

import pytest
import torch

pytest.importorskip("triton", reason="kernels need Triton, which this torch comes without")

import triton  # noqa: E402
from stub_driver import Driver  # noqa: E402
from triton.runtime import driver  # noqa: E402

from cfx_shim import codecs, state, statistics  # noqa: E402
from cfx_shim.kernels import (  # noqa: E402
    formats,
    history_launch,
    int4_launch,
    launch,
    low_rank,
    low_rank_launch,
    ops,
    per_token_launch,
    repeat,
    residual,
    topk_launch,
    traffic,
)

TOKENS, CHANNELS, OFFSETS = 48, 64, [0, 1 << 16]
OF_FP8 = {"offsets": OFFSETS, "own": formats.NOBODY, "codec": "fp8", "order": 0, "feedback": True, "first": True, "statistics": "exact"}


@pytest.fixture
def launched(monkeypatch):
    modules = launch, history_launch, per_token_launch, topk_launch, int4_launch, low_rank_launch, low_rank, residual
    for kernel in {each for module in modules for name, each in vars(module).items() if name.endswith("_kernel")}:
        # what Triton has compiled for this driver is not to be found by another one
        monkeypatch.setattr(kernel, "device_caches", type(kernel.device_caches)(kernel.create_binder))
    before = dict(vars(driver))
    driver.set_active(Driver())
    Driver.launched.clear()
    yield Driver.launched
    vars(driver).update(before)


def tensors(count=2, offset=0):
    return [torch.randn(3 * TOKENS * CHANNELS + offset).bfloat16()[offset:].view(3, TOKENS, CHANNELS) for _ in range(count)]


def ends(codec, order, taken="exact", histories=()):
    """(a sender's ``Encoding``, a receiver's ``Decoding``, what the latter is given) of two sections to three ranks."""
    starts = order if codec == "int4" else 0
    layout = state.layout(state.NATIVE, order, TOKENS, CHANNELS, torch.bfloat16) if order else None
    states = [torch.zeros(layout.shape(3), dtype=layout.stored) for _ in OFFSETS] if order else []
    message = torch.zeros(3, 1 << 18, dtype=torch.uint8)
    how = {"offsets": OFFSETS, "own": formats.NOBODY, "codec": codec, "order": order, "keyframe": starts > 0}
    send = ops.Encoding(tensors(), states, message, feedback=True, first=True, statistics=taken, histories=histories, **how)
    return send, ops.Decoding(states, message, tokens=TOKENS, channels=CHANNELS, dtype=torch.bfloat16, **how), lambda: [] if order else tensors()


def alike(one, other, allocated):
    """Whether two launches are the same, but for tensors that each call allocates."""
    (grid, kernel, arguments), (other_grid, other_kernel, others) = one, other
    pairs = list(zip(arguments, others, strict=True))
    same = all(
        (a.data_ptr(), a.shape, a.stride(), a.dtype) == (b.data_ptr(), b.shape, b.stride(), b.dtype)
        or (allocated and a.shape == b.shape and a.dtype == b.dtype and a.data_ptr() != b.data_ptr())
        if torch.is_tensor(a) and torch.is_tensor(b)
        else a == b
        for a, b in pairs
    )
    return list(grid) == list(other_grid) and kernel == other_kernel and same


@pytest.mark.parametrize(
    "codec, order, allocates",
    [("binary", 1, False), ("lm2", 2, False), ("tcq2", 2, True), ("fp8", 0, False), ("topk", 1, False), ("int4", 2, False), ("lowrank_fit_b16", 1, True)],
)  # fmt: skip
def test_a_call_made_again_launches_what_triton_would(codec, order, allocates, launched, monkeypatch):
    send, receive, outs = ends(codec, order)
    for call, given in ((send, tensors), (receive, outs)):
        call(given())
        again = given()
        launched.clear()
        with monkeypatch.context() as patch:
            # who is asked for a kernel says no
            patch.setattr(triton.runtime.jit.JITFunction, "run", None)
            call(again)
        repeated = list(launched)
        launched.clear()
        call._call._noted.clear()
        # Triton finds the kernels anew
        call(again)
        assert len(repeated) == len(launched) > 0
        # a call's own memory is another one each time, at the same place in all its launches
        assert all(alike(one, other, allocates and call is send) for one, other in zip(repeated, launched))
        if not allocates:
            assert all(alike(one, other, False) for one, other in zip(repeated, launched))


@pytest.mark.parametrize("codec", ["lm2", "tcq2"])
def test_what_a_send_leaves_is_kept_by_a_launch_behind_it(codec, launched):
    layout = statistics.layout(codecs.load(codec), CHANNELS)
    histories = [torch.zeros(layout.shape(3), dtype=torch.uint8) for _ in OFFSETS]
    send, _, _ = ends(codec, 2, "previous", histories)
    for _ in range(3):
        launched.clear()
        send(tensors())
        before = len(launched)
        send.keep()
        # encode's last tensor but the counter is keep's first but the histories
        (_, kernel, sent), (_, other, kept) = launched[0], launched[-1]
        assert len(launched) == before + 1 == len(traffic.launches(formats.of(codec), 2, "previous")["encode"]) + 1
        assert (kernel[0], other[0]) == ("encode_kernel", "history_kernel")
        (leaves,) = [each for each in sent if torch.is_tensor(each) and each.dtype == torch.float32]
        assert [each.data_ptr() for each in kept[:4]] == [histories[0].data_ptr(), histories[1].data_ptr(), histories[0].data_ptr(), leaves.data_ptr()]
        assert send._leaves is None


@pytest.mark.parametrize("codec, order", [("binary", 1), ("lm2", 2), ("tcq2", 2)])
def test_numbers_that_are_1_compile_which_triton_makes_constants(codec, order, launched):
    layout = state.layout(state.NATIVE, order, 1, 7, torch.bfloat16)
    kept = statistics.layout(codecs.load(codec), 7).shape(1)
    x, states, message = torch.zeros(1, 1, 7).bfloat16(), [torch.zeros(layout.shape(1), dtype=layout.stored)], torch.zeros(1, 256, dtype=torch.uint8)
    for taken in ("exact", "previous"):
        how = {"own": formats.NOBODY, "codec": codec, "order": order, "histories": [torch.zeros(kept, dtype=torch.uint8)]}
        send = ops.Encoding([x], states, message, offsets=[0], feedback=True, first=True, statistics=taken, **how)
        send([x])
        send.keep()
    launches = [traffic.launches(formats.of(codec), order, taken) for taken in ("exact", "previous")]
    assert len(launched) == sum(len(each["encode"]) + 1 for each in launches)


def test_tensors_that_lie_otherwise_get_kernels_of_their_own(launched):
    send, _, _ = ends("fp8", 0)
    kernels = []
    for offset in (0, 1, 0, 1):
        launched.clear()
        send(tensors(offset=offset))
        kernels += [kernel for _, kernel, _ in launched]
    assert kernels[:2] == kernels[2:] and kernels[0] != kernels[1]


def test_one_tensor_given_twice_stands_for_two_and_none_is_kept(launched):
    first = tensors()
    send, seen = ops.Encoding(first, [], torch.zeros(3, 1 << 18, dtype=torch.uint8), **OF_FP8), weakref.ref(first[0])
    del first
    gc.collect()
    assert seen() is None
    (both,) = tensors(1)
    kept = weakref.ref(both)
    send([both, both])
    del both
    launched.clear()
    gc.collect()
    assert kept() is None
    two = tensors()
    send(two)
    ((_, _, arguments),) = launched
    assert [each.data_ptr() for each in arguments[:2]] == [each.data_ptr() for each in two]


def test_what_failed_is_asked_for_again(launched, monkeypatch):
    send, _, _ = ends("fp8", 0)
    given = tensors()
    with monkeypatch.context() as patch:
        patch.setattr(per_token_launch, "warps", lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            send(given)
    assert repeat._open.get() is None
    send(given)
    assert len(launched) == 1


def test_the_papers_low_rank_which_takes_torchs_products_is_not_repeated():
    assert [formats.of(codec).only_launches for codec in ("lowrank_r32", "lowrank_int4_r32", "lowrank_fit_b16", "tcq2")] == [False, False, True, True]
