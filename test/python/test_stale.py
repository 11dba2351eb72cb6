"""``stale``: what each step uses is what the step before sent; the wire carries the whole tensor at every step."""

import pytest
import torch
from exchanges import BINARY, COLLECTIVES, RankUnderTest, message_bytes, slowly_varying
from ranks import run_ranks

from cfx_shim.plan import Treatment

STALE = Treatment("stale", 0, True)
both = pytest.mark.parametrize("collective", COLLECTIVES)
two_and_three = pytest.mark.parametrize("world", [2, 3])


def sent(us, collective, step, role, dtype=torch.float32):
    """(what we put in, per source the exact block meant for us)"""
    shape = us.blocks(collective, 5, 6)
    return (
        slowly_varying(us.rank, step, role, shape, dtype),
        us.sent_to_us(collective, lambda source: slowly_varying(source, step, role, shape, dtype)),
    )


def _one_step_late(rank, collective, warmup):
    us = RankUnderTest(warmup_steps=warmup)
    for dtype in (torch.float32, torch.bfloat16):
        us.bases.drop_all()
        for step in range(6):
            sections = [(role, sent(us, collective, step, role, dtype)[0], STALE) for role in "qkv"]
            received = us.exchange(collective, step, sections)
            for role, blocks in zip("qkv", received):
                late = step if step < warmup else step - 1
                expected = sent(us, collective, late, role, dtype)[1]
                expected[rank] = sent(us, collective, step, role, dtype)[1][rank]
                for block, exact in zip(blocks, expected):
                    assert block.dtype == dtype and torch.equal(block, exact), (role, step)
            assert us.bases_agree() > 0
    counters = us.sites()["k", "stale"]
    assert (counters["calls"], counters["keyframes"], counters["compressed"]) == (12, 2 * warmup, 12 - 2 * warmup)
    blocks = [5 * 6 * item for item in (4, 2)]
    wire = sum(us.sites()[role, "stale"]["wireBytes"] for role in "qkv")
    assert wire == (us.size - 1) * sum(6 * message_bytes(block, block, block) for block in blocks)
    assert counters["rawBytes"] == (us.size - 1) * 6 * sum(blocks)


@both
@two_and_three
@pytest.mark.parametrize("warmup", [1, 3])
def test_a_step_uses_what_the_step_before_sent_its_own_block_is_exact_and_so_are_the_first_steps(world, collective, warmup):
    run_ranks(world, _one_step_late, collective, warmup)


def _beside_others(rank, collective):
    us = RankUnderTest()
    used = {}
    for step in range(5):
        sections = [("q", sent(us, collective, step, "q")[0], BINARY), ("v", sent(us, collective, step, "v")[0], STALE)]
        used[step] = us.exchange(collective, step, sections)[1][1 - rank].clone()
        # the next call of the group overwrites its buffers; what this step uses must not be in them
    return all(torch.equal(used[step], sent(us, collective, max(0, step - 1), "v")[1][1 - rank]) for step in range(5))


@both
def test_it_rides_in_one_message_with_other_codecs(collective):
    assert run_ranks(2, _beside_others, collective) == [True, True]


def _then_binary(rank, collective):
    us = RankUnderTest()
    for step in range(6):
        treatment = STALE if step < 3 else BINARY
        (blocks,) = us.exchange(collective, step, [("k", sent(us, collective, step, "k")[0], treatment)])
        us.bases_agree()
    exact = sent(us, collective, 5, "k")[1][1 - rank]
    assert (blocks[1 - rank] - exact).norm() < 0.2 * exact.norm()
    return us.sites()["k", "binary"]["keyframes"]


@both
def test_its_base_serves_a_residual_codec_that_follows(collective):
    assert run_ranks(2, _then_binary, collective) == [0, 0]


def _non_finite(rank, collective):
    us = RankUnderTest()
    keyframes = []
    for step in range(5):
        blocks = sent(us, collective, step, "k")[0]
        if rank == 0 and step == 2:
            blocks[..., 0, 0] = float("nan")
        (received,) = us.exchange(collective, step, [("k", blocks, STALE)])
        keyframes.append(us.sites()["k", "stale"]["keyframes"])
        if rank == 1:
            assert torch.isfinite(received[0]).all()
    return keyframes


@both
def test_what_is_not_finite_is_never_used_by_a_peer_for_the_next_step_sends_keyframes(collective):
    assert run_ranks(2, _non_finite, collective) == [[1, 1, 1, 2, 2]] * 2
