"""The statistics launch: what a block's channels need before its rows can be coded, in one pass over its inputs or over a
sample of their tokens. What has to be known before a sum can be taken is a pass before that one: means that are taken off
first, and beta where scales are means of what the prediction leaves. Of codecs without channel scales it fits beta alone.

One program reduces one strip of channels over all tokens, so nothing is left for a second stage and no atomics are
needed. It writes channel scales and the predictor's beta where the message has them.

It reads what the encode launch reads once more, or 128 tokens of it. What these and what none at all (``history``) cost in
error: ``codecs/FINDINGS.md``.
"""

import triton
import triton.language as tl

from . import eight_bit
from .arithmetic import beta_code, beta_value, fold_lanes, half_scale, small_float, widened
from .means import means_at, put_means
from .placement import chosen, flag, rank_of


@triton.jit
def statistics_kernel(
    x0,
    x1,
    x2,
    state0,
    state1,
    state2,
    message,
    offset0,
    offset1,
    offset2,
    x_block,
    x_token,
    message_stride,
    state_block,
    trend_at,
    flags,
    tokens,
    taken,
    stride,
    own,
    peers,
    CHANNELS: tl.constexpr,
    STRIP: tl.constexpr,
    ORDER: tl.constexpr,
    SCALES: tl.constexpr,
    GROUP: tl.constexpr,
    TOKEN_BYTES: tl.constexpr,
    V_BIAS: tl.constexpr,
    MEAN_MAGNITUDE: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    MEANS: tl.constexpr,
    AHEAD: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Grid: strips of a part's channels, one part after the other, blocks, sections. Of the tokens, ``taken`` that are
    ``stride`` apart count. For ``state_block`` and ``trend_at`` see ``states.read_state``, for ``MEANS`` ``means``.
    ``SCALES``: bytes that a payload holds for each channel, 0 for none; ``TOKEN_BYTES``: those for each token.
    """
    strip, block, section = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    x, state, offset = chosen(section, x0, x1, x2, state0, state1, state2, offset0, offset1, offset2)
    rank = rank_of(block, own)
    payload = message + rank * message_stride + offset
    if (flags >= 0) & (strip + block + section == 0):
        # nothing non-finite was seen yet; the launch that codes the rows comes after this one
        flag(message, message_stride, flags, peers, 0)
    strips: tl.constexpr = (GROUP + STRIP - 1) // STRIP
    part = (strip >= strips).to(tl.int32)
    within = (strip - part * strips) * STRIP
    channel = part * GROUP + within + tl.arange(0, STRIP)
    known = (within + tl.arange(0, STRIP) < GROUP) & (channel < CHANNELS)
    x += rank * x_block
    begin = state + block.to(tl.int64) * state_block
    of_part: tl.constexpr = (GROUP + 31) // 32
    of_token: tl.constexpr = of_part + (CHANNELS - GROUP + 31) // 32
    codes, scales, group, group_known = begin, begin, channel, known
    if EIGHT_BIT or ORDER == 2:
        group_within = within + 32 * tl.arange(0, STRIP // 32)
        group_known = (group_within < GROUP) & (part * GROUP + group_within < CHANNELS)
        group = part * of_part + group_within // 32
        if not EIGHT_BIT:
            codes = (begin + trend_at).to(tl.pointer_type(tl.int8))
        scales = codes + tl.cast(tokens, tl.int64) * CHANNELS
    count = tl.cast(taken, tl.float32)
    stored_v = payload + 2 * tokens
    behind = tokens * TOKEN_BYTES + SCALES * CHANNELS
    mean = tl.zeros([STRIP], tl.float32)
    if MEANS > 0:
        sums = tl.zeros([64, STRIP], tl.float32)
        for begins in range(0, taken, 64 * AHEAD):
            for ahead in tl.static_range(AHEAD):
                lane = begins + 64 * ahead + tl.arange(0, 64)
                token = (lane * stride).to(tl.int64)[:, None]
                inside = (lane < taken)[:, None] & known[None, :]
                sums += widened(tl.load(x + token * x_token + channel[None, :], mask=inside, other=0.0), SOFT)
        put_means(payload + behind, channel, known, tl.div_rn(fold_lanes(sums, STRIP), count), MEANS)
        # a mean that stayed in registers would have every thread fold all lanes for itself
        tl.debug_barrier()
        mean = means_at(payload + behind, channel, known, MEANS)
    beta = tl.zeros([STRIP], tl.float32)
    own_sum = tl.zeros([64, STRIP], tl.float32)
    mixed_sum = tl.zeros([64, STRIP], tl.float32)
    trend_sum = tl.zeros([64, STRIP], tl.float32)
    if ORDER == 2 and SCALES != 1:
        for begins in range(0, taken, 64 * AHEAD):
            for ahead in tl.static_range(AHEAD):
                value, last = left(
                    x, x_token, begin, codes, scales, mean, begins + 64 * ahead, taken, stride, channel, known, group,
                    group_known, CHANNELS, STRIP, of_token, ORDER, EIGHT_BIT, MEANS, SOFT,
                )  # fmt: skip
                mixed_sum += value * last
                trend_sum += last * last
        code = beta_code(fold_lanes(mixed_sum, STRIP), fold_lanes(trend_sum, STRIP))
        tl.store(payload + behind + channel, code.to(tl.uint8), mask=known)
        if SCALES > 0:
            # likewise
            tl.debug_barrier()
            beta = beta_value(tl.load(payload + behind + channel, mask=known, other=0).to(tl.int8, bitcast=True))
    if SCALES > 0:
        for begins in range(0, taken, 64 * AHEAD):
            for ahead in tl.static_range(AHEAD):
                value, last = left(
                    x, x_token, begin, codes, scales, mean, begins + 64 * ahead, taken, stride, channel, known, group,
                    group_known, CHANNELS, STRIP, of_token, ORDER, EIGHT_BIT, MEANS, SOFT,
                )  # fmt: skip
                if SCALES == 2:
                    if ORDER == 2:
                        value = value - last * beta[None, :]
                    own_sum += tl.abs(value)
                else:
                    own_sum += value * value
                    if ORDER == 2:
                        mixed_sum += value * last
                        trend_sum += last * last
        own_total = fold_lanes(own_sum, STRIP)
        if SCALES == 2:
            v = half_scale(tl.div_rn(own_total, count))
            tl.store(stored_v.to(tl.pointer_type(tl.float16)) + channel, v, mask=known)
        else:
            if ORDER == 2:
                mixed_total, trend_total = fold_lanes(mixed_sum, STRIP), fold_lanes(trend_sum, STRIP)
                code = beta_code(mixed_total, trend_total)
                tl.store(payload + behind + channel, code.to(tl.uint8), mask=known)
                beta = beta_value(code)
                own_total = own_total - (mixed_total * 2.0 - trend_total * beta) * beta
                own_total = tl.maximum(own_total, 0.0)
            v = tl.sqrt_rn(tl.div_rn(own_total, count)) * MEAN_MAGNITUDE
            tl.store(stored_v + channel, small_float(v, V_BIAS).to(tl.uint8), mask=known)


@triton.jit
def left(
    x,
    x_token,
    begin,
    codes,
    scales,
    mean,
    first,
    taken,
    stride,
    channel,
    known,
    group,
    group_known,
    CHANNELS: tl.constexpr,
    STRIP: tl.constexpr,
    OF_TOKEN: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    MEANS: tl.constexpr,
    SOFT: tl.constexpr,
):
    """Of 64 tokens from the sample's ``first`` on, what mean and base leave, and the trend, float32 [64, STRIP]; 0 where
    there is no such token or channel. With order 0 and 1 the trend means nothing.
    """
    lane = first + tl.arange(0, 64)
    exists = (lane < taken)[:, None]
    token = (lane * stride)[:, None]
    inside = exists & known[None, :]
    value = widened(tl.load(x + token.to(tl.int64) * x_token + channel[None, :], mask=inside, other=0.0), SOFT)
    place = token.to(tl.int64) * CHANNELS + channel[None, :]
    last = value
    if MEANS > 0:
        # where there is nothing, nothing is taken off
        value = tl.where(inside, value - mean[None, :], 0.0)
    if EIGHT_BIT or ORDER == 2:
        column = token.to(tl.int64) * OF_TOKEN + group[None, :]
        kept = exists & group_known[None, :]
    if EIGHT_BIT:
        held, last = eight_bit.read(codes + place, scales + column, inside, kept, ORDER, 64, STRIP)
        value = value - held
    elif ORDER >= 1:
        base = begin.to(tl.pointer_type(x.dtype.element_ty)) + place
        value = value - widened(tl.load(base, mask=inside, other=0.0), SOFT)
        if ORDER == 2:
            last, _ = eight_bit.read(codes + place, scales + column, inside, kept, 1, 64, STRIP)
    return value, last
