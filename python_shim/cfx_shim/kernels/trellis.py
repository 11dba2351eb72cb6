"""Levels of ``codecs._trellis``, whose docstring names what is used here, of an element whose path is known."""

import triton
import triton.language as tl

from . import bit_planes

_PATH = tl.constexpr(256)


@triton.jit
def subsets(trellis, before, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Of elements [ROWS, WIDTH], from bytes of the trellis plane and those before them, as in ``signs_and_indices``."""
    both = (trellis << 8) | before
    # in planes: t xor t' xor t''', and t''
    words = ((both >> 8) ^ (both >> 7) ^ (both >> 5)) & 0xFF
    code = bit_planes.unpack(words | (((both >> 6) & 0xFF) << 8), ROWS, WIDTH)
    return ((code & 1) << 1) | (code >> 1)


@triton.jit
def nearest(x, scale, subset, LEVELS: tl.constexpr):
    """Of the levels of ``subset`` the index of the nearest to ``x``, among the same the lower."""
    x = bounded(x, scale)
    index = tl.zeros(x.shape, tl.int32)
    for k in tl.static_range(len(LEVELS) // 4):
        low = tl.where((subset & 1) == 1, LEVELS[4 * k + 1], LEVELS[4 * k])
        high = tl.where((subset & 1) == 1, LEVELS[4 * k + 3], LEVELS[4 * k + 2])
        error = x - scale * tl.where(subset >= 2, high, low)
        error = error * error
        if k == 0:
            least = error
        else:
            index = tl.where(error < least, k, index)
            least = tl.where(error < least, error, least)
    return index


@triton.jit
def bounded(x, scale):
    """What an encoder takes for ``x``."""
    bound = scale * 64.0
    return tl.where(x > bound, bound, tl.where(x < -bound, -bound, x))


@triton.jit
def bytes_before(plane, byte, kept, CHANNELS: tl.constexpr):
    """Of the trellis plane, whose bytes of a tile are at ``plane`` (pointers): the byte before each, 0 at a path's beginning."""
    begins = byte % ((CHANNELS + 7) // 8) % (_PATH // 8) == 0
    return tl.load(plane - 1, mask=kept & ~begins, other=0).to(tl.int32)


@triton.jit
def signs_and_indices(words, before, BITS: tl.constexpr):
    """Bytes of planes as ``reconstruct`` takes them, one plane more, from the payload's ``words``; one bit plane a byte.

    ``before``: of the trellis plane the byte before, 0 at a path's beginning.
    """
    trellis = words & 0xFF
    both = (trellis << 8) | before
    one, two, three = both >> 7, both >> 6, both >> 5
    # the level's index, lowest bit first: t'', t xor t' xor t''', and the payload's other planes
    level = (two & 0xFF) | (((trellis ^ one ^ three) & 0xFF) << 8)
    if BITS > 1:
        level |= (words >> 8) << 16
    top = (level >> (8 * BITS)) & 0xFF
    # a level below 0 counts downwards
    index = top
    for bit in tl.static_range(BITS):
        index |= (~((level >> (8 * bit)) ^ top) & 0xFF) << (8 * bit + 8)
    return index
