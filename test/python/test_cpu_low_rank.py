"""Compiled low rank against plain torch: what is decoded bit for bit, and how well factors fit, since a search may sum in any
order; the ends' states are the same to the last bit either way."""

import itertools

import pytest
import torch
from cpu_compared import HARD, bits_of, compare as compare_bits, noise, run
from test_bench import checked

from cfx_bench.call import Call
from cfx_shim import coding, messages
from cfx_shim._contract import SECTION_ALIGN
from cfx_shim.coding import Section
from cfx_shim.cpu import launch, library
from cfx_shim.plan import Treatment
from cfx_shim.state import INT8, NATIVE, aligned

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# a search stops at one of many points that are alike; from the eager one it may be off by so much of the error
WORSE = 1.02
# ragged rows, panels and bytes, one channel, one token, odd panels and even ones, ranks below and past one tile
SHAPES = [(1, 5, 16), (2, 7, 40), (1, 1, 64), (1, 9, 1), (2, 131, 24), (1, 65, 300), (1, 48, 96), (1, 290, 260)]
PAPERS = ("lowrank_r8", "lowrank_int4_r8")


def section_of(blocks, codec="lowrank_fit_b31", order=1, feedback=True, base_dtype=NATIVE):
    return Section("k", blocks, Treatment(codec, order, feedback, base_dtype=base_dtype))


def message_for(section):
    return torch.full((section.blocks.shape[0], aligned(section.bytes) + SECTION_ALIGN), 0xAB, dtype=torch.uint8)


def encoded(section, state):
    """(message, what its sender's ``state`` became)."""
    assert library.kernels() is None or messages.kernel_kind(section)[0] == messages.COMPILED
    message, moved = message_for(section), None if state is None else state.clone()
    messages.write([section], [moved], message, None)
    return message, moved


def decoded(section, message, state):
    """(values, what a receiver's ``state`` became)."""
    moved = None if state is None else state.clone()
    values = torch.stack(messages.read([section], [moved], message, None)[0])
    return values, values if moved is None else moved


def same(one, other):
    return one.dtype == other.dtype and torch.equal(bits_of(one), bits_of(other))


def compare(steps, codec, order, feedback=True, base_dtype=NATIVE):
    """Both searches from one base in each of ``steps``; returns squared errors [blocks, 2] of the kernels' and the eager one."""
    section, errors = section_of(steps[0], codec, order, feedback, base_dtype), 0
    state = torch.zeros(section.layout.shape(len(steps[0])), dtype=section.layout.stored) if order else None
    for x in steps:
        section.blocks = x
        message, sent = encoded(section, state)
        values, received = decoded(section, message, state)
        with library.set_aside():
            plain, _ = encoded(section, state)
            assert all(map(same, decoded(section, message, state), (values, received)))
            other, _ = decoded(section, plain, state)
        assert torch.equal(message[:, -SECTION_ALIGN], plain[:, -SECTION_ALIGN]) and values.isfinite().all()
        if order:
            state = sent
            if not feedback:
                received = torch.empty_like(state)
                section.layout.start(received, x, None)
            assert same(sent, received)
        x = x.double().nan_to_num(0.0, 0.0, 0.0)
        errors += torch.stack([(x - each.double()).square().sum(dim=(1, 2)) for each in (values, other)], dim=1)
    return errors


def walk(shape, count, dtype=torch.float32):
    spread = torch.exp(0.5 * noise((1, 1, shape[2]), 1))
    return [(noise(shape, 0) + sum(0.2 * spread * noise(shape, 2 + each) for each in range(step))).to(dtype) for step in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
def test_factors_fit_as_well_and_states_are_the_same(kernels, shape):
    for dtype, order, codec in itertools.product(DTYPES, (0, 1, 2), ("lowrank_fit_b31", "lowrank_fit_b15")):
        # with a prediction from the third step on
        found, eager = compare(walk(shape, 2 + (order == 2), dtype), codec, order).sum(dim=0)
        assert found <= WORSE * eager


@pytest.mark.parametrize("shape", SHAPES)
def test_factors_fit_as_well_beside_bases_in_8_bits_and_states_are_the_same(kernels, shape):
    for dtype, order, codec in itertools.product(DTYPES, (1, 2), ("lowrank_fit_b31", "lowrank_fit_b15")):
        found, eager = compare(walk(shape, 2, dtype), codec, order, base_dtype=INT8).sum(dim=0)
        assert found <= WORSE * eager
        compare(walk(shape, 2, dtype), codec, order, feedback=False, base_dtype=INT8)


@pytest.mark.parametrize("name", HARD)
def test_hard_values(kernels, name):
    for order, codec in itertools.product((0, 1, 2), ("lowrank_fit_b31", "lowrank_fit_r8")):
        x = HARD[name](noise((2, 70, 19), 3))
        compare([x, x * 0.5, -x], codec, order)


def test_what_one_or_two_components_hold_is_found_as_well_as_in_plain_torch(kernels):
    # rounding alone fills the components past them, so that single blocks err by more or less
    x = noise((48, 70, 50), 5)
    for rank in (1, 2):
        found, eager = compare([x[:, :, :rank] @ x[:, :rank]], "lowrank_fit_r8", 0).log().mean(dim=0).exp()
        assert found <= 1.25 * eager


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_input_is_flagged_and_counts_as_zero(kernels, value):
    x = noise((1, 70, 19), 4)
    broken, mended = x.clone(), x.clone()
    broken[0, 66, 17], mended[0, 66, 17] = value, 0
    for order in (0, 1):
        compare([x, broken, x], "lowrank_fit_r8", order)
        flags = [message[0, -SECTION_ALIGN].item() for message in run([x, broken, x], "lowrank_fit_r8", order)[:: 2 + 2 * order]]
        assert flags == [0, 1, 0]
    sent, clean = (encoded(section_of(each, order=0), None)[0] for each in (broken, mended))
    assert torch.equal(sent[:, :-SECTION_ALIGN], clean[:, :-SECTION_ALIGN])


def test_a_number_that_no_unit_reaches_is_flagged(kernels):
    x = torch.full((1, 32, 32), 3e38)
    section = section_of(x, "lowrank_fit_r8", 0)
    message, _ = encoded(section, None)
    with library.set_aside():
        plain, _ = encoded(section, None)
    assert message[0, -SECTION_ALIGN] == plain[0, -SECTION_ALIGN] == 1


def test_without_feedback_the_base_becomes_what_was_sent(kernels):
    for dtype, order in itertools.product(DTYPES, (1, 2)):
        compare(walk((2, 33, 20), 3, dtype), "lowrank_fit_r8", order, feedback=False)


@pytest.mark.parametrize("codec", PAPERS)
def test_the_papers_factors_are_found_in_plain_torch_and_multiplied_out_to_its_bits(kernels, codec):
    for order, dtype in itertools.product((0, 1, 2), DTYPES):
        for shape in SHAPES:
            compare_bits(walk(shape, 2 + (order == 2), dtype), codec, order)
            if order:
                for feedback in (True, False):
                    compare_bits(walk(shape, 2, dtype), codec, order, feedback, base_dtype=INT8)
        compare_bits(walk((3, 40, 24), 2, dtype), codec, order, sections=3)
    for change in HARD.values():
        x = change(noise((2, 70, 19), 3))
        for order in (1, 2):
            compare_bits([x, x * 0.5, -x], codec, order)
    broken = noise((1, 70, 19), 4)
    broken[0, 66, 17] = float("nan")
    compare_bits([noise((1, 70, 19), 5), broken, noise((1, 70, 19), 6)], codec, 1)
    for order in (1, 2):
        compare_bits(walk((2, 33, 20), 3), codec, order, feedback=False)


@pytest.mark.parametrize("codec", ("lowrank_fit_b31", "lowrank_r32", *PAPERS))
def test_any_bytes_are_decoded_alike(kernels, codec):
    for dtype, channels, order in itertools.product(DTYPES, (19, 64, 130), (0, 1, 2)):
        section = section_of(noise((2, 75, channels), 1).to(dtype), codec, order)
        state = torch.empty(section.layout.shape(2), dtype=section.layout.stored) if order else None
        if order:
            section.layout.start(state, section.blocks, noise(section.blocks.shape, 2))
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            message = torch.randint(0, 256, message_for(section).shape, dtype=torch.uint8, generator=generator)
            if seed == 2:
                # weights of 0, whose products are zeros of either sign
                message[:, 2 : 2 + section.codec.rank(75, channels)] = 0
            compiled = decoded(section, message, state)
            with library.set_aside():
                assert all(map(same, decoded(section, message, state), compiled))
            assert dtype != torch.float32 or compiled[0].isfinite().all()


def test_a_block_depends_on_nothing_beside_it_and_on_no_thread(kernels):
    x = torch.cat([noise((1, 101, 70), 1), 1e30 * noise((1, 101, 70), 2), noise((1, 101, 70), 3)])
    x[1, 7, 5] = float("nan")
    alone = torch.cat([encoded(section_of(x[block : block + 1], order=0), None)[0] for block in range(3)])
    for threads in (1, 2, 5):
        with launch.shared_by(threads):
            together, _ = encoded(section_of(x, order=0), None)
            # tokens, and so panels, part anywhere
            first = decoded(section_of(x, order=0), together, None)[0]
        assert torch.equal(together[:, :-SECTION_ALIGN], alone[:, :-SECTION_ALIGN])
        assert threads == 1 or same(first, once)
        once = first


def test_strided_blocks_are_read_right(kernels):
    whole = noise((2, 40, 3, 24), 1)
    strided = section_of(whole[:, :, 1], order=0)
    assert torch.equal(encoded(strided, None)[0], encoded(section_of(whole[:, :, 1].contiguous(), order=0), None)[0])
    assert messages.kernel_kind(section_of(whole[:, :, 1].transpose(1, 2), order=0)) is None


def test_the_gate_of_bench_lets_it_find_something_else_if_that_errs_no_more(kernels, monkeypatch):
    assert checked("lowrank_fit_b31") == []
    encode = Call.encode

    def worse(call, blocks):
        encode(call, blocks)
        # a weight less
        call.send[0, 2] = 0

    monkeypatch.setattr(Call, "encode", worse)
    assert any(found.startswith("step 1: what compiled found errs 1.") for found in checked("lowrank_fit_b31"))


def test_q_k_and_v_go_together_and_a_receiver_without_kernels_keeps_the_senders_base(kernels, monkeypatch):
    calls = []
    kept = launch.Encoding

    def counted(xs, *given, **named):
        calls.append(len(xs))
        return kept(xs, *given, **named)

    monkeypatch.setattr(launch, "Encoding", counted)
    sections = [Section(role, noise((3, 35, 48), seed), Treatment("lowrank_fit_b31", 1, True)) for seed, role in enumerate("qkv")]
    size = 0
    for section in sections:
        section.offset, size = size, size + aligned(section.bytes)
    sent, received = [torch.zeros(2, 35, 48) for _ in sections], [torch.zeros(2, 35, 48) for _ in sections]
    for step in range(3):
        message = torch.full((3, size + SECTION_ALIGN), 0xAB, dtype=torch.uint8)
        messages.write(sections, sent, message, 1)
        for section, mine, theirs in zip(sections, sent, received):
            coding.decode(section, message[[0, 2], section.offset : section.offset + section.bytes], theirs)
            assert same(mine, theirs)
            section.blocks = section.blocks + 0.2 * noise((3, 35, 48), 9 + step)
    assert calls == [3] * 3
