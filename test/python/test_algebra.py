"""The algebra of residual and feedback against models of a few lines, written independently of the shim.

One site, 20 steps, two real ranks. Bit for bit: on blocks of 2 tokens by 2 channels every mean is one addition and a
halving, so no order of summation can show. Larger blocks take their three means from torch, whose order is the one
that the codecs' docstring fixes; all else is NumPy, and equality is again bit for bit.
"""

import numpy as np
import pytest
import torch
from exchanges import COLLECTIVES, RankUnderTest, slowly_varying
from ranks import run_ranks

from cfx_shim.plan import Treatment

STEPS = 20


def numpy_mean(x, axis):
    return x.mean(axis=axis, dtype=np.float32)


def torch_mean(x, axis):
    # with the leading axis that a block has in a message: the layout decides about torch's order of summation
    return torch.from_numpy(x[None]).mean(dim=axis + 1)[0].numpy()


def quantise(r, levels, mean):
    v, rows = mean(np.abs(r), 0), mean(np.abs(r), 1)
    u = np.where(rows.any(), rows / mean(rows, 0), 0).astype(np.float16).astype(np.float32)
    s = u[:, None] * v.astype(np.float16).astype(np.float32)[None]
    low, high = levels
    return np.where(r >= 0, 1, -1).astype(np.float32) * np.where(np.abs(r) >= s, high * s, low * s)


def model(xs, levels, mean, feedback=True):
    """What a receiver uses at each step: the first is sent whole, then b moves by the coded residual."""
    own = b = xs[0]
    used = [b]
    for x in xs[1:]:
        d = quantise(x - own, levels, mean)
        b = b + d
        own = b if feedback else x
        used.append(b)
    return used


def _receive(rank, collective, shape, codec, feedback):
    us = RankUnderTest()
    used = []
    for step in range(STEPS):
        blocks = slowly_varying(rank, step, "k", us.blocks(collective, *shape))
        (received,) = us.exchange(collective, step, [("k", blocks, Treatment(codec, 1, feedback))])
        used.append(received[1 - rank].flatten().tolist())
    return used


LEVELS = {"binary": (np.float32(1), np.float32(1)), "int2": (np.float32(0.5), np.float32(2))}


@pytest.mark.parametrize("feedback", [True, False], ids=["feedback", "no feedback"])
@pytest.mark.parametrize("codec", LEVELS)
@pytest.mark.parametrize("collective", COLLECTIVES)
@pytest.mark.parametrize("shape, mean", [((2, 2), numpy_mean), ((48, 40), torch_mean)], ids=["2x2", "48x40"])
def test_twenty_steps_equal_a_numpy_model_bit_for_bit(collective, codec, feedback, shape, mean):
    answers = run_ranks(2, _receive, collective, shape, codec, feedback)
    for rank, used in enumerate(answers):
        chunks = 2 if collective == "all_to_all" else 1
        xs = [
            slowly_varying(1 - rank, step, "k", (chunks, *shape))[rank if chunks == 2 else 0].numpy()
            for step in range(STEPS)
        ]
        expected = model(xs, LEVELS[codec], mean, feedback)
        assert len(used) == STEPS
        for step in range(STEPS):
            found = np.array(used[step], dtype=np.float32).reshape(shape)
            assert found.tobytes() == expected[step].tobytes(), f"rank {rank}, step {step}"
