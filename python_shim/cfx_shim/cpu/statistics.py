"""The statistics kernel: channel scales, and with a prediction beta, of a strip of channels, in one pass over a block.

Sums over tokens are those of ``codecs._sums``: 64 lanes, folded in halves. Strips may be given to any thread.
"""

import numpy as np

from .arithmetic import bytes_at, floats_at, half_scale, halves_at, inlined, row_at, small_float


@inlined
def _add_one(total, x, base, width, magnitudes):
    """A token more; the sum of its magnitudes or of its squares."""
    if magnitudes:
        for c in range(width):
            total[c] += abs(x[c] - base[c])
    else:
        for c in range(width):
            total[c] += (x[c] - base[c]) * (x[c] - base[c])


@inlined
def _add_three(own, mixed, trends, x, base, trend, width):
    for c in range(width):
        delta, last = x[c] - base[c], trend[c]
        own[c] += delta * delta
        mixed[c] += delta * last
        trends[c] += last * last


def statistics_kernel(
    x,
    x_step,
    kind,
    item_bytes,
    base,
    trend,
    order,
    tokens,
    channels,
    first,
    last,
    half_scales,
    v_bias,
    mean_magnitude,
    scales,
    betas,
    scratch,
):
    """Store channels ``first`` to ``last`` of v at address ``scales`` and of beta at ``betas`` (order 2).

    ``x`` is the address of [tokens, channels] with ``x_step`` elements from token to token; ``base`` and ``trend`` are
    the state's, without gaps. ``scratch``: 4 · (3 · 7 + 3) · (last - first) bytes.
    """
    width = last - first
    sums = 3 if order == 2 else 1
    x_row, base_row = floats_at(scratch), floats_at(scratch + 4 * width)
    trend_row = floats_at(scratch + 8 * width)
    stack = scratch + 12 * width
    for c in range(width):
        # with order 0 there is no base
        base_row[c] = np.float32(0.0)
    # lanes in the order in which folding in halves adds them up, so that seven rows of sums are enough
    depth = 0
    for leaf in range(64):
        lane = (leaf & 1) << 5 | (leaf & 2) << 3 | (leaf & 4) << 1 | (leaf & 8) >> 1 | (leaf & 16) >> 3 | leaf >> 5
        row = stack + depth * sums * 4 * width
        own, mixed, trends = floats_at(row), floats_at(row + 4 * width), floats_at(row + 8 * width)
        for index in range(sums * width):
            own[index] = np.float32(0.0)
        for token in range(lane, tokens, 64):
            place = (token * channels + first) * item_bytes
            x_now = row_at(x + (token * x_step + first) * item_bytes, kind, width, x_row)
            base_now = row_at(base + place, kind, width, base_row) if order > 0 else base_row
            if order == 2:
                trend_now = row_at(trend + place, kind, width, trend_row)
                _add_three(own, mixed, trends, x_now, base_now, trend_now, width)
            else:
                _add_one(own, x_now, base_now, width, half_scales)
        depth += 1
        rest = leaf
        while rest & 1:
            depth -= 1
            low = floats_at(stack + (depth - 1) * sums * 4 * width)
            high = floats_at(stack + depth * sums * 4 * width)
            for index in range(sums * width):
                low[index] += high[index]
            rest >>= 1
    own, mixed, trends = floats_at(stack), floats_at(stack + 4 * width), floats_at(stack + 8 * width)
    count = np.float32(tokens)
    if half_scales:
        halves = halves_at(scales)
        for c in range(width):
            halves[first + c] = np.uint16(half_scale(own[c] / count))
        return
    if order == 2:
        codes = bytes_at(betas)
        for c in range(width):
            beta = (mixed[c] / trends[c] if trends[c] > np.float32(0.0) else np.float32(0.0)) * np.float32(64.0)
            beta = beta if beta == beta else np.float32(0.0)
            beta = beta if beta > np.float32(-128.0) else np.float32(-128.0)
            beta = beta if beta < np.float32(127.0) else np.float32(127.0)
            # 1.5 · 2^23: adding it and taking it away rounds to the nearest even
            beta = (beta + np.float32(12582912.0)) - np.float32(12582912.0)
            codes[first + c] = np.uint8(np.int32(beta) & np.int32(255))
            beta = beta * np.float32(0.015625)
            missed = own[c] - (mixed[c] * np.float32(2.0) - trends[c] * beta) * beta
            # a NaN stays
            own[c] = np.float32(0.0) if missed < np.float32(0.0) else missed
    codes = bytes_at(scales)
    for c in range(width):
        root = np.float32(np.sqrt(own[c] / count)) * mean_magnitude
        codes[first + c] = np.uint8(small_float(root, v_bias))
