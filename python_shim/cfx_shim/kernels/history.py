"""Statistics for the next step, taken in the encode launch itself: the counterpart of ``cfx_shim.statistics``.

With these a program codes one token, those of the sample first, so that what they have to do beside is done while the
others work. The sample's tokens are leaves of a binary tree (as many as the power of two from ``taken`` on), whose sums
are those of ``_sums.over_tokens`` in halves: of two programs that meet at a node the later one adds both parts and goes
on, so every sum has one order and nobody waits.

All programs read the history that the last launch left, so the new one stays in the workspace until the last program
of the block has read it; that one puts it in place. The last program of all writes the messages' flags.

Workspace, 32-bit words, of which the counters are 0 between launches: blocks that are done, whether NaN or Inf was seen,
2 unused; then for each section and block 128 counters (programs that are done, and those that came to a node, by its
number), the new history, and 256 rows of sums by channel, behind them those of two products over channels. Rows and
nodes are numbered from the root, 1, level by level; below h + i, the i-th of h on its level, are 2·h + i and 3·h + i.
"""

import triton
import triton.language as tl

from .arithmetic import beta_code, half_scale, small_float, sum_over_channels, sum_over_channels_signed
from .placement import flag

_MOST = tl.constexpr(128)
_HEAD = tl.constexpr(4)


@triton.jit
def sample_first(tile, taken, stride):
    """The token of program ``tile``; the first ``taken`` get the tokens 0, ``stride``, 2·``stride``, …"""
    return tl.where(tile < taken * stride, tile % taken * stride + tile // taken, tile)


@triton.jit
def part_of(workspace, section, block, blocks, CHANNELS: tl.constexpr, HISTORY: tl.constexpr):
    """(the section's and block's counters, the bytes of its new history, its rows of sums)."""
    words: tl.constexpr = _MOST + HISTORY // 4 + 2 * _MOST * ((CHANNELS + 3) // 4 * 4 + 4)
    counters = workspace + _HEAD + (section * blocks + block).to(tl.int64) * words
    room = (counters + _MOST).to(tl.pointer_type(tl.uint8))
    return counters, room, (counters + _MOST + HISTORY // 4).to(tl.pointer_type(tl.float32))


@triton.jit
def products(
    delta,
    last,
    channel,
    shift,
    GROUPS: tl.constexpr,
    MIDDLE: tl.constexpr,
    SHIFT_EARLY: tl.constexpr,
    SHIFT_LATE: tl.constexpr,
):
    """A token's sums that the block's beta is fitted from, ``predictor.fit_block``'s: of delta · last and last · last, each
    in the halves of ``_log_scales``, which are the rows of a tile, or of the only row what is before and from ``MIDDLE`` on.
    """
    mixed, trends = delta * last, last * last
    if GROUPS == 2:
        return tl.sum(sum_over_channels_signed(mixed, shift), axis=0), tl.sum(sum_over_channels(trends, shift), axis=0)
    early = channel < MIDDLE
    mixed = sum_over_channels_signed(tl.where(early, mixed, 0.0), SHIFT_EARLY) + sum_over_channels_signed(
        tl.where(early, 0.0, mixed), SHIFT_LATE
    )
    trends = sum_over_channels(tl.where(early, trends, 0.0), SHIFT_EARLY) + sum_over_channels(
        tl.where(early, 0.0, trends), SHIFT_LATE
    )
    return tl.sum(mixed, axis=0), tl.sum(trends, axis=0)


@triton.jit
def put_leaf(
    left,
    mixed,
    trends,
    rows,
    lane,
    leaves,
    channel,
    inside,
    CHANNELS: tl.constexpr,
    ORDER: tl.constexpr,
    HALF_SCALES: tl.constexpr,
):
    """Store what the sample's token ``lane`` adds: ``left`` [ROWS, WIDTH], and its sums of products with order 2."""
    behind: tl.constexpr = (CHANNELS + 3) // 4 * 4
    mine = rows + (leaves + lane) * (behind + 4)
    if HALF_SCALES:
        tl.store(mine + channel, tl.abs(left), mask=inside)
    else:
        tl.store(mine + channel, left * left, mask=inside)
    if ORDER == 2:
        tl.store(mine + behind, mixed)
        tl.store(mine + behind + 1, trends)


@triton.jit
def climb(
    counters,
    rows,
    room,
    lane,
    taken,
    leaves,
    channel,
    inside,
    CHANNELS: tl.constexpr,
    ORDER: tl.constexpr,
    HALF_SCALES: tl.constexpr,
    V_BIAS: tl.constexpr,
    MEAN_MAGNITUDE: tl.constexpr,
):
    """From leaf ``lane`` as far up as this program is the later one; from the root the history goes to ``room``."""
    behind: tl.constexpr = (CHANNELS + 3) // 4 * 4
    length: tl.constexpr = behind + 4
    goes_on = lane < taken
    half = tl.cast(leaves, tl.int32) // 2
    while half > 0:
        partner = lane ^ half
        if goes_on:
            # all threads' stores come before the counter's release, and before they are read
            tl.debug_barrier()
            if partner < taken:
                node = counters + half + tl.minimum(lane, partner)
                goes_on = tl.atomic_add(node, 1) == 1
                if goes_on:
                    tl.store(node, 0)
        if goes_on:
            mine, other = rows + (2 * half + lane) * length, rows + (2 * half + partner) * length
            lane = tl.minimum(lane, partner)
            above = rows + (half + lane) * length
            # what nobody wrote is not added
            added = tl.where(partner < taken, tl.load(other + channel, mask=inside, other=0.0), 0.0)
            tl.store(above + channel, tl.load(mine + channel, mask=inside, other=0.0) + added, mask=inside)
            if ORDER == 2:
                for product in tl.static_range(2):
                    place = behind + product
                    tl.store(above + place, tl.load(mine + place) + tl.where(partner < taken, tl.load(other + place), 0.0))
        half //= 2
    if goes_on:
        tl.debug_barrier()
        root = rows + length
        sums = tl.load(root + channel, mask=inside, other=0.0)
        means = tl.div_rn(sums, tl.full(sums.shape, 1.0, tl.float32) * tl.cast(taken, tl.float32))
        if HALF_SCALES:
            tl.store(room.to(tl.pointer_type(tl.float16)) + channel, half_scale(means), mask=inside)
        else:
            codes = small_float(tl.sqrt_rn(means) * MEAN_MAGNITUDE, V_BIAS)
            tl.store(room + channel, codes.to(tl.uint8), mask=inside)
        beta = tl.cast(0, tl.int32)
        if ORDER == 2:
            beta = beta_code(tl.load(root + behind), tl.load(root + behind + 1))
        tl.store(room + (2 if HALF_SCALES else 1) * CHANNELS, beta.to(tl.uint8))


@triton.jit
def finish(
    seen,
    workspace,
    counters,
    room,
    history,
    message,
    message_stride,
    flags,
    peers,
    first,
    HISTORY: tl.constexpr,
    HISTORY_WIDTH: tl.constexpr,
):
    """Say that this program is done and whether it has ``seen`` NaN or Inf; see above for what the last ones do."""
    if seen == 1:
        tl.atomic_max(workspace + 1, 1)
    # the counter's release covers what all threads have read and stored
    tl.debug_barrier()
    if tl.atomic_add(counters, 1) == tl.num_programs(0) - 1:
        tl.store(counters, 0)
        byte = tl.arange(0, HISTORY_WIDTH)
        tl.store(history + byte, tl.load(room + byte, mask=byte < HISTORY, other=0), mask=byte < HISTORY)
        tl.debug_barrier()
        if tl.atomic_add(workspace, 1) == tl.num_programs(1) * tl.num_programs(2) - 1:
            tl.store(workspace, 0)
            if tl.atomic_xchg(workspace + 1, 0) == 1:
                flag(message, message_stride, flags, peers, 1)
            elif first == 1:
                flag(message, message_stride, flags, peers, 0)
