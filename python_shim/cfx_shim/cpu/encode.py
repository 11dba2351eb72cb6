"""The kernel that codes tokens and moves the sender's state.

Tokens go in batches, small enough for cache: what takes long and waits for itself in one token, from a row's maximum to
its scale, is done for all of a batch side by side.
"""

import numpy as np

from . import shared
from .arithmetic import (
    FLOAT32,
    clear,
    grid_shift,
    half_scale,
    half_value,
    inlined,
    largest_bits,
    magnitude,
    rounded_up,
    rounder_of,
    small_float,
    small_float_value,
    sum_on_grid,
    value_of_steps,
)
from .digits import code_digits, put_digits
from .levels import halving, picker
from .means import read_means
from .parts import ROW, copy_planes, differences, move, read_channels, read_parts, write_parts
from .starts import start_token
from .trellis import copy_rows, find_paths, move_by_path, plane_room, rows_at
from .trend import read_trend, write_trend
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    at_least,
    below,
    bits_of,
    bits_of_mask,
    copy_bytes,
    either,
    either_int,
    float_at,
    floats_at,
    int_at,
    ints_at,
    largest_of,
    negated,
    put_byte,
    put_floats,
    put_int,
    put_ints,
    put_short,
    whole_at,
)


def _coder(bits, centred=False):
    """A part of one token: its bits into planes ``plane_step`` apart, from scale ``u``; moves its state unless told not to.

    ``centred``: instead, what is decoded and what was ``held`` of it go to ``trend``.
    """
    planes_beside = bits - 1
    level_of = picker(planes_beside, 8)
    (begin_0, bound_0), (begin_1, bound_1), (begin_2, bound_2), (begin_3, bound_3) = halving(planes_beside)

    @inlined
    def code(common, planes, plane_step, first, last, delta, v, u, moves, order, held, trend, beta):
        zero, gain = all_floats(0.0), all_floats(float_at(common + shared.GAIN))
        for c in range(first, last, LANES):
            missed, scale = floats_at(delta + 4 * c), u * floats_at(v + 4 * c)
            positive = at_least(missed, zero)
            put_short(planes + c // 8, bits_of_mask(positive))
            size, top, second, third, fourth = magnitude(missed), positive, positive, positive, positive
            thresholds, plane = common + shared.THRESHOLDS, planes + c // 8 + planes_beside * plane_step
            if planes_beside > 0:
                top = at_least(size, scale * bound_0(thresholds + begin_0, top, second, third, fourth))
                put_short(plane, bits_of_mask(top))
            if planes_beside > 1:
                second = at_least(size, scale * bound_1(thresholds + begin_1, top, second, third, fourth))
                put_short(plane - plane_step, bits_of_mask(second))
            if planes_beside > 2:
                third = at_least(size, scale * bound_2(thresholds + begin_2, top, second, third, fourth))
                put_short(plane - 2 * plane_step, bits_of_mask(third))
            if planes_beside > 3:
                fourth = at_least(size, scale * bound_3(thresholds + begin_3, top, second, third, fourth))
                put_short(plane - 3 * plane_step, bits_of_mask(fourth))
            if moves:
                value = level_of(common + shared.LEVELS, top, second, third, fourth) * scale
                decoded = either(positive, value, negated(value))
                if centred:
                    put_floats(trend + 4 * c, decoded + floats_at(held + 4 * c))
                else:
                    move(order, held + 4 * c, trend + 4 * c, beta + 4 * c, decoded, gain)

    return code


_code_1, _code_2, _code_3, _code_4 = (_coder(bits) for bits in range(1, 5))
_code_centred_4, _code_centred_5 = _coder(4, True), _coder(5, True)


def encode_kernel(common, sections, first, last, scratch):
    """Code tokens ``first`` to ``last``, counted through all blocks of all sections; returns 1 if NaN or Inf was seen."""
    blocks, tokens = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS)
    seen = 0
    while first < last:
        index, begin = first // tokens, first % tokens
        end = min(tokens, begin + last - first)
        section = sections + index // blocks * shared.SECTION_BYTES
        seen |= _encode_block(common, section, index % blocks, begin, end, scratch)
        first += end - begin
    return seen


@inlined
def _encode_block(common, section, block, first, last, scratch):
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    kind, item, order = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.ORDER)
    middle, bits, half_scales = (
        whole_at(common + shared.MIDDLE), whole_at(common + shared.BITS), whole_at(common + shared.HALF_SCALES),
    )  # fmt: skip
    ragged, batch, bias = whole_at(common + shared.RAGGED), whole_at(common + shared.BATCH), whole_at(common + shared.U_BIAS)
    feedback, x_step = whole_at(common + shared.FEEDBACK), whole_at(common + shared.X_TOKEN_STEP)
    centred, starts = whole_at(common + shared.CENTRED), whole_at(common + shared.STARTS)
    trellis = whole_at(common + shared.TRELLIS)
    moves = order > 0 and feedback != 0
    staged = ragged != 0 or kind != FLOAT32
    rank = block + (block >= whole_at(common + shared.OWN))
    x = whole_at(section + shared.X) + rank * whole_at(common + shared.X_BLOCK_STEP)
    base = whole_at(section + shared.STATE) + block * whole_at(common + shared.STATE_BLOCK_STEP)
    block_trend, state_step = base + whole_at(common + shared.TREND_AT), channels * item
    payload = whole_at(section + shared.PAYLOAD) + rank * whole_at(common + shared.MESSAGE_STEP)

    second = rounded_up(middle)
    width = second + rounded_up(channels - middle)
    row_bytes = 4 * width
    rest, largest, steps, us = scratch, scratch + 64, scratch + 64 + 2 * ROW, scratch + 64 + 4 * ROW
    v = us + 2 * ROW
    beta, x_row, own_planes = v + row_bytes, v + 2 * row_bytes, v + 3 * row_bytes
    deltas = v + 4 * row_bytes
    helds, trends = deltas + batch * row_bytes, deltas + 2 * batch * row_bytes
    path_room, row_room = deltas + 3 * batch * row_bytes, plane_room(channels)
    path_rows = rows_at(path_room)
    signs = path_rows + batch * bits * row_room
    planes = read_channels(common, payload, v, beta, rest)
    plane_bytes = (channels + 7) // 8
    plane_step = tokens * plane_bytes

    # channels that share a token's first scale, and where they end in a row
    parts, of_first, end_first = 2, middle, second
    if half_scales:
        parts, of_first, end_first = 1, channels, width
    shift_first, shift_last = grid_shift(of_first), grid_shift(channels - of_first)
    columns_first, columns_last = _sum_of_scales(v, 0, end_first, shift_first), _sum_of_scales(v, end_first, width, shift_last)
    clear(helds, width)
    if centred:
        read_means(common, planes, helds, width, rest)
    put_ints(largest, all_ints(0))
    put_ints(largest + ROW, all_ints(0))
    put_ints(steps, all_ints(0))
    put_ints(steps + ROW, all_ints(0))
    seen = 0
    for start in range(first, last, batch):
        count = min(batch, last - start)
        for row in range(count):
            x_now, place = x + (start + row) * x_step, base + (start + row) * state_step
            held, trend, delta = helds, trends + row * row_bytes, deltas + row * row_bytes
            if staged:
                read_parts(x_row, x_now, kind, 0, item, common, rest)
                x_now = x_row
            if order > 0:
                held = place
                if staged:
                    held = helds + row * row_bytes
                    read_parts(held, place, kind, 0, item, common, rest)
            if order == 2:
                read_trend(trend, block_trend, start + row, common, rest)
            put_int(largest + 4 * row, differences(delta, x_now, held, trend, beta, order, 0, end_first))
            if parts == 2:
                put_int(largest + ROW + 4 * row, differences(delta, x_now, held, trend, beta, order, end_first, width))
        for part in range(parts):
            begin, end, shift, columns = 0, end_first, shift_first, columns_first
            if part == 1:
                begin, end, shift, columns = end_first, width, shift_last, columns_last
            tops = ints_at(largest + part * ROW)
            rounders = us + part * ROW
            put_ints(rounders, rounder_of(tops, shift))
            for row in range(count):
                found = sum_on_grid(deltas + row * row_bytes, begin, end, int_at(rounders + 4 * row))
                put_int(steps + part * ROW + 4 * row, found)
            sums = value_of_steps(ints_at(steps + part * ROW), tops, shift)
            finite = bits_of_mask(below(sums, all_floats(np.inf)))
            if (finite | (-1 << count)) & 0xFFFF != 0xFFFF:
                seen = 1
            u = either(above(columns, all_floats(0.0)), sums / columns, all_floats(0.0))
            if half_scales:
                codes = half_scale(u)
                u = half_value(codes)
            else:
                codes = small_float(u, bias)
                u = small_float_value(codes, bias)
            put_ints(rest, codes)
            for row in range(count):
                if half_scales:
                    put_short(payload + 2 * (start + row), int_at(rest + 4 * row))
                else:
                    put_byte(payload + 2 * (start + row) + part, int_at(rest + 4 * row))
            put_floats(us + part * ROW, u)
        if trellis != 0:
            find_paths(common, deltas, row_bytes, v, us, second, count, path_room)
        for row in range(count):
            place = base + (start + row) * state_step
            held, trend, delta = place, trends + row * row_bytes, deltas + row * row_bytes
            if centred:
                held = helds
            elif staged:
                held = helds + row * row_bytes
            if trellis != 0:
                path_row, target = path_rows + row * bits * row_room, planes + (start + row) * plane_bytes
                copy_rows(common, path_row, row_room, target, plane_step)
                if moves:
                    first_u, second_u = float_at(us + 4 * row), float_at(us + ROW + 4 * row)
                    move_by_path(common, path_row, signs, second, width, v, first_u, second_u, order, held, trend, beta)
            else:
                _code_token(common, planes, start + row, own_planes, end_first, width, delta, v, us + 4 * row, moves, order, held, trend, beta)
            if starts > 0:
                start_token(common, trend, width, base, start + row, delta, rest)
            if moves and staged:
                write_parts(held, place, True, common, rest)
            if order > 0 and not moves:
                copy_bytes(x + (start + row) * x_step, place, state_step)
                if order == 2:
                    # the trend of a base that is set is unknown
                    clear(trend, width)
            if order == 2:
                write_trend(trend, block_trend, start + row, common, rest)
    return seen


@inlined
def _code_token(common, planes, token, own_planes, end_first, width, delta, v, us, moves, order, held, trend, beta):
    """A token's bits or digits into its message; moves its state unless told not to. ``us``: the first of its scales."""
    tokens, channels, bits = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS), whole_at(common + shared.BITS)
    ragged, parts = whole_at(common + shared.RAGGED), 1 if whole_at(common + shared.HALF_SCALES) else 2
    starts, plane_bytes = whole_at(common + shared.STARTS), (channels + 7) // 8
    plane_step = tokens * plane_bytes
    packed, step = planes + token * plane_bytes, plane_step
    if ragged or bits == 0:
        packed, step = own_planes, width // 8
    for part in range(parts):
        begin, end = (0, end_first) if part == 0 else (end_first, width)
        u = all_floats(float_at(us + part * ROW))
        if bits == 0:
            code_digits(common, packed, step, begin, end, delta, v, u, moves, order, held, trend, beta)
        elif whole_at(common + shared.CENTRED):
            if bits == 4:
                _code_centred_4(common, packed, step, begin, end, delta, v, u, starts > 0, order, held, trend, beta)
            else:
                _code_centred_5(common, packed, step, begin, end, delta, v, u, starts > 0, order, held, trend, beta)
        elif bits == 1:
            _code_1(common, packed, step, begin, end, delta, v, u, moves, order, held, trend, beta)
        elif bits == 2:
            _code_2(common, packed, step, begin, end, delta, v, u, moves, order, held, trend, beta)
        elif bits == 3:
            _code_3(common, packed, step, begin, end, delta, v, u, moves, order, held, trend, beta)
        else:
            _code_4(common, packed, step, begin, end, delta, v, u, moves, order, held, trend, beta)
    if bits == 0:
        put_digits(common, own_planes, step, planes, token)
    elif ragged:
        copy_planes(common, own_planes, step, planes + token * plane_bytes, plane_step, True)


@inlined
def _sum_of_scales(v, first, last, shift):
    """A vector of nothing but the sum of v[first:last]."""
    top = largest_of(largest_bits(v, first, last))
    steps = sum_on_grid(v, first, last, ((top >> 23) + shift) << 23 | 1 << 22)
    return value_of_steps(all_ints(steps), all_ints(top), shift)
