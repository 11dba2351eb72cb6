"""Statistics for the next step, taken in the encode launch itself: the counterpart of ``cfx_shim.statistics``.

With these a program codes one token, those of the sample first, so that what they have to do beside is done while the
others work. A sample's token is a leaf of a binary tree, whose sums are ``_sums.over_tokens``' in halves: of two
programs that meet at a node the later one adds both parts and goes on, so every sum has one order and nobody waits.

All programs read the history that the last launch left, so the new one stays in the workspace until the last program
of the block has read it; that one puts it in place. The last program of all writes the messages' flags.

Workspace, 32-bit words, of which the counters are 0 between launches: blocks that are done, whether NaN or Inf was seen,
2 unused; then for each section and block 128 counters (programs that are done, and those that came to a node, by its
number), the new history, and 256 rows of sums by channel with behind them those of two products over channels.
"""

import triton
import triton.language as tl

from .arithmetic import beta_code, half_scale, small_float
from .placement import flag

_LEAVES = tl.constexpr(128)
_HEAD = tl.constexpr(4)


@triton.jit
def sample_first(tile, taken, stride):
    """The token of program ``tile``; the first ``taken`` get the tokens 0, ``stride``, 2·``stride``, …"""
    return tl.where(tile < taken * stride, tile % taken * stride + tile // taken, tile)


@triton.jit
def part_of(workspace, section, block, blocks, CHANNELS: tl.constexpr, HISTORY: tl.constexpr):
    """(the section's and block's counters, the bytes of its new history, its rows of sums)."""
    words: tl.constexpr = _LEAVES + HISTORY // 4 + 2 * _LEAVES * ((CHANNELS + 3) // 4 * 4 + 4)
    counters = workspace + _HEAD + (section * blocks + block).to(tl.int64) * words
    room = (counters + _LEAVES).to(tl.pointer_type(tl.uint8))
    return counters, room, (counters + _LEAVES + HISTORY // 4).to(tl.pointer_type(tl.float32))


@triton.jit
def keep(
    left,
    mixed,
    trends,
    counters,
    rows,
    room,
    lane,
    taken,
    channel,
    inside,
    CHANNELS: tl.constexpr,
    ORDER: tl.constexpr,
    HALF_SCALES: tl.constexpr,
    V_BIAS: tl.constexpr,
    MEAN_MAGNITUDE: tl.constexpr,
):
    """Add a token's ``left`` [ROWS, WIDTH] and its sums of products to the sample's; the last to come writes ``room``."""
    behind: tl.constexpr = (CHANNELS + 3) // 4 * 4
    length: tl.constexpr = behind + 4
    if HALF_SCALES:
        sums = tl.abs(left)
    else:
        sums = left * left
    goes_on = lane < taken
    half = _LEAVES // 2
    while half > 0:
        partner = lane ^ half
        if goes_on & (partner < taken):
            mine = rows + (2 * half + lane) * length
            tl.store(mine + channel, sums, mask=inside)
            if ORDER == 2:
                tl.store(mine + behind, mixed)
                tl.store(mine + behind + 1, trends)
            node = counters + half + tl.minimum(lane, partner)
            # the counter's release covers what all threads have stored
            tl.debug_barrier()
            goes_on = tl.atomic_add(node, 1) == 1
            if goes_on:
                tl.store(node, 0)
                other = rows + (2 * half + partner) * length
                sums += tl.load(other + channel, mask=inside, other=0.0)
                if ORDER == 2:
                    mixed += tl.load(other + behind)
                    trends += tl.load(other + behind + 1)
                lane = tl.minimum(lane, partner)
        half //= 2
    if goes_on:
        means = tl.div_rn(sums, tl.full(sums.shape, 1.0, tl.float32) * taken.to(tl.float32))
        if HALF_SCALES:
            tl.store(room.to(tl.pointer_type(tl.float16)) + channel, half_scale(means), mask=inside)
        else:
            codes = small_float(tl.sqrt_rn(means) * MEAN_MAGNITUDE, V_BIAS)
            tl.store(room + channel, codes.to(tl.uint8), mask=inside)
        beta = tl.cast(0, tl.int32)
        if ORDER == 2:
            beta = beta_code(mixed, trends)
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
