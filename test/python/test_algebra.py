"""The algebra of residual and feedback against models of a few lines, written independently of the shim.

One site, 20 steps, two real ranks, bit for bit: the codecs' docstrings fix every sum.
"""

import math

import numpy as np
import pytest
from exchanges import COLLECTIVES, RankUnderTest, slowly_varying
from ranks import run_ranks

from cfx_shim.plan import Treatment

STEPS = 20


def half(x):
    return x.astype(np.float16).astype(np.float32)


def over_tokens(x):
    """Fewer than 64 tokens have a lane each: folded in halves."""
    lanes = np.vstack([x, np.zeros((64 - len(x), x.shape[1]), np.float32)])
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return lanes[0]


def over_channels(x):
    """Each number rounded to a grid, to the nearest even: then sums are exact, in float64 too."""
    _, exponent = np.frexp(x.max(axis=-1, keepdims=True))
    grid = 2.0 ** (exponent.astype(np.float64) + max(2, math.ceil(math.log2(x.shape[-1]))) - 24)
    return (np.rint(x / grid) * grid).sum(axis=-1).astype(np.float32)


def quantise(r, levels):
    v = half(over_tokens(np.abs(r)) / np.float32(len(r)))
    rows, columns = over_channels(np.abs(r)), over_channels(v)
    u = half(rows / columns) if columns else np.zeros_like(rows)
    s = u[:, None] * v[None]
    low, high = levels
    return np.where(r >= 0, 1, -1).astype(np.float32) * np.where(np.abs(r) >= s, high * s, low * s)


def model(xs, levels, feedback=True):
    """What a receiver uses at each step: the first is sent whole, then b moves by the coded residual."""
    own = b = xs[0]
    used = [b]
    for x in xs[1:]:
        d = quantise(x - own, levels)
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
@pytest.mark.parametrize("shape", [(2, 2), (48, 40)], ids=["2x2", "48x40"])
def test_twenty_steps_equal_a_numpy_model_bit_for_bit(collective, codec, feedback, shape):
    answers = run_ranks(2, _receive, collective, shape, codec, feedback)
    for rank, used in enumerate(answers):
        chunks = 2 if collective == "all_to_all" else 1
        xs = [
            slowly_varying(1 - rank, step, "k", (chunks, *shape))[rank if chunks == 2 else 0].numpy()
            for step in range(STEPS)
        ]
        expected = model(xs, LEVELS[codec], feedback)
        assert len(used) == STEPS
        for step in range(STEPS):
            found = np.array(used[step], dtype=np.float32).reshape(shape)
            assert found.tobytes() == expected[step].tobytes(), f"rank {rank}, step {step}"
