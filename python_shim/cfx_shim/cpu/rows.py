"""The row kernels: code a block's tokens and move the sender's state; decode them and move a receiver's.

A token is one pass: its differences stay in scratch from the scale to the packed bits and the moved base. Both kernels
move a state by ``_move``, so the two ends cannot part. Any tokens may be given to any thread.
"""

import numpy as np

from .arithmetic import (
    as_int,
    bytes_at,
    copy_row,
    floats_at,
    grid_shift,
    half_scale,
    half_value,
    halves_at,
    inlined,
    put_back,
    row_at,
    small_float,
    small_float_value,
    sum_of_scales,
    sum_on_grid,
    words_at,
)

_ONES = np.uint64(0x0101010101010101)
# gathers the lowest bit of each byte into the highest byte; byte 0 to its bit 0
_GATHER = np.uint64(0x0102040810204080)
_DIAGONAL = np.uint64(0x8040201008040201)
_BELOW = np.uint64(0x7F7F7F7F7F7F7F7F)


@inlined
def _read_channels(v, beta, scales, betas, channels, half_scales, v_bias, order):
    """Channel scales and betas as stored, in float32."""
    if half_scales:
        halves = halves_at(scales)
        for c in range(channels):
            v[c] = half_value(np.int32(halves[c]))
    else:
        codes = bytes_at(scales)
        for c in range(channels):
            v[c] = small_float_value(np.int32(codes[c]), v_bias)
    if order == 2:
        codes = bytes_at(betas)
        for c in range(channels):
            beta[c] = np.float32(np.int32(np.int8(codes[c]))) * np.float32(0.015625)


@inlined
def _decode_row(decoded, codes, u, v, first, last, bits, levels):
    """``decoded``[first:last] float32 from codes: sign in bit 0 (1 for +), level in the others."""
    if bits <= 2:
        low, high = levels[0], levels[1]
        for c in range(first, last):
            value = (high if codes[c] & np.uint8(2) else low) * (u * v[c])
            decoded[c] = value if codes[c] & np.uint8(1) else -value
        return
    for c in range(first, last):
        decoded[c] = levels[0]
    for index in range(1, 1 << (bits - 1)):
        level = levels[index]
        for c in range(first, last):
            decoded[c] = level if codes[c] >= np.uint8(2 * index) else decoded[c]
    for c in range(first, last):
        value = decoded[c] * (u * v[c])
        decoded[c] = value if codes[c] & np.uint8(1) else -value


@inlined
def _add_decoded(held, decoded, codes, u, v, first, last, bits, levels):
    """``held`` += what ``_decode_row`` makes of the codes."""
    if bits <= 2:
        low, high = levels[0], levels[1]
        for c in range(first, last):
            value = (high if codes[c] & np.uint8(2) else low) * (u * v[c])
            held[c] = held[c] + (value if codes[c] & np.uint8(1) else -value)
        return
    _decode_row(decoded, codes, u, v, first, last, bits, levels)
    for c in range(first, last):
        held[c] = held[c] + decoded[c]


@inlined
def _move(decoded, predicted, held, last_change, gain, channels):
    """One token's state with order 2: ``held`` is the base, ``last_change`` the trend."""
    if gain == np.float32(1.0):
        for c in range(channels):
            change = decoded[c] + predicted[c]
            held[c] = held[c] + change
            last_change[c] = change
    else:
        for c in range(channels):
            held[c] = held[c] + (decoded[c] + predicted[c])
            last_change[c] = decoded[c] * gain + predicted[c]


@inlined
def _code_row(codes, delta, held, u, v, first, last, bits, thresholds, levels, moves):
    """Codes as ``_decode_row`` takes them; ``delta`` becomes what they decode to, or ``held`` moves by it at once.

    One and two bits, which the presets use most, take one loop.
    """
    if bits > 2:
        for c in range(first, last):
            codes[c] = np.uint8(1) if delta[c] >= np.float32(0.0) else np.uint8(0)
        for index in range((1 << (bits - 1)) - 1):
            threshold = thresholds[index]
            for c in range(first, last):
                reached = np.uint8(2) if abs(delta[c]) >= (u * v[c]) * threshold else np.uint8(0)
                codes[c] = codes[c] + reached
        _decode_row(delta, codes, u, v, first, last, bits, levels)
        if moves:
            for c in range(first, last):
                held[c] = held[c] + delta[c]
        return
    threshold, low, high = thresholds[0], levels[0], levels[1]
    if moves:
        for c in range(first, last):
            missed, scale = delta[c], u * v[c]
            reached = abs(missed) >= scale * threshold
            value = (high if reached else low) * scale
            held[c] = held[c] + (value if missed >= np.float32(0.0) else -value)
            codes[c] = (np.uint8(2) if reached else np.uint8(0)) | (
                np.uint8(1) if missed >= np.float32(0.0) else np.uint8(0)
            )
    else:
        for c in range(first, last):
            missed, scale = delta[c], u * v[c]
            reached = abs(missed) >= scale * threshold
            value = (high if reached else low) * scale
            delta[c] = value if missed >= np.float32(0.0) else -value
            codes[c] = (np.uint8(2) if reached else np.uint8(0)) | (
                np.uint8(1) if missed >= np.float32(0.0) else np.uint8(0)
            )


def encode_kernel(
    x,
    x_step,
    kind,
    item_bytes,
    base,
    trend,
    order,
    feedback,
    gain,
    tokens,
    channels,
    first,
    last,
    group,
    half_scales,
    bits,
    v_bias,
    u_bias,
    levels_at,
    thresholds_at,
    payload,
    scratch,
):
    """Code tokens ``first`` to ``last``; returns 1 if NaN or Inf was among them, else 0.

    The payload's channel scales and betas are there already. Channels below ``group`` share a token's first scale, the
    rest its second. ``scratch``: 32 · width bytes, with width = channels rounded up to a multiple of 64.
    """
    width = (channels + 63) // 64 * 64
    v, beta, delta = floats_at(scratch), floats_at(scratch + 4 * width), floats_at(scratch + 8 * width)
    x_row, held_row = floats_at(scratch + 12 * width), floats_at(scratch + 16 * width)
    trend_row, predicted = floats_at(scratch + 20 * width), floats_at(scratch + 24 * width)
    codes, words = bytes_at(scratch + 28 * width), words_at(scratch + 28 * width)
    levels, thresholds = floats_at(levels_at), floats_at(thresholds_at)
    row_bytes = (channels + 7) // 8
    u_bytes, v_bytes = (2 * tokens, 2 * channels) if half_scales else (2 * tokens, channels)
    planes = payload + u_bytes + v_bytes
    _read_channels(
        v, beta, payload + u_bytes, planes + bits * tokens * row_bytes, channels, half_scales, v_bias, order
    )
    groups = 1 if half_scales else 2
    u_halves, u_codes = halves_at(payload), bytes_at(payload)
    middle = min(group, channels)
    columns_first, columns_last = sum_of_scales(v, 0, middle), sum_of_scales(v, middle, channels)
    shift_first, shift_last = grid_shift(middle), grid_shift(channels - middle)
    for index in range(channels, row_bytes * 8):
        codes[index] = np.uint8(0)
    for c in range(channels):
        held_row[c] = np.float32(0.0)
    non_finite = 0
    for token in range(first, last):
        place = token * channels * item_bytes
        x_now = row_at(x + token * x_step * item_bytes, kind, channels, x_row)
        held = row_at(base + place, kind, channels, held_row) if order > 0 else held_row
        trend_now = trend_row
        if order == 2:
            trend_now = row_at(trend + place, kind, channels, trend_row)
        for part in range(groups):
            start, stop = (0, middle) if part == 0 else (middle, channels)
            largest = np.int32(0)
            if order == 2:
                for c in range(start, stop):
                    predicted[c] = trend_now[c] * beta[c]
                    missed = (x_now[c] - held[c]) - predicted[c]
                    delta[c] = missed
                    magnitude = np.int32(as_int(missed) & np.int32(0x7FFFFFFF))
                    largest = magnitude if magnitude > largest else largest
            else:
                for c in range(start, stop):
                    missed = x_now[c] - held[c]
                    delta[c] = missed
                    magnitude = np.int32(as_int(missed) & np.int32(0x7FFFFFFF))
                    largest = magnitude if magnitude > largest else largest
            row = sum_on_grid(delta, start, stop, largest, shift_first if part == 0 else shift_last)
            if not row < np.float32(np.inf):
                non_finite = 1
            columns = columns_first if part == 0 else columns_last
            u = row / columns if columns > np.float32(0.0) else np.float32(0.0)
            if half_scales:
                half = half_scale(u)
                u_halves[token] = np.uint16(half)
                u = half_value(half)
            else:
                code = small_float(u, u_bias)
                u_codes[2 * token + part] = np.uint8(code)
                u = small_float_value(code, u_bias)
            _code_row(codes, delta, held, u, v, start, stop, bits, thresholds, levels, order == 1 and feedback != 0)
        for plane in range(bits):
            packed = bytes_at(planes + (plane * tokens + token) * row_bytes)
            shift = np.uint64(plane)
            for index in range(row_bytes):
                packed[index] = np.uint8((((words[index] >> shift) & _ONES) * _GATHER) >> np.uint64(56))
        if order > 0:
            if feedback:
                if order == 2:
                    _move(delta, predicted, held, trend_now, gain, channels)
                put_back(held, base + place, kind, channels, True)
                if order == 2:
                    put_back(trend_now, trend + place, kind, channels, True)
            else:
                copy_row(x + token * x_step * item_bytes, base + place, channels * item_bytes)
    return non_finite


def decode_kernel(
    kind,
    item_bytes,
    base,
    trend,
    order,
    gain,
    tokens,
    channels,
    first,
    last,
    group,
    half_scales,
    bits,
    v_bias,
    u_bias,
    levels_at,
    payload,
    scratch,
):
    """Decode tokens ``first`` to ``last`` into the state at ``base`` and ``trend``, or with order 0 to ``base``."""
    width = (channels + 63) // 64 * 64
    v, beta = floats_at(scratch), floats_at(scratch + 4 * width)
    decoded, held_row = floats_at(scratch + 12 * width), floats_at(scratch + 16 * width)
    trend_row, predicted = floats_at(scratch + 20 * width), floats_at(scratch + 24 * width)
    codes, words = bytes_at(scratch + 28 * width), words_at(scratch + 28 * width)
    levels = floats_at(levels_at)
    row_bytes = (channels + 7) // 8
    u_bytes, v_bytes = (2 * tokens, 2 * channels) if half_scales else (2 * tokens, channels)
    planes = payload + u_bytes + v_bytes
    _read_channels(
        v, beta, payload + u_bytes, planes + bits * tokens * row_bytes, channels, half_scales, v_bias, order
    )
    u_halves, u_codes = halves_at(payload), bytes_at(payload)
    middle = min(group, channels)
    for token in range(first, last):
        place = token * channels * item_bytes
        for plane in range(bits):
            packed = bytes_at(planes + (plane * tokens + token) * row_bytes)
            shift = np.uint64(plane)
            for index in range(row_bytes):
                # byte k keeps bit k alone, which then becomes its lowest
                spread = ((np.uint64(packed[index]) * _ONES) & _DIAGONAL) + _BELOW
                bit = ((spread >> np.uint64(7)) & _ONES) << shift
                words[index] = bit if plane == 0 else words[index] | bit
        held = row_at(base + place, kind, channels, held_row) if order > 0 else held_row
        for part in range(1 if half_scales else 2):
            start, stop = (0, middle) if part == 0 else (middle, channels)
            if half_scales:
                u = half_value(np.int32(u_halves[token]))
            else:
                u = small_float_value(np.int32(u_codes[2 * token + part]), u_bias)
            if order == 1:
                _add_decoded(held, decoded, codes, u, v, start, stop, bits, levels)
            else:
                _decode_row(decoded, codes, u, v, start, stop, bits, levels)
        if order == 0:
            if kind == 0:
                target = floats_at(base + place)
                for c in range(channels):
                    target[c] = decoded[c]
            put_back(decoded, base + place, kind, channels, False)
            continue
        if order == 2:
            trend_now = row_at(trend + place, kind, channels, trend_row)
            for c in range(channels):
                predicted[c] = trend_now[c] * beta[c]
            _move(decoded, predicted, held, trend_now, gain, channels)
            put_back(trend_now, trend + place, kind, channels, True)
        put_back(held, base + place, kind, channels, True)
