"""The digits of ``codecs.ternary`` in registers, whose docstring names what is packed; in tiles as ``placement.tile_of`` has
them, of both parts of a token.

Codes are those of ``reconstruct``: 1 for 0, and 2 and 3 for the level with either sign. A row of tokens' bytes begins at
``rows``; ``byte`` and ``kept`` are as ``tile_of`` gives them, WHOLES the number U and LAST the bytes of a token's last row.
"""

import triton
import triton.language as tl

from .placement import units_of


@triton.jit
def power(lane, base: tl.constexpr):
    """base^lane for lanes 0 to 7, of a few constants."""
    one = tl.where((lane & 1) == 1, base, 1)
    two = tl.where((lane & 2) == 2, base * base, 1)
    return one * two * tl.where((lane & 4) == 4, base * base * base * base, 1)


@triton.jit
def put(
    rows, codes, tile, tokens, inside, byte, kept, CHANNELS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
    GROUP: tl.constexpr, WHOLES: tl.constexpr, LAST: tl.constexpr,
):  # fmt: skip
    """Write the tile's ``codes`` [ROWS, WIDTH] int32."""
    # a digit less 1, and 3280 more for all eight
    sign = tl.where(inside & (codes > 1), 2 * codes - 5, 0)
    lane = tl.arange(0, 8)[None, None, :]
    eight = tl.sum(tl.reshape(sign, [ROWS, WIDTH // 8, 8]) * power(lane, 3), axis=2) + 3280
    tl.store(rows + byte, (eight & 0xFF).to(tl.uint8), mask=kept)
    lane = tl.arange(0, 4)[None, None, :]
    whole = tl.sum(tl.reshape(eight >> 8, [ROWS, WIDTH // 32, 4]) * power(lane, 26), axis=2)
    place, there = units_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, 2)
    middle = rows + tl.cast(tokens, tl.int64) * ((CHANNELS + 7) // 8)
    tl.store(middle + place, (whole & 0xFF).to(tl.uint8), mask=there)
    tl.store(middle + tokens * WHOLES + place, ((whole >> 8) & 0xFF).to(tl.uint8), mask=there)
    # three bits each of four units of either part are three bytes
    alike: tl.constexpr = 4 if WIDTH >= 128 else WIDTH // 32
    top = tl.reshape(tl.where(there, whole >> 16, 0), [ROWS // 2, 2, WIDTH // 32 // alike, alike])
    top = top << (6 * tl.arange(0, alike))[None, None, None, :]
    word = tl.sum(tl.sum(top, axis=3) << (3 * tl.arange(0, 2))[None, :, None], axis=1)
    token = (tile * (ROWS // 2) + tl.arange(0, ROWS // 2))[:, None]
    last = middle + 2 * tl.cast(tokens, tl.int64) * WHOLES + token.to(tl.int64) * LAST
    for index in tl.static_range(3):
        column = 3 * tl.arange(0, WIDTH // 32 // alike)[None, :] + index
        tl.store(last + column, ((word >> (8 * index)) & 0xFF).to(tl.uint8), mask=(token < tokens) & (column < LAST))


@triton.jit
def take(
    rows, tile, tokens, row, byte, kept, CHANNELS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
    GROUP: tl.constexpr, WHOLES: tl.constexpr, LAST: tl.constexpr,
):  # fmt: skip
    """The tile's codes [ROWS, WIDTH] int32; ``row`` as ``tile_of`` gives it."""
    low = tl.load(rows + byte, mask=kept, other=0).to(tl.int32)
    place, there = units_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, 2)
    middle = rows + tl.cast(tokens, tl.int64) * ((CHANNELS + 7) // 8)
    whole = tl.load(middle + place, mask=there, other=0).to(tl.int32)
    whole |= tl.load(middle + tokens * WHOLES + place, mask=there, other=0).to(tl.int32) << 8
    last = middle + 2 * tl.cast(tokens, tl.int64) * WHOLES + (row // 2).to(tl.int64)[:, None] * LAST
    bit = 6 * tl.arange(0, WIDTH // 32)[None, :] + 3 * (row % 2)[:, None]
    column = bit >> 3
    top = tl.load(last + column, mask=there, other=0).to(tl.int32)
    top |= tl.load(last + column + 1, mask=there & (column + 1 < LAST), other=0).to(tl.int32) << 8
    whole |= ((top >> (bit & 7)) & 7) << 16
    even = tl.join(whole % 26, whole // 676 % 26)
    odd = tl.join(whole // 26 % 26, whole // 17576 % 26)
    eight = low | (tl.reshape(tl.join(even, odd), [ROWS, WIDTH // 8]) << 8)
    # over 3, 9, … 3^8 with 32 bits behind the point, of which the first 16, rounded up, have the digit as their first one
    lane = tl.arange(0, 8)[None, None, :]
    part = tl.where(lane == 0, 1431655766, tl.where(lane == 1, 477218589, tl.where(lane == 2, 159072863, 53024288)))
    rest = tl.where(lane == 4, 17674763, tl.where(lane == 5, 5891588, tl.where(lane == 6, 1963863, 654621)))
    digit = (((eight[:, :, None] * tl.where(lane < 4, part, rest) + 65536) >> 16) & 0xFFFF) * 3 >> 16
    return tl.reshape(tl.where(digit == 1, 1, 2 + (digit >> 1)), [ROWS, WIDTH])
