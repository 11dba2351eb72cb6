"""Which part of which tensor a program of a launch's grid works on.

A grid is (tiles, blocks, sections): up to three tensors of one call (q, k, v), each with a block for every peer.
Integers are cast by ``tl.cast``, because Triton makes an argument that is 1 a constant, which has no methods.
"""

import triton
import triton.language as tl


@triton.jit
def chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2):
    """The section's tensor, its state and the offset of its bytes in a message (int64)."""
    if section == 0:
        x, state, offset = x0, state0, tl.cast(offset0, tl.int64)
    elif section == 1:
        x, state, offset = x1, state1, tl.cast(offset1, tl.int64)
    else:
        x, state, offset = x2, state2, tl.cast(offset2, tl.int64)
    return x, state, offset


@triton.jit
def rank_of(block, own):
    """The rank, int64, of a compact block index that leaves out rank ``own``."""
    return (block + (block >= own).to(tl.int32)).to(tl.int64)


@triton.jit
def tile_of(
    tile,
    tokens,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """A tile of ROWS rows, each one token's group of channels.

    Returns, for rows [ROWS]: their number, whether there is such a token, its group; for elements [ROWS, WIDTH]: the
    channel, the place in [N, C] (int64), and whether it exists; for bytes of a bit plane [ROWS, WIDTH // 8]: the place
    in a plane, and whether it exists.
    """
    row = tile * ROWS + tl.arange(0, ROWS)
    token, group = row // GROUPS, row % GROUPS
    known = token < tokens
    # eight elements a thread whatever their size, or loads of bytes would get a layout of their own
    within = tl.max_contiguous(tl.arange(0, WIDTH), 8)
    channel = (group * GROUP)[:, None] + within[None, :]
    inside = known[:, None] & (within < GROUP)[None, :] & (channel < CHANNELS)
    place = token.to(tl.int64)[:, None] * CHANNELS + channel
    byte = tl.arange(0, WIDTH // 8)
    column = (group * (GROUP // 8))[:, None] + byte[None, :]
    kept = known[:, None] & (byte * 8 < GROUP)[None, :] & (column * 8 < CHANNELS)
    return row, known, group, channel, place, inside, token[:, None] * ((CHANNELS + 7) // 8) + column, kept


@triton.jit
def scales_of(
    tile,
    tokens,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    SPLIT: tl.constexpr = 0,
):
    """``units_of``, the place behind [N, C] codes; with a ``SPLIT``, as in ``states.read_state``, for each 8 channels."""
    if SPLIT > 0:
        row = tile * ROWS + tl.arange(0, ROWS)
        token, within = row // GROUPS, tl.arange(0, WIDTH // 8)[None, :] * 8
        channel = (row % GROUPS * GROUP)[:, None] + within
        kept = (token < tokens)[:, None] & (within < GROUP) & (channel < CHANNELS)
        place = scale_of(token[:, None], channel, tokens, CHANNELS, SPLIT)
    else:
        place, kept = units_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
        place = tl.cast(tokens, tl.int64) * CHANNELS + place
    return place, kept


@triton.jit
def units_of(
    tile,
    tokens,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """For a tile's groups of 32 channels, [ROWS, WIDTH // 32]: the place in [N, groups of a token], and whether it exists.

    They begin anew with the second part of a token, if it has one.
    """
    row = tile * ROWS + tl.arange(0, ROWS)
    token, part = row // GROUPS, row % GROUPS
    within = tl.arange(0, WIDTH // 32) * 32
    kept = (token < tokens)[:, None] & (within < GROUP)[None, :] & ((part * GROUP)[:, None] + within[None, :] < CHANNELS)
    of_part: tl.constexpr = (GROUP + 31) // 32
    of_token: tl.constexpr = of_part + (CHANNELS - GROUP + 31) // 32
    column = (part * of_part)[:, None] + (within // 32)[None, :]
    return token.to(tl.int64)[:, None] * of_token + column, kept


@triton.jit
def scale_of(token, channel, tokens, channels, split):
    """The place behind [N, C] codes of the scale of a token's ``channel``; groups of 32 begin anew with the channel ``split``."""
    of_part = (split + 31) // 32
    of_token = of_part + (channels - split + 31) // 32
    column = tl.where(channel < split, channel // 32, of_part + (channel - split) // 32)
    return tl.cast(tokens, tl.int64) * channels + token.to(tl.int64) * of_token + column


@triton.jit
def stretch_tile(
    tile,
    tokens,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    STRETCHES: tl.constexpr,
    SPLIT: tl.constexpr,
):
    """A tile of ROWS tokens in one stretch of WIDTH channels, of which each of a token's groups has ``STRETCHES``, so that what a
    channel has is found once for all of them; with 0 the tile of ``tile_of``.

    Returns, for rows [ROWS]: their number, their token, whether there is one; the channel and whether it exists, [1, WIDTH] or
    [ROWS, WIDTH]; the rest as ``tile_of``; and what ``scales_of`` does.
    """
    if STRETCHES == 0:
        row, known, _, channel, place, inside, byte, kept = tile_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS)
        token, there = row // GROUPS, inside
        scale_place, scale_kept = scales_of(tile, tokens, CHANNELS, ROWS, WIDTH, GROUP, GROUPS, SPLIT)
    else:
        stretch, token = tile % (GROUPS * STRETCHES), tile // (GROUPS * STRETCHES) * ROWS + tl.arange(0, ROWS)
        part, begin = stretch // STRETCHES, stretch % STRETCHES * WIDTH
        row, known = token * GROUPS + part, token < tokens
        within = begin + tl.max_contiguous(tl.arange(0, WIDTH), 8)
        channel = (part * GROUP + within)[None, :]
        there = (within < GROUP)[None, :] & (channel < CHANNELS)
        inside = known[:, None] & there
        place = token.to(tl.int64)[:, None] * CHANNELS + channel
        within = begin // 8 + tl.arange(0, WIDTH // 8)
        column = part * (GROUP // 8) + within
        kept = known[:, None] & ((within * 8 < GROUP) & (column * 8 < CHANNELS))[None, :]
        byte = token[:, None] * ((CHANNELS + 7) // 8) + column[None, :]
        within = begin + tl.arange(0, WIDTH // 32) * 32
        first = part * GROUP + within
        scale_kept = known[:, None] & ((within < GROUP) & (first < CHANNELS))[None, :]
        scale_place = scale_of(token[:, None], first[None, :], tokens, CHANNELS, GROUP)
    return row, token, known, channel, there, place, inside, byte, kept, scale_place, scale_kept


@triton.jit
def flag(message, message_stride, place, ranks, value: tl.constexpr):
    """Write ``value`` to the flag byte at ``place`` of every rank's message."""
    rank = tl.arange(0, 64)
    for first in range(0, ranks, 64):
        flags = message + (first + rank).to(tl.int64) * message_stride + place
        tl.store(flags, tl.full([64], value, tl.uint8), mask=first + rank < ranks)


@triton.jit
def report(seen, counter, message, message_stride, flags, peers, first):
    """Count this program, and above 32 bits whether it has ``seen`` NaN or Inf; the last program writes the flags.

    Nothing but the count passes between programs, so that it needs no order with other accesses.
    """
    programs = tl.num_programs(0).to(tl.int64) * tl.num_programs(1) * tl.num_programs(2)
    counted = seen.to(tl.int64) * 4294967296 + 1
    counted += tl.atomic_add(counter, counted, sem="relaxed")
    if (counted & 0xFFFFFFFF) == programs:
        tl.store(counter, tl.cast(0, tl.int64))
        if counted > programs:
            flag(message, message_stride, flags, peers, 1)
        elif first == 1:
            flag(message, message_stride, flags, peers, 0)
