"""The two collectives on real gloo ranks: what arrives, what both ends keep, and what is counted."""

import pytest
import torch
import torch.distributed as dist
from exchanges import BINARY, COLLECTIVES, IDENTITY, INT2, OFF, RankUnderTest, message_bytes, slowly_varying
from ranks import run_ranks

from cfx_shim import codecs, messages
from cfx_shim.plan import Treatment
from cfx_shim.state import add_decoded_

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
both = pytest.mark.parametrize("collective", COLLECTIVES)
two_and_three = pytest.mark.parametrize("world", [2, 3])


def bits(x):
    return x.contiguous().view(torch.uint8)


# what arrives


def _exact(rank, collective, treatment):
    us = RankUnderTest()
    for dtype in DTYPES:
        for step in range(3):
            shape = us.blocks(collective, 5, 6)
            sections = [(role, slowly_varying(rank, step, role, shape, dtype), treatment) for role in "qkv"]
            received = us.exchange(collective, step, sections)
            for role, blocks in zip("qkv", received):
                sent = us.sent_to_us(collective, lambda source: slowly_varying(source, step, role, shape, dtype))
                for block, expected in zip(blocks, sent):
                    assert block.dtype == dtype and torch.equal(bits(block), bits(expected))
    assert us.bases.bytes == 0


@both
@two_and_three
@pytest.mark.parametrize("treatment", [IDENTITY, OFF], ids=["identity", "untouched"])
def test_identity_and_untouched_tensors_arrive_bit_for_bit_and_keep_no_base(world, collective, treatment):
    run_ranks(world, _exact, collective, treatment)


def _beside(rank, collective):
    us, seen = RankUnderTest(), []
    name = {"all_to_all": "all_to_all_single", "all_gather": "all_gather_into_tensor"}[collective]
    send = getattr(dist, name)

    def sent(*given, **how):
        seen.append(("sent", how["async_op"]))
        return send(*given, **how)

    setattr(dist, name, sent)
    messages.Writer.keeps_behind = True
    messages.Writer.keep = lambda writer: seen.append("kept")
    for step in range(3):
        shape = us.blocks(collective, 5, 6)
        (blocks,) = us.exchange(collective, step, [("k", slowly_varying(rank, step, "k", shape), IDENTITY)])
        expected = us.sent_to_us(collective, lambda source: slowly_varying(source, step, "k", shape))
        assert all(map(torch.equal, blocks, expected))
    assert seen == [("sent", True), "kept"] * 3


@both
def test_what_is_left_to_keep_goes_beside_the_wire(collective):
    run_ranks(2, _beside, collective)


def _order_0(rank, collective, codec):
    us = RankUnderTest()
    treatment, module = Treatment(codec, 0, True), codecs.load(codec)
    for step in range(4):
        shape = us.blocks(collective, 7, 10)
        (blocks,) = us.exchange(collective, step, [("k", slowly_varying(rank, step, "k", shape), treatment)])
        sent = us.sent_to_us(collective, lambda source: slowly_varying(source, step, "k", shape))
        for source, (block, exact) in enumerate(zip(blocks, sent)):
            expected = exact
            if source != rank and step > 0:
                payload = torch.zeros((1, module.payload_bytes(7, 10, 4)), dtype=torch.uint8)
                module.encode(exact[None], payload)
                expected = module.decode(payload, 7, 10)[0]
            assert torch.equal(block, expected)
    assert us.bases.bytes == 0
    counters = us.sites()["k", codec]
    assert (counters["keyframes"], counters["compressed"]) == (1, 3)


@both
@pytest.mark.parametrize("codec", ["binary", "int2"])
def test_order_0_codes_the_tensor_itself_after_the_warm_up_and_keeps_no_base(collective, codec):
    run_ranks(2, _order_0, collective, codec)


def _own_block_is_exact(rank, collective):
    us = RankUnderTest()
    for step in range(5):
        shape = us.blocks(collective, 4, 8)
        mine = slowly_varying(rank, step, "v", shape)
        (blocks,) = us.exchange(collective, step, [("v", mine, BINARY)])
        assert torch.equal(blocks[rank], mine[rank if collective == "all_to_all" else 0])
        others = [block for source, block in enumerate(blocks) if source != rank]
        sent = us.sent_to_us(collective, lambda source: slowly_varying(source, step, "v", shape))
        differ = [not torch.equal(block, sent[source]) for source, block in enumerate(blocks) if source != rank]
        assert len(others) == us.size - 1 and all(different == (step > 0) for different in differ)


@both
@two_and_three
def test_each_rank_uses_its_own_exact_block(world, collective):
    run_ranks(world, _own_block_is_exact, collective)


def _riders(rank, collective):
    us = RankUnderTest()
    for step in range(4):
        shape = us.blocks(collective, 3, 5)
        integers = torch.arange(15).reshape(1, 3, 5).expand(shape).contiguous() + 100 * rank + step
        flags = torch.ones(us.blocks(collective, 1, 3), dtype=torch.bool)
        halves = slowly_varying(rank, step, "x", us.blocks(collective, 2, 3), torch.bfloat16)
        sections = [
            ("x", flags, OFF),
            ("q", slowly_varying(rank, step, "q", shape), BINARY),
            ("x", integers, OFF),
            ("k", slowly_varying(rank, step, "k", shape, torch.float16), IDENTITY),
            ("x", halves, OFF),
        ]
        received = us.exchange(collective, step, sections)
        for source in range(us.size):
            assert torch.all(received[0][source])
            assert torch.equal(received[2][source], torch.arange(15).reshape(3, 5) + 100 * source + step)
            there = slowly_varying(source, step, "x", us.blocks(collective, 2, 3), torch.bfloat16)
            assert torch.equal(received[4][source], there[rank if collective == "all_to_all" else 0])


@both
def test_riding_tensors_of_any_dtype_go_through_untouched(collective):
    run_ranks(2, _riders, collective)


# what both ends keep


def _fifty_steps(rank, collective, dtype_index):
    us = RankUnderTest()
    random = torch.Generator().manual_seed(5)
    dtype = DTYPES[dtype_index]
    for generation in range(2):
        us.bases.drop_all()
        tokens, channels = (int(torch.randint(1, 40, (), generator=random)) for _ in range(2))
        shape = us.blocks(collective, tokens, channels)
        for step in range(25):
            sections = [
                ("q", slowly_varying(rank, step, "q", shape, dtype), BINARY),
                ("k", slowly_varying(rank, step, "k", shape, dtype), INT2),
            ]
            received = us.exchange(collective, step, sections, generation)
            assert us.bases_agree() == (4 * (us.size - 1) if collective == "all_to_all" else 2 + 2 * (us.size - 1))
            for blocks in received:
                assert all(block.dtype == dtype and torch.isfinite(block).all() for block in blocks)
        counters = us.sites()["q", "binary"]
        assert counters["keyframes"] == generation + 1
    # closed loop: what arrived at last is near what was sent, for the error is fed back
    sent = us.sent_to_us(collective, lambda source: slowly_varying(source, 24, "k", shape, dtype))
    for block, exact in zip(received[1], sent):
        assert (block.float() - exact.float()).norm() < 0.2 * exact.float().norm()


@both
@two_and_three
@pytest.mark.parametrize("dtype", range(3), ids=["fp32", "bf16", "fp16"])
def test_senders_and_receivers_bases_are_equal_over_fifty_steps_and_two_shapes(world, collective, dtype):
    run_ranks(world, _fifty_steps, collective, dtype)


def _without_feedback(rank, collective):
    us = RankUnderTest()
    treatment = Treatment("int2", 1, False)
    digests = []
    for step in range(6):
        mine = slowly_varying(rank, step, "k", us.blocks(collective, 6, 8))
        us.exchange(collective, step, [("k", mine, treatment)])
        digests.append(us.bases.digests())
        us.bases_agree()
        end = "send" if collective == "all_to_all" else "own"
        (base,) = [tensor for key, tensor in us.bases._tensors.items() if key.end == end]
        exact = mine if collective == "all_gather" else mine[[peer for peer in range(us.size) if peer != rank]]
        assert torch.equal(base, exact)
    return digests


@both
def test_without_feedback_the_senders_base_is_exact_and_all_receivers_hold_the_same(collective):
    by_rank = run_ranks(3, _without_feedback, collective)
    for step in range(6):
        names = [set(digests[step]) for digests in by_rank]
        if collective == "all_gather":
            # a block has two receivers, and its sender is not compared
            assert names == [{f"Model.0|k|0|{source}>*" for source in range(3) if source != rank} for rank in range(3)]
            assert by_rank[0][step]["Model.0|k|0|2>*"] == by_rank[1][step]["Model.0|k|0|2>*"]
        else:
            assert all(len(found) == 2 for found in names)


def _feedback_later(rank, collective):
    us = RankUnderTest()
    for step in range(6):
        treatment = Treatment("binary", 1, step >= 3)
        us.exchange(collective, step, [("k", slowly_varying(rank, step, "k", us.blocks(collective, 6, 8)), treatment)])
        if step >= 3:
            assert us.bases_agree() > 0
    return us.sites()["k", "binary"]["keyframes"]


@both
def test_feedback_that_begins_later_begins_with_a_keyframe(collective):
    assert run_ranks(2, _feedback_later, collective) == [2, 2]


def _changes(rank, collective):
    us = RankUnderTest()
    keyframes = []
    # (tokens, channels, dtype): each line but the first and the last changes one thing; batch is folded into tokens
    for step, (tokens, channels, dtype) in enumerate(
        [(4, 8, 0), (4, 8, 0), (12, 8, 0), (12, 8, 0), (12, 6, 0), (12, 6, 1), (12, 6, 1)]
    ):
        blocks = slowly_varying(rank, step, "k", us.blocks(collective, tokens, channels), DTYPES[dtype])
        us.exchange(collective, step, [("k", blocks, BINARY)])
        us.bases_agree()
        keyframes.append(us.sites()["k", "binary"]["keyframes"])
    return keyframes


@both
def test_a_change_of_tokens_batch_channels_or_dtype_sends_a_keyframe(collective):
    assert run_ranks(2, _changes, collective) == [[1, 1, 2, 2, 3, 4, 4]] * 2


def _kinds(rank, collective):
    us = RankUnderTest()
    keyframes = []
    steps = [("native", 1, 0), ("int8", 1, 0), ("int8", 1, 0), ("int8", 1, 1), ("int8", 2, 1), ("int8", 2, 1), ("native", 2, 1)]
    for step, (base_dtype, order, dtype) in enumerate(steps):
        blocks = slowly_varying(rank, step, "k", us.blocks(collective, 6, 40), DTYPES[dtype])
        (received,) = us.exchange(collective, step, [("k", blocks, Treatment("lm2", order, True, "identity", base_dtype))])
        assert all(block.dtype == DTYPES[dtype] for block in received)
        assert us.bases_agree() > 0
        if base_dtype == "int8":
            assert us.bases.bytes == 2 * (us.size - 1) * order * 6 * 42
        keyframes.append(us.sites()["k", "lm2"]["keyframes"])
    return keyframes


@both
def test_another_type_of_base_starts_from_a_keyframe_and_8_bits_are_the_same_on_all_ranks(collective):
    assert run_ranks(2, _kinds, collective) == [[1, 2, 2, 3, 4, 4, 5]] * 2


def _apart(rank, collective):
    us = RankUnderTest()
    shape = us.blocks(collective, 4, 8)
    for step in range(3):
        for branch in range(2):
            for layer in range(2):
                us.exchange(collective, step, [("k", slowly_varying(rank, step, "k", shape), BINARY)], 0, branch, layer)
    us.bases_agree()
    return len({key[: key.rindex("|")] for key in us.bases.digests()})


@both
def test_layers_and_branches_have_bases_of_their_own(collective):
    assert run_ranks(2, _apart, collective) == [4, 4]


def _modes(rank, collective):
    us = RankUnderTest()
    shape = us.blocks(collective, 4, 8)
    modes = [torch.inference_mode(), torch.no_grad(), torch.enable_grad(), torch.inference_mode()]
    for step, mode in enumerate(modes):
        with mode:
            blocks = slowly_varying(rank, step, "k", shape)
            if torch.is_grad_enabled():
                blocks.requires_grad_()
            (received,) = us.exchange(collective, step, [("k", blocks, BINARY)])
    assert not any(tensor.requires_grad for tensor in us.bases._tensors.values())
    us.bases_agree()


@both
def test_bases_outlive_a_change_between_inference_mode_and_autograd(collective):
    run_ranks(2, _modes, collective)


# what is counted


def _counted(rank, collective):
    us = RankUnderTest(warmup_steps=2)
    for step in range(5):
        sections = [
            ("q", slowly_varying(rank, step, "q", us.blocks(collective, 7, 10), torch.bfloat16), BINARY),
            ("k", slowly_varying(rank, step, "k", us.blocks(collective, 3, 10), torch.bfloat16), INT2),
            ("v", slowly_varying(rank, step, "v", us.blocks(collective, 3, 10), torch.bfloat16), IDENTITY),
            ("x", torch.zeros(us.blocks(collective, 1, 3), dtype=torch.int64), OFF),
        ]
        us.exchange(collective, step, sections)
    us.collectives.count_untouched(us_place(), "o", collective, 1234)
    return [us.sites()[key] for key in (("q", "binary"), ("k", "int2"), ("v", "identity"), ("x", "off"), ("o", "off"))]


def us_place():
    from cfx_shim.progress import Place

    return Place(0, 0, 0, "Model", 0)


@both
@two_and_three
def test_raw_and_wire_bytes_are_those_of_the_formulas(world, collective):
    peers = world - 1
    q_raw, k_raw, x_raw = 7 * 10 * 2, 3 * 10 * 2, 3 * 8
    q_payload, k_payload = 2 * 17 + 7 * 2, 2 * 13 + 2 * 3 * 2
    for q, k, v, x, o in run_ranks(world, _counted, collective):
        assert all(site["site"] == "Model.0" and site["collective"] == collective for site in (q, k, v, x, o))
        assert [site["calls"] for site in (q, k, v, x, o)] == [5, 5, 5, 5, 1]
        assert [site["keyframes"] for site in (q, k, v, x, o)] == [2, 2, 0, 0, 0]
        assert [site["compressed"] for site in (q, k, v, x, o)] == [3, 3, 5, 0, 0]
        assert [site["rawBytes"] for site in (q, k, v, x)] == [5 * peers * raw for raw in (q_raw, k_raw, k_raw, x_raw)]
        wire = sum(site["wireBytes"] for site in (q, k, v, x))
        keyframes = 2 * message_bytes(q_raw, k_raw, k_raw, x_raw)
        assert wire == peers * (keyframes + 3 * message_bytes(q_payload, k_payload, k_raw, x_raw))
        assert (o["rawBytes"], o["wireBytes"]) == (1234, 1234)


# values that are no numbers, or too large


def _non_finite(rank, collective, at):
    us = RankUnderTest()
    keyframes = []
    for step in range(8):
        blocks = slowly_varying(rank, step, "k", us.blocks(collective, 4, 8), torch.bfloat16)
        if rank == 1 and step == at:
            blocks[0, 1, 2] = float("nan") if at else float("inf")
        for layer in range(2):
            # only the second layer sees it; the first sends keyframes too, for it is of the same group
            here = blocks if layer else blocks.nan_to_num(0, 0, 0)
            (received,) = us.exchange(collective, step, [("k", here, BINARY)], layer=layer)
        keyframes.append(sum(site["keyframes"] for site in us.telemetry.message(0, 0, 0, 0, 0, 0)["sites"]))
        us.bases_agree()
    assert all(torch.isfinite(block).all() for block in received)
    return keyframes, us.fallbacks()


@both
@pytest.mark.parametrize("at", [0, 4], ids=["inf in a keyframe", "nan in a residual"])
def test_a_non_finite_input_on_one_rank_makes_every_rank_send_keyframes_at_the_next_step(collective, at):
    answers = run_ranks(3, _non_finite, collective, at)
    expected = [2 if step <= at else 4 for step in range(8)]
    reason = f"NaN or Inf in generation 0, step {at}: the next step sends keyframes"
    for keyframes, fallbacks in answers:
        assert keyframes == expected
        assert fallbacks == [{"code": "CFX_NON_FINITE", "reason": reason, "count": 1}]


def _non_finite_at_last(rank):
    us = RankUnderTest()
    blocks = torch.full((2, 2, 8), float("nan") if rank else 1.0)
    us.exchange("all_to_all", 0, [("k", blocks, BINARY)])
    us.collectives.settle_all()
    us.collectives.settle_all()
    assert us.bases.digests() == {}
    return us.fallbacks()


def test_a_non_finite_input_in_the_last_step_is_named_at_the_generations_end_once():
    named = [{"code": "CFX_NON_FINITE", "reason": "NaN or Inf in generation 0, step 0", "count": 1}]
    assert run_ranks(2, _non_finite_at_last) == [named, named]


def _near_the_end_of_float16(rank, collective):
    us = RankUnderTest()
    for step in range(12):
        shape = us.blocks(collective, 6, 16)
        # residuals of one sign next to float16's largest value: the coded change overshoots it
        blocks = slowly_varying(rank, 0, "k", shape).sign() * (65000.0 if step % 2 else 30000.0)
        blocks[:, :, 0] = blocks[:, :, 0].sign() * 65504.0
        (received,) = us.exchange(collective, step, [("k", blocks.half(), BINARY)])
        assert all(torch.isfinite(block).all() for block in received)
        us.bases_agree()
    return max(float(block.abs().max()) for block in received)


@both
def test_float16_bases_saturate_instead_of_overflowing(collective):
    assert max(run_ranks(2, _near_the_end_of_float16, collective)) == 65504.0
    base = torch.tensor([65000.0, -65000.0], dtype=torch.float16)
    add_decoded_(base, torch.tensor([5000.0, -5000.0]))
    assert base.tolist() == [65504.0, -65504.0]
