"""Payloads of the paper's codecs as we lay them out, for the values that ``cfx_bench.paper`` has from the formulas alone."""

import numpy as np

from cfx_bench import paper


def bit_rows(flags):
    """Eight channels to a byte, the lowest bit first, rows filled up with zeros."""
    out = bytearray()
    for row in flags:
        for start in range(0, len(row), 8):
            out.append(sum(1 << i for i, flag in enumerate(row[start : start + 8]) if flag))
    return bytes(out)


def binary(x):
    """(payload, decoded) of the 1-bit codec."""
    u, v = paper.scales(x)
    return u.tobytes() + v.tobytes() + bit_rows(x >= 0), paper.binary(x)[0]


def int2(x):
    """(payload, decoded) of the 2-bit codec."""
    u, v = paper.scales(x)
    high = np.abs(x) >= paper.scale(u, v)
    return u.tobytes() + v.tobytes() + bit_rows(x >= 0) + bit_rows(high), paper.int2(x)[0]


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
