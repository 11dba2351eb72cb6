"""The paper's codecs once more, from its formulas and from nothing else: NumPy, one block at a time, plainly.

A codec here is a function of one block x [N, C] float32 that gives (values, within), both [N, C]: what a receiver decodes,
and how far from it another right implementation may be, because it rounds or sums in another order. ``HALF`` is the unit of
it: two numbers that agree before they are stored may be stored as neighbouring float16, 2^-10 of their size apart.
"""

import functools

import numpy as np

HALF = 2.0**-10
# below 2^-14 float16 are evenly spaced
_HALF_FLOOR = 2.0**-24
_ROUNDS = 2
_GROUP = 16
# how far from a tie a number of steps of least..largest is told apart: 3 times 15 steps of ``HALF``, rounded up
_NEAR_TIE = 0.05


def scales(x):
    """u [N], v [C] as sent (float16): v = mean of |x| over tokens, u = row mean of |x| / its mean."""
    magnitude = np.abs(x)
    rows = magnitude.mean(axis=1, dtype=np.float32)
    v = magnitude.mean(axis=0, dtype=np.float32)
    mean = rows.mean(dtype=np.float32)
    u = rows / mean if mean > 0 else rows
    return u.astype(np.float16), v.astype(np.float16)


def scale(u, v):
    return np.outer(u.astype(np.float32), v.astype(np.float32))


def binary(x):
    """1 bit: the sign times u·v. Both scales may be a float16 off, and u by what rounding v does to its divisor."""
    s = scale(*scales(x))
    return _sign(x) * s, 3 * HALF * s


def int2(x):
    """2 bits: the sign, levels 0.5 and 2.0 of u·v, split at it. Within a rounding of the split either level is right."""
    s = scale(*scales(x))
    magnitude = np.abs(x)
    level = np.where(magnitude >= s, np.float32(2.0), np.float32(0.5))
    at_the_split = np.abs(magnitude - s) <= 3 * HALF * s
    return _sign(x) * (level * s), 3 * HALF * level * s + np.where(at_the_split, 1.5 * s, 0.0)


def lowrank(x, start):
    """U·V in float16, by subspace iteration from ``start`` [C, r]."""
    u, v = (_half(factor) for factor in _subspace(x, start))
    return u @ v, _product_within(u, v, 3 * HALF * np.abs(u) + _HALF_FLOOR, 3 * HALF * np.abs(v) + _HALF_FLOOR)


def lowrank_int4(x, start):
    """U·V with 4 bits a value, between the least and the largest of each component, which are float16."""
    u, v = _subspace(x, start)
    (u, u_within), (v, v_within) = _four_bits(u.T), _four_bits(v)
    return u.T @ v, _product_within(u.T, v, u_within.T, v_within)


def topk(x):
    """Of every 16 channels the largest in float16, zero elsewhere. Nothing here depends on an order of summation."""
    values = np.zeros_like(x)
    for first in range(0, x.shape[1], _GROUP):
        group = x[:, first : first + _GROUP]
        position = np.abs(group).argmax(axis=1)
        rows = np.arange(len(x))
        values[rows, first + position] = group[rows, position].astype(np.float16)
    return values, np.zeros_like(x)


def codec(name, start):
    """The codec that the shim calls ``name``, or None where the paper has none like it.

    ``start(channels, rank)`` gives the matrix [C, r] that low rank begins with: the paper draws it, here it is the
    shipped codec's own, for another one finds other factors.
    """
    if name in ("binary", "int2", "topk"):
        return {"binary": binary, "int2": int2, "topk": topk}[name]
    family, _, size = name.rpartition("_")
    if family not in ("lowrank", "lowrank_int4"):
        return None
    return functools.partial(_low_rank_of, {"lowrank": lowrank, "lowrank_int4": lowrank_int4}[family], family, size, start)


def _low_rank_of(formula, family, size, start, x):
    return formula(x, start(x.shape[1], _rank(family, size, *x.shape)))


def _rank(family, size, tokens, channels):
    """"r32": 32, and never above a side of the block; "b16": as many as 16 bits per hundred elements hold, 1 at least."""
    most, number = min(tokens, channels), int(size[1:])
    if size[0] == "r":
        return min(most, number)
    nibbles = (tokens + 1) // 2 + (channels + 1) // 2
    a_rank = 8 + nibbles if family == "lowrank_int4" else 2 * (tokens + channels)
    return min(most, max(1, number * tokens * channels // (100 * 8) // a_rank))


def _sign(x):
    return np.where(x >= 0, 1, -1).astype(np.float32)


def _half(x):
    return x.astype(np.float16).astype(np.float64)


def _subspace(x, start):
    """U [N, r] with orthonormal columns and V = Uᵀ·x [r, C], in float64."""
    x, basis = x.astype(np.float64), start.astype(np.float64)
    for _ in range(_ROUNDS):
        u = np.linalg.qr(x @ np.linalg.qr(basis)[0])[0]
        basis = x.T @ u
    return u, basis.T


def _four_bits(factor):
    """Values [r, L] of 16 evenly spaced levels per row of ``factor`` [r, L], and how far others may be."""
    least, largest = (_half(bound) for bound in (factor.min(axis=1, keepdims=True), factor.max(axis=1, keepdims=True)))
    step = (largest - least) / 15
    steps = np.divide(factor - least, step, out=np.zeros_like(factor), where=step > 0)
    near_a_tie = np.abs(steps - np.floor(steps) - 0.5) < _NEAR_TIE
    bounds = 3 * HALF * np.maximum(np.abs(least), np.abs(largest)) + _HALF_FLOOR
    return least + np.clip(np.rint(steps), 0, 15) * step, bounds + np.where(near_a_tie, step, 0.0)


def _product_within(u, v, u_within, v_within):
    """How far a product may be whose factors may be that far."""
    return u_within @ np.abs(v) + np.abs(u) @ v_within + u_within @ v_within
