"""Statistics for the next step, behind the encode launch: the counterpart of ``cfx_shim.statistics``.

The encode launch, which reads the history that the step before left, puts down what the sample's tokens add: ``leaves``,
float32, for each section, block and token of the sample the channels' magnitudes or squares, a multiple of 4 of them, and then
8 sums of products over channels. This launch sums them up over tokens and writes the history anew. Nothing that is sent waits
for it.
"""

import triton
import triton.language as tl

from .arithmetic import beta_code, fold_lanes, half_scale, small_float, sum_over_channels, sum_over_channels_signed

# of a leaf, behind its channels: of a token's two rows of products, or of one
_PRODUCTS = tl.constexpr(8)


@triton.jit
def history_of(section, block, history0, history1, history2, HISTORY: tl.constexpr):
    """Where that of a section's block begins, of ``HISTORY`` bytes each."""
    history = history0
    if section == 1:
        history = history1
    if section == 2:
        history = history2
    return history + block.to(tl.int64) * HISTORY


@triton.jit
def leaf_of(leaves, section, block, blocks, taken, lane, CHANNELS: tl.constexpr):
    """(where a leaf's channels begin, and where its products do)."""
    behind: tl.constexpr = (CHANNELS + 3) // 4 * 4
    leaf = leaves + ((section * blocks + block).to(tl.int64) * taken + lane) * (behind + _PRODUCTS)
    return leaf, leaf + behind


@triton.jit
def put_leaves(
    leaves,
    section,
    block,
    taken,
    lane,
    sampled,
    left,
    channel,
    inside,
    CHANNELS: tl.constexpr,
    HALF_SCALES: tl.constexpr,
):
    """Of rows [ROWS, WIDTH] that are ``sampled``, as the sample's token ``lane``, what is to be coded."""
    place, _ = leaf_of(leaves, section, block, tl.num_programs(1), taken, lane, CHANNELS)
    value = tl.abs(left) if HALF_SCALES else left * left
    tl.store(place[:, None] + channel, value, mask=inside & sampled[:, None])


@triton.jit
def put_products(
    leaves,
    section,
    block,
    taken,
    lane,
    sampled,
    delta,
    last,
    group,
    shift,
    channel,
    CHANNELS: tl.constexpr,
    GROUPS: tl.constexpr,
    MIDDLE: tl.constexpr,
    SHIFT_EARLY: tl.constexpr,
    SHIFT_LATE: tl.constexpr,
):
    """Likewise the sums that the block's beta is fitted from, as ``predictor.fit_block`` takes them, of ``delta`` times the trend,
    ``last``, and of that squared: in the halves of ``_log_scales``, which are two rows of a tile, or of one what is before and from
    ``MIDDLE`` on.
    """
    mixed, trends = delta * last, last * last
    if GROUPS == 2:
        mixed, trends = sum_over_channels_signed(mixed, shift), sum_over_channels(trends, shift)
    else:
        early = channel < MIDDLE
        mixed = sum_over_channels_signed(tl.where(early, mixed, 0.0), SHIFT_EARLY) + sum_over_channels_signed(
            tl.where(early, 0.0, mixed), SHIFT_LATE
        )
        trends = sum_over_channels(tl.where(early, trends, 0.0), SHIFT_EARLY) + sum_over_channels(
            tl.where(early, 0.0, trends), SHIFT_LATE
        )
    _, behind = leaf_of(leaves, section, block, tl.num_programs(1), taken, lane, CHANNELS)
    tl.store(behind + 2 * group, mixed, mask=sampled)
    tl.store(behind + 2 * group + 1, trends, mask=sampled)


@triton.jit
def history_kernel(
    history0,
    history1,
    history2,
    leaves,
    taken,
    CHANNELS: tl.constexpr,
    STRIP: tl.constexpr,
    GROUPS: tl.constexpr,
    ORDER: tl.constexpr,
    HALF_SCALES: tl.constexpr,
    HISTORY: tl.constexpr,
    V_BIAS: tl.constexpr,
    MEAN_MAGNITUDE: tl.constexpr,
):
    """Grid: strips of channels, blocks, sections. ``HISTORY``: bytes of a block's history."""
    strip, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    history = history_of(section, block, history0, history1, history2, HISTORY)
    channel = strip * STRIP + tl.arange(0, STRIP)
    known = channel < CHANNELS
    lane, blocks = tl.arange(0, 64), tl.num_programs(1)
    sums = tl.zeros([64, STRIP], tl.float32)
    for begin in tl.static_range(0, 128, 64):
        place, _ = leaf_of(leaves, section, block, blocks, taken, begin + lane, CHANNELS)
        inside = (begin + lane < taken)[:, None] & known[None, :]
        sums += tl.load(place[:, None] + channel[None, :], mask=inside, other=0.0)
    means = tl.div_rn(fold_lanes(sums, STRIP), tl.cast(taken, tl.float32))
    if HALF_SCALES:
        tl.store(history.to(tl.pointer_type(tl.float16)) + channel, half_scale(means), mask=known)
    else:
        tl.store(history + channel, small_float(tl.sqrt_rn(means) * MEAN_MAGNITUDE, V_BIAS).to(tl.uint8), mask=known)
    if strip == 0:
        code = tl.cast(0, tl.int32)
        if ORDER == 2:
            # the sums of delta times trend, and of trend squared
            which = tl.arange(0, 2)
            products = tl.zeros([64, 2], tl.float32)
            for begin in tl.static_range(0, 128, 64):
                _, behind = leaf_of(leaves, section, block, blocks, taken, begin + lane, CHANNELS)
                there = (begin + lane < taken)[:, None]
                of_token = tl.load(behind[:, None] + which[None, :], mask=there, other=0.0)
                if GROUPS == 2:
                    of_token += tl.load(behind[:, None] + 2 + which[None, :], mask=there, other=0.0)
                products += of_token
            folded = fold_lanes(products, 2)
            mixed = tl.sum(tl.where(which == 0, folded, 0.0), axis=0)
            trends = tl.sum(tl.where(which == 1, folded, 0.0), axis=0)
            code = beta_code(mixed, trends)
        tl.store(history + (2 if HALF_SCALES else 1) * CHANNELS, code.to(tl.uint8))
