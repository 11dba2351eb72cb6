"""CompactFusion's formulas once more, in NumPy and one block at a time, written without looking at the shim's code."""

import numpy as np


def scales(x):
    """u [N], v [C] as sent (float16): v = mean of |x| over tokens, u = row mean of |x| / its mean."""
    magnitude = np.abs(x)
    rows = magnitude.mean(axis=1, dtype=np.float32)
    v = magnitude.mean(axis=0, dtype=np.float32)
    u = rows / rows.mean(dtype=np.float32)
    return u.astype(np.float16), v.astype(np.float16)


def scale(u, v):
    return np.outer(u.astype(np.float32), v.astype(np.float32))


def bit_rows(flags):
    """Eight channels to a byte, the lowest bit first, rows filled up with zeros."""
    out = bytearray()
    for row in flags:
        for start in range(0, len(row), 8):
            out.append(sum(1 << i for i, flag in enumerate(row[start : start + 8]) if flag))
    return bytes(out)


def binary(x):
    """(payload, decoded) of the 1-bit codec."""
    u, v = scales(x)
    payload = u.tobytes() + v.tobytes() + bit_rows(x >= 0)
    return payload, np.where(x >= 0, 1, -1).astype(np.float32) * scale(u, v)


def int2(x):
    """(payload, decoded) of the 2-bit codec: levels 0.5 and 2.0 of the scale, split at the scale."""
    u, v = scales(x)
    s = scale(u, v)
    high = np.abs(x) >= s
    payload = u.tobytes() + v.tobytes() + bit_rows(x >= 0) + bit_rows(high)
    level = np.where(high, np.float32(2.0), np.float32(0.5))
    return payload, np.where(x >= 0, 1, -1).astype(np.float32) * (level * s)


def exact_blocks():
    """Blocks whose sums are exact in float32 in any order: small integers, N and C powers of two."""
    random = np.random.default_rng(0)
    for tokens, channels in ((8, 16), (4, 2), (1, 8), (16, 4), (2, 32), (64, 64)):
        yield random.integers(-8, 9, (tokens, channels)).astype(np.float32)


def odd_blocks():
    """Any floats, any shape: here float32 sums depend on their order, by a unit of float16 at most."""
    random = np.random.default_rng(1)
    for tokens, channels in ((5, 3), (33, 130), (7, 10), (2, 6)):
        yield random.standard_normal((tokens, channels)).astype(np.float32) * 3
