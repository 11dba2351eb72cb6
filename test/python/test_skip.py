"""``skip``: nothing is sent but the flags, and the base stays or follows its prediction."""

import pytest
import torch
from exchanges import COLLECTIVES, RankUnderTest, message_bytes, slowly_varying
from ranks import run_ranks

from cfx_shim.plan import Treatment

both = pytest.mark.parametrize("collective", COLLECTIVES)


def _errors(rank, collective, order):
    us = RankUnderTest()
    shape = us.blocks(collective, 12, 16)
    errors, used = [], []
    for step in range(9):
        # two steps of a fine codec and one of nothing, after the keyframe
        treatment = Treatment("skip" if step % 3 == 2 else "lm4", order, True)
        (blocks,) = us.exchange(collective, step, [("k", slowly_varying(rank, step, "k", shape), treatment)])
        exact = us.sent_to_us(collective, lambda source: slowly_varying(source, step, "k", shape))[1 - rank]
        errors.append(float((blocks[1 - rank] - exact).norm() / exact.norm()))
        used.append(blocks[1 - rank].clone())
        us.bases_agree()
    wire = us.sites()["k", "skip"]["wireBytes"]
    assert wire == 3 * message_bytes(0 if order == 1 else 16)
    return errors, [torch.equal(used[step], used[step - 1]) for step in (2, 5, 8)]


@both
def test_a_base_that_is_skipped_stays(collective):
    for errors, stays in run_ranks(2, _errors, collective, 1):
        assert stays == [True, True, True]
        # what was left out is caught up by the next send
        assert errors[8] > 3 * errors[7] and errors[6] < errors[5]


@both
def test_with_a_prediction_it_moves_on(collective):
    plain, predicted = run_ranks(2, _errors, collective, 1), run_ranks(2, _errors, collective, 2)
    for (stayed, _), (moved, stays) in zip(plain, predicted):
        assert stays == [False, False, False]
        assert moved[8] < 0.5 * stayed[8]
