"""The compiled kernels against plain torch: the same payload bytes and the same moved states, to the last bit."""

import contextlib
import itertools
import os
import threading

import pytest
import torch
from cpu_compared import HARD, bits_of, compare, counted_launches, noise, run, section_of

from cfx_shim import messages
from cfx_shim._contract import SECTION_ALIGN
from cfx_shim.coding import Section
from cfx_shim.cpu import launch, library
from cfx_shim.plan import Treatment
from cfx_shim.state import INT8, NATIVE, aligned

CODECS = (
    *("binary", "int2", "lm1", "lm2", "lm3", "lm4", "tcq1", "tcq2", "tcq3", "fp8", "int8", "topk", "ternary"),
    *("centred4", "centred5", "int4"),
)
# what goes without a base, and so can be a keyframe
STATELESS = ("fp8", "int8", "centred4", "centred5", "int4")
# ragged rows and bytes, one channel, one token, more tokens than lanes, channels past one strip of the statistics, and a trend in two
# parts the last of which ends before its vector does
SHAPES = [(1, 5, 16), (2, 7, 10), (3, 4, 3), (1, 1, 64), (1, 9, 1), (2, 131, 24), (1, 65, 300), (1, 5, 260)]
# several paths of a trellis: of the last a half, and where another scale begins in between
PATHS = [(1, 17, 256), (2, 19, 520), (1, 3, 3072)]

# more tokens than are summed up at a time, of whole groups; and channels past a strip that one thread takes alone, in parts of whole
# groups and of such as begin anew
LARGE = [(1, 1100, 128), (2, 70, 4160), (1, 70, 4112)]


def orders(codec):
    return (0,) if codec == "int4" or codec.startswith("centred") else (0, 1, 2)


CASES = [(codec, order) for codec in CODECS for order in orders(codec)]


@pytest.mark.parametrize("codec, order", CASES)
def test_same_bytes_and_states_for_every_shape_and_dtype(kernels, codec, order):
    for shape, dtype in itertools.product(SHAPES, (torch.float32, torch.float16, torch.bfloat16)):
        first = noise(shape, 0)
        steps = [(first + 0.1 * step * noise(shape, 1) + 0.05 * noise(shape, 2 + step)).to(dtype) for step in range(4)]
        compare(steps, codec, order)


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("codec", ("binary", "int2", "lm1", "lm2", "ternary", "tcq1", "fp8", "topk", "centred5", "int4"))
def test_same_bytes_and_states_of_large_blocks(kernels, codec, shape):
    first = noise(shape, 0)
    steps = [first + 0.1 * step * noise(shape, 1) + 0.05 * noise(shape, 2 + step) for step in range(3)]
    for order, threads in itertools.product(orders(codec), (1, 3)):
        with launch.shared_by(threads):
            compare(steps, codec, order)
    compare([each.to(torch.bfloat16) for each in steps], codec, max(orders(codec)))
    if max(orders(codec)):
        compare(steps, codec, 2, base_dtype=INT8)


EIGHT_BIT_CASES = [(codec, order) for codec, order in CASES if order]


@pytest.mark.parametrize("codec, order", EIGHT_BIT_CASES)
def test_bases_in_8_bits_are_the_same_for_every_shape_and_dtype(kernels, codec, order, monkeypatch):
    calls = counted_launches(monkeypatch)
    # groups of channels that go on from one part of a row into the other, too
    for shape, dtype in itertools.product([*SHAPES, (2, 20, 96)], (torch.float32, torch.float16, torch.bfloat16)):
        first = noise(shape, 0)
        steps = [(first + 0.1 * step * noise(shape, 1) + 0.05 * noise(shape, 2 + step)).to(dtype) for step in range(4)]
        compare(steps, codec, order, base_dtype=INT8)
        compare(steps, codec, order, feedback=False, base_dtype=INT8)
    calls.clear()
    compare([noise((3, 35, 48), seed).to(torch.bfloat16) for seed in range(3)], codec, order, sections=3, base_dtype=INT8)
    assert calls == [("Encoding", 3), ("Decoding", 3)] * 3


@pytest.mark.parametrize("name", ("huge", "tiny", "past a float16's scales", "a huge channel", "NaN", "Inf"))
def test_bases_in_8_bits_of_hard_values_are_the_same(kernels, name):
    for codec, order in EIGHT_BIT_CASES:
        x = noise((2, 70, 19), 3)
        if name in HARD:
            steps = [HARD[name](x), HARD[name](x * 0.5), -x]
        else:
            broken = x.clone()
            broken[1, 66, 17] = float(name)
            steps = [x, broken, x]
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            kept = [step.to(dtype) for step in steps]
            compare(kept, codec, order, base_dtype=INT8)
            compare(kept, codec, order, feedback=False, base_dtype=INT8)


KEYFRAMES = [(keyframe, codec, order) for keyframe in STATELESS for codec, order in (("lm3", 0), ("int2", 1), ("lm1", 2))]


@pytest.mark.parametrize("keyframe, codec, order", KEYFRAMES)
def test_keyframes_are_the_same_and_leave_the_same_states(kernels, keyframe, codec, order):
    # wide enough for a trend whose groups of channels are, and are not, whole in the first part of a row
    for shape, dtype in itertools.product([*SHAPES, (1, 3, 128), (2, 66, 40)], (torch.float32, torch.float16, torch.bfloat16)):
        first = 2 + noise(shape, 0)
        steps = [(first + 0.2 * step * noise(shape, 1) + 0.05 * noise(shape, 2 + step)).to(dtype) for step in range(4)]
        compare(steps, codec, order, keyframe=keyframe)
        if order:
            compare(steps, codec, order, keyframe=keyframe, base_dtype=INT8)


@pytest.mark.parametrize("keyframe", STATELESS)
def test_keyframes_of_hard_values(kernels, keyframe):
    for name in HARD:
        x = HARD[name](noise((2, 70, 19), 3))
        for base_dtype, dtype in itertools.product((NATIVE, INT8), (torch.float32, torch.float16)):
            kept = [step.to(dtype) for step in (x, x * 0.5, -x)]
            compare(kept, "lm2", 2, keyframe=keyframe, base_dtype=base_dtype)
    for value in (float("nan"), float("inf"), -float("inf")):
        broken = noise((1, 70, 19), 4)
        broken[0, 66, 17] = value
        compare([broken, noise((1, 70, 19), 5), broken], "lm1", 2, keyframe=keyframe)
        assert run([broken], "lm1", 2, keyframe=keyframe)[0][0, -SECTION_ALIGN] == 1


@pytest.mark.parametrize("keyframe", STATELESS)
def test_keyframes_of_q_k_and_v_go_together_apart_from_what_has_a_base(kernels, keyframe, monkeypatch):
    calls = counted_launches(monkeypatch)
    compare([noise((3, 35, 48), seed) for seed in range(3)], "lm1", 2, sections=3, keyframe=keyframe)
    assert calls == [(name, 3) for _ in range(3) for name in ("Encoding", "Decoding")]
    calls.clear()
    sections = [Section(role, noise((1, 35, 48), 7), Treatment("lm1", 2, True, keyframe)) for role in "qkv"]
    sections[0].keyframe = sections[2].keyframe = sections[2].continues = True
    layout, size = sections[0].layout, 0
    for section in sections:
        section.offset, size = size, size + aligned(section.bytes)
    found = []
    for aside in (False, True):
        states = [torch.zeros(layout.shape(1), dtype=layout.stored) for _ in sections]
        message = torch.zeros((1, size + SECTION_ALIGN), dtype=torch.uint8)
        with library.set_aside() if aside else contextlib.nullcontext():
            messages.write(sections, states, message, None)
        found.append([message, *states])
    # a keyframe with a base before and one without differ in what they do with a trend
    assert calls == [("Encoding", 1)] * 3
    assert all(torch.equal(left, right) for left, right in zip(*found))


@pytest.mark.parametrize("codec, order", [case for case in CASES if case[0].startswith("tcq")])
def test_paths_side_by_side_are_those_of_plain_torch(kernels, codec, order):
    for shape, dtype in itertools.product(PATHS, (torch.float32, torch.bfloat16)):
        first = noise(shape, 0)
        # tokens and channels of many sizes
        scales = torch.exp(2 * noise((1, shape[1], 1), 1) + noise((1, 1, shape[2]), 2))
        steps = [((first + 0.1 * noise(shape, 3 + step)) * scales).to(dtype) for step in range(3)]
        compare(steps, codec, order)
        for name in ("zeros", "tiny", "huge", "a huge channel"):
            compare([HARD[name](steps[0].float()).to(dtype), steps[1]], codec, order)
        for value in (float("nan"), -float("inf")):
            broken = steps[0].clone()
            broken[0, -1, [3, shape[2] // 2, -1]] = value
            compare([steps[0], broken, steps[1]], codec, order)


@pytest.mark.parametrize("name", HARD)
def test_same_bytes_for_hard_values(kernels, name):
    for codec, order in CASES:
        x = HARD[name](noise((2, 70, 19), 3))
        compare([x, x * 0.5, -x], codec, order)
        if name not in ("huge", "a huge channel"):
            compare([x.half().clamp(-60000, 60000), x.half().clamp(-60000, 60000) * 0.5], codec, order)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_input_is_flagged_and_leaves_the_same_state(kernels, value):
    for codec, order in CASES:
        x = noise((1, 70, 19), 4)
        broken = x.clone()
        broken[0, 66, 17] = value
        compare([x, broken, x], codec, order)
        sent = run([x, broken, x], codec, order)[:: 2 if order == 0 else 4]
        assert [message[0, -SECTION_ALIGN].item() for message in sent] == [0, 1, 0]


@pytest.mark.parametrize("codec, order", CASES)
def test_alike_sections_go_together(kernels, codec, order, monkeypatch):
    calls = counted_launches(monkeypatch)
    for dtype in (torch.float32, torch.bfloat16):
        calls.clear()
        compare([noise((3, 35, 48), seed).to(dtype) for seed in range(3)], codec, order, sections=3)
        # q, k and v of a layer: one call for all of them, to all peers
        # (of order 0 there are no states)
        assert calls == [("Encoding", 3 if order else 0), ("Decoding", 3 if order else 0)] * 3


@pytest.mark.parametrize("codec, order", [case for case in CASES if case[1]])
def test_same_bytes_without_feedback(kernels, codec, order):
    compare([noise((2, 33, 20), seed) for seed in range(3)], codec, order, feedback=False)


@pytest.mark.parametrize("codec", (*STATELESS, "binary", "int2", "topk", "ternary", "tcq1", "tcq2", "tcq3"))
def test_any_bytes_are_decoded_alike(kernels, codec):
    """Numbers that no encoder writes too: negative scales, NaN, Inf and so large that a value would be none."""
    for channels, dtype in itertools.product((19, 520), (torch.float32, torch.float16, torch.bfloat16)):
        section = section_of(torch.zeros((1, 300, channels), dtype=dtype), codec, 0)
        shape, seed = (1, aligned(section.bytes) + SECTION_ALIGN), torch.Generator().manual_seed(5)
        message = torch.randint(0, 256, shape, dtype=torch.uint8, generator=seed)
        (compiled,) = messages.read([section], [None], message, None)[0]
        with library.set_aside():
            (plain,) = messages.read([section], [None], message, None)[0]
        assert torch.equal(bits_of(compiled), bits_of(plain))
        assert not dtype == torch.float32 or bool(compiled.isfinite().all())
        for order in (1, 2):
            if codec.startswith("centred"):
                continue
            moved = section_of(section.blocks, codec, order)
            before = torch.zeros(moved.layout.shape(1), dtype=moved.layout.stored)
            base, trend = noise((1, 300, channels), 6).to(dtype), noise((1, 300, channels), 7)
            moved.layout.start(before, base, trend)
            states = [before.clone(), before.clone()]
            size = aligned(moved.bytes) + SECTION_ALIGN
            longer = torch.randint(0, 256, (1, size), dtype=torch.uint8, generator=seed)
            messages.read([moved], states[:1], longer, None)
            with library.set_aside():
                messages.read([moved], states[1:], longer, None)
            assert torch.equal(bits_of(states[0]), bits_of(states[1]))
        if codec not in STATELESS:
            continue
        kept = section_of(section.blocks, "lm1", 2)
        kept.treatment, kept.keyframe, kept.continues = Treatment("lm1", 2, True, codec), True, True
        before = torch.zeros(kept.layout.shape(1), dtype=kept.layout.stored)
        kept.layout.start(before, noise((1, 300, channels), 6).to(dtype), None)
        states = [before.clone(), before.clone()]
        messages.read([kept], states[:1], message, None)
        with library.set_aside():
            messages.read([kept], states[1:], message, None)
        assert torch.equal(*states)


def test_strided_blocks_are_read_right(kernels):
    whole = [noise((2, 40, 3, 24), seed) for seed in range(3)]
    for codec, order in CASES:
        compare([each[:, :, 1] for each in whole], codec, order)
        # channels that are not side by side go the plain way
        compare([each[:, :, 1].transpose(1, 2) for each in whole], codec, order)


def test_many_threads_and_few_give_the_same_bits(kernels):
    steps = [noise((2, 101, 200), seed) for seed in range(3)]
    for codec, order in CASES:
        one = run(steps, codec, order)
        with launch.shared_by(5):
            five = run(steps, codec, order)
        assert all(torch.equal(bits_of(left), bits_of(right)) for left, right in zip(one, five))


def test_several_callers_at_once_do_not_share_scratch(kernels):
    steps = [noise((1, 300, 96), seed) for seed in range(3)]
    expected = run(steps, "lm2", 2)
    found = []
    callers = [threading.Thread(target=lambda: found.append(run(steps, "lm2", 2))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    for each in found:
        assert all(torch.equal(bits_of(left), bits_of(right)) for left, right in zip(each, expected))


def test_a_forked_process_works_with_threads_of_its_own(kernels):
    steps = [noise((1, 300, 96), seed) for seed in range(2)]
    with launch.shared_by(3):
        expected = run(steps, "int2", 1)
        child = os.fork()
        if child == 0:
            try:
                alike = all(torch.equal(bits_of(a), bits_of(b)) for a, b in zip(run(steps, "int2", 1), expected))
                os._exit(0 if alike else 1)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_kernels_cannot_do_goes_the_plain_way(kernels):
    x = noise((1, 8, 16), 0)

    def path(codec, order, blocks, base_dtype="native"):
        kind = messages.kernel_kind(Section("k", blocks, Treatment(codec, order, True, base_dtype=base_dtype)))
        return kind and kind[0]

    assert path("binary", 1, x) == messages.COMPILED
    assert path("int8", 0, x) == messages.COMPILED
    assert path("int8", 2, x) == path("topk", 2, x) == messages.COMPILED
    assert path("centred5", 1, x) is None
    assert path("skip", 1, x) is None
    assert path("binary", 1, x.double()) is None
    assert path("binary", 1, x, "int8") == messages.COMPILED
    assert path("binary", 1, x.transpose(1, 2)) is None


def test_a_folder_that_others_may_write_to_is_refused(kernels, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "_kernels", None)
    tmp_path.chmod(0o777)
    for use in (lambda folder: library.prepare(folder, list), library.load):
        with pytest.raises(PermissionError, match="0700"):
            use(str(tmp_path))


def test_a_rank_never_builds(kernels, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "_kernels", None)
    folder = tmp_path / "kernels"
    assert not library.load(str(folder)) and not folder.exists()
    folder.mkdir(mode=0o700)
    assert not library.load(str(folder)) and not list(folder.iterdir())
    assert library.kernels() is None
