"""How low rank's kernels lay out their scratch, which ``launch`` makes; without numba, which a rank need not have.

A matrix is kept in panels: 16 of its columns, rows one after the other, each a vector. A factor has as many rows as there
are components, up to whole tiles, whose rest is 0; so a factor's panel holds 16 tokens, or channels.
"""

import functools

import numpy as np

from ..codecs import _low_rank

_LANES, _TILE_ROWS = 16, 8


def padded(rank):
    """Components in whole tiles."""
    return (rank + 7) // 8 * 8


def side_bytes(panels, components, width):
    """Of all that is kept of one factor of so many panels: target, levels, whole numbers; classes; a Gram matrix."""
    return panels * 64 * (3 * components + 1) + 4 * components * width


def encode_bytes(tokens, channels, rank):
    """The block, as it is and turned; both factors; values, what is reached, two square matrices, two rows; and rows of x, its
    base, its trend and beta."""
    of_u, of_v = -(-tokens // _LANES), -(-channels // _LANES)
    components, width = padded(rank), -(-rank // _LANES) * _LANES
    panels = 2 * 64 * _LANES * of_u * of_v
    sides = side_bytes(of_u, components, width) + side_bytes(of_v, components, width)
    both = 2 * 64 * components * max(of_u, of_v) + 2 * 4 * components * width + 2 * 4 * width
    return max(panels + sides + both + 64 + 4 * 64 * of_v + 64, decode_bytes(channels, rank))


def decode_bytes(channels, rank):
    """Bounds of components; V; of 16 tokens U and the sums; rows of the base, its trend and beta."""
    of_v, components, width = -(-channels // _LANES), padded(rank), -(-rank // _LANES) * _LANES
    return 64 + 16 * width + 64 * of_v * components + 64 * width + 64 * of_v * _LANES + 3 * 64 * of_v + 64


@functools.cache
def start(channels, rank):
    """``_low_rank.start``, float32, a row a component, zeros up to whole tiles and whole vectors."""
    rows = np.zeros((padded(rank), -(-channels // _LANES) * _LANES), dtype=np.float32)
    rows[:rank, :channels] = _low_rank.start(channels, rank, "cpu").numpy().T
    return rows
