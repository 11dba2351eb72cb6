"""How ``lowrank_fit`` finds its factors: least-squares solutions for one factor and then the other, each rounded to what is stored.

By the sender alone, so sums may be taken in any order. In each round, for U and after it for V, come classes that fit the
levels there are, and levels: the least-squares solution for the other factor as it is stored, rounded all at once; then the
weights that are best for both. Levels of the last round are revised one component after the other, so that what rounding
loses in one is taken up by those after it; that matters most for a block of low rank.

Kernels have their own.
"""

import functools
from typing import NamedTuple

import torch

from . import _low_rank

CLASSES = (5.0, 7.0, 10.0, 14.0)
EDGES = tuple((low * high) ** 0.5 for low, high in zip(CLASSES, CLASSES[1:]))
# before anything is known
FIRST_CLASS = 1
# half the step of the best four evenly spaced levels for a Gaussian of variance 1 (Max 1960)
LEVEL_UNIT = 0.498
# after the first
ROUNDS = 9
# of the mean of a Gram matrix's diagonal, added to it before it is factored: for a fit, and only to make it possible
RIDGE = 1e-4


class Factor(NamedTuple):
    """A factor f [B, L, r] as it is stored, ``classes`` [B, L] and ``levels`` [B, L, r] of -3, -1, 1 and 3; as numbers, ``whole``
    [B, L, r]; fᵀ·f, ``gram`` [B, r, r]; and what it was found from, x times the other one, ``target`` [B, L, r].
    """

    classes: torch.Tensor
    levels: torch.Tensor
    whole: torch.Tensor
    gram: torch.Tensor
    target: torch.Tensor


def fit(x, rank: int):
    """``x`` [B, N, C] float32, of magnitudes about 1 -> weights [B, r] of either sign, U and V."""
    weights, v = x.new_ones(x.shape[0], rank), _begin(x, rank)
    levels = None
    for turn in range(ROUNDS + 1):
        u = _nearer(levels, x @ v.whole, v.gram, weights, turn == ROUNDS)
        v = _nearer(v.levels, x.mT @ u.whole, u.gram, weights, turn == ROUNDS)
        weights, levels = _weights(u, v), u.levels
    return weights, u, v


def _begin(x, rank):
    """V that the search begins with: a Gaussian [C, r], whose columns are nearly orthogonal."""
    start, unit = _low_rank.start(x.shape[2], rank, x.device), torch.eye(rank, device=x.device)
    return Factor(None, None, start, unit.expand(x.shape[0], -1, -1), None)


def _weights(u, v):
    """[B, r]: those of the columns of U and V with the least ‖x - U·w·Vᵀ‖; 0 where there is no least. V was found for U."""
    target = (v.target * v.whole).sum(dim=1, keepdim=True)
    return _solved(u.gram * v.gram, target).squeeze(1).nan_to_num_(0.0, 0.0, 0.0)


@functools.cache
def _classes(device):
    """``CLASSES`` and ``EDGES``."""
    return torch.tensor(CLASSES, device=device), torch.tensor(EDGES, device=device)


def _nearer(levels, target, gram, weights, revises):
    """A factor brought nearer to x as the product with another one, o, times ``weights`` [B, r], of which ``gram`` [B, r, r] is oᵀ·o.

    ``levels`` [B, L, r] are those before, or None; ``target`` [B, L, r] is x·o.
    """
    sizes, edges = _classes(target.device)
    weighted = target * weights.unsqueeze(1)
    gram = gram * weights.unsqueeze(1) * weights.unsqueeze(2)
    values = _solved(gram, weighted)
    if levels is None:
        classes = torch.full(values.shape[:2], FIRST_CLASS, device=values.device)
        unit = values.square().mean(dim=2, keepdim=True).sqrt_().mul_(LEVEL_UNIT)
    else:
        reach = torch.linalg.vecdot(levels @ gram, levels)
        # NaN is the last class
        classes = torch.bucketize(torch.linalg.vecdot(weighted, levels).div_(reach), edges)
        unit = sizes[classes].unsqueeze(2)
    levels, size = _nearest(values.div_(unit * 2.0)), sizes[classes].unsqueeze(2)
    if revises:
        _revise(levels, size, weighted, gram)
    whole = levels * size
    return Factor(classes, levels, whole, whole.mT @ whole, target)


def _revise(levels, size, target, gram):
    """Change ``levels``, component after component, to the best ones for all others as they are."""
    # in steps of two levels
    missed = (target - (levels * size) @ gram).div_(size * 2.0)
    for component in range(levels.shape[2]):
        level, row = levels[:, :, component, None], gram[:, component, None]
        best = _nearest((missed[:, :, component, None] / row[:, :, component, None]).add_(level, alpha=0.5))
        missed.addcmul_(best - level, row, value=-0.5)
        level.copy_(best)


def _nearest(steps):
    """Of numbers in steps of two the nearest of -3, -1, 1 and 3, overwriting them; 1 for NaN."""
    return steps.floor_().nan_to_num_(0.0).clamp_(-2.0, 1.0).mul_(2.0).add_(1.0)


def _solved(gram, target):
    """What times ``gram`` [B, r, r] is ``target`` [B, L, r]; anything where the Gram matrix is singular."""
    gram = gram.clone()
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal.add_(diagonal.mean(dim=1, keepdim=True) * RIDGE)
    return torch.cholesky_solve(target.mT, torch.linalg.cholesky_ex(gram)[0]).mT
