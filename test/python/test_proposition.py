"""Proposition 3.1 of CompactFusion as a property: residual with feedback beats naive coding where little changes.

Let D(E(·)) be a contraction, ‖r − D(E(r))‖ ≤ ρ‖r‖ with ρ = √(1−α) < 1, and ‖x_t − x_{t−1}‖ ≤ δ‖x‖. The sender codes
r_t = x_t − b_{t−1}, both ends move to b_t = b_{t−1} + D(E(r_t)). With the error e_t = x_t − b_t,

    ‖e_t‖ = ‖r_t − D(E(r_t))‖ ≤ ρ‖r_t‖ = ρ‖(x_t − x_{t−1}) + e_{t−1}‖ ≤ ρ(δ‖x‖ + ‖e_{t−1}‖)

and e_0 = 0, for the first step is sent whole. Summing the geometric series: ‖e_t‖ ≤ ρ/(1−ρ) · δ‖x‖ at every t. Since
1−ρ ≥ α/2, that is ‖e‖² ≤ 4(1−α)/α² · δ²‖x‖², against up to (1−α)‖x‖² for coding x_t itself: the error grows with δ,
and lies below naive coding as long as δ < 1−ρ.

ρ of a codec depends on its input, so the test takes the largest ρ that its own residuals show: then the bound must hold
without exception, and a loop that forgets an error, or feeds back the wrong one, breaks it.
"""

import pytest
import torch
from exchanges import RankUnderTest
from ranks import run_ranks

from cfx_shim.plan import Treatment

STEPS = 40
DELTAS = (0.02, 0.05, 0.1, 0.2)
SEEDS = range(4)
CODECS = ("binary", "int2")
SHAPE = (1, 24, 32)


def random_walk(seed, delta):
    """Tensors of one norm, each ``delta`` of it away from the one before, in a fresh direction."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SHAPE, generator=generator)
    norm = x.norm()
    walk = [x]
    for _ in range(STEPS - 1):
        step = torch.randn(SHAPE, generator=generator)
        x = x + delta * norm * step / step.norm()
        x = x * (norm / x.norm())
        walk.append(x)
    return walk


def _errors(rank, codec, delta, treatment, seed):
    """‖x_t − what the other rank's receiver uses‖ / ‖x‖ at each step; each rank walks with a seed of its own."""
    us = RankUnderTest()
    walks = [random_walk(100 * seed + source, delta) for source in range(2)]
    errors, received = [], []
    for step in range(STEPS):
        (blocks,) = us.exchange("all_gather", step, [("k", walks[rank][step], treatment)])
        theirs = walks[1 - rank][step][0]
        received.append(blocks[1 - rank].clone())
        errors.append(float((theirs - received[-1]).norm() / theirs.norm()))
    theirs = [x[0] for x in walks[1 - rank]]
    rho = max(
        float((theirs[t] - received[t]).norm() / (theirs[t] - received[t - 1]).norm()) for t in range(1, STEPS)
    )
    changes = [float((theirs[t] - theirs[t - 1]).norm() / theirs[t].norm()) for t in range(1, STEPS)]
    return {"errors": errors, "rho": rho, "delta": max(changes)}


def _all_runs(rank):
    schemes = {"loop": (True, True), "open": (True, False), "naive": (False, True)}
    return {
        f"{codec} {scheme} {delta} {seed}": _errors(rank, codec, delta, Treatment(codec, *kind), seed)
        for codec in CODECS
        for scheme, kind in schemes.items()
        for delta in DELTAS
        for seed in SEEDS
    }


@pytest.fixture(scope="module")
def by_rank():
    return run_ranks(2, _all_runs, timeout=300)


def mean(values):
    return sum(values) / len(values)


def test_the_error_of_residual_and_feedback_keeps_the_bound_lies_below_naive_and_grows_with_delta(by_rank):
    for runs in by_rank:
        for codec in CODECS:
            settled = []
            for delta in DELTAS:
                for seed in SEEDS:
                    loop, naive = runs[f"{codec} loop {delta} {seed}"], runs[f"{codec} naive {delta} {seed}"]
                    rho = loop["rho"]
                    assert rho < 1
                    bound = rho / (1 - rho) * loop["delta"]
                    # the share is float32's: errors are differences of numbers a thousand times their size
                    assert max(loop["errors"]) <= bound * (1 + 1e-5)
                    assert loop["errors"][0] == 0
                    if delta <= 0.1:
                        assert mean(loop["errors"][10:]) < mean(naive["errors"][10:])
                settled.append(mean([mean(runs[f"{codec} loop {delta} {seed}"]["errors"][10:]) for seed in SEEDS]))
            assert settled == sorted(settled)
            # proportional to δ, as the bound is, within a factor of two over a factor of ten
            assert 0.5 < (settled[-1] / settled[0]) / (DELTAS[-1] / DELTAS[0]) < 2


def test_without_feedback_the_error_drifts_and_with_it_it_does_not(by_rank):
    def late_over_early(runs, scheme, codec):
        found = [runs[f"{codec} {scheme} 0.05 {seed}"]["errors"] for seed in SEEDS]
        return mean([mean(errors[-8:]) / mean(errors[8:16]) for errors in found])

    for runs in by_rank:
        for codec in CODECS:
            assert late_over_early(runs, "open", codec) > 1.3
            assert late_over_early(runs, "loop", codec) < 1.15
