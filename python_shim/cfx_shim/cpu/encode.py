"""The kernel that codes tokens and moves the sender's state.

Tokens go in batches, small enough for cache: what takes long and waits for itself in one token, from a row's maximum to
its scale, is done for all of a batch side by side.
"""

import numpy as np

from . import shared
from .arithmetic import (
    called,
    clear,
    grid_shift,
    half_scale,
    half_value,
    inlined,
    largest_bits,
    rounder_of,
    small_float,
    small_float_value,
    sum_on_grid,
    value_of_steps,
)
from .bits import coder, decoder
from .blocks import payload_of, section_of, state_of, x_of
from .column_sums import sums_bytes
from .digits import code_digits, put_digits
from .means import read_means
from .parts import ROW, copy_planes, differences, is_staged, parts_of, read_channels, read_parts
from .starts import start_token
from .states import read_state, set_state, write_state
from .statistics import take_statistics
from .trellis import copy_rows, find_paths, move_by_paths, plane_room, rows_at
from .trend import read_trends, write_trends
from .vectors import (
    above,
    all_floats,
    all_ints,
    below,
    bits_of_mask,
    either,
    float_at,
    floats_at,
    int_at,
    ints_at,
    largest_of,
    put_byte,
    put_floats,
    put_int,
    put_ints,
    put_short,
    whole_at,
)


def encode_kernel(common, sections, first, last, scratch):
    """Code tokens ``first`` to ``last``, counted through all blocks of all sections; returns 1 if NaN or Inf was seen."""
    blocks, tokens = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS)
    seen = 0
    while first < last:
        index, begin = first // tokens, first % tokens
        end = min(tokens, begin + last - first)
        section = section_of(common, sections, index)
        seen |= _encode_block(common, section, index % blocks, begin, end, scratch)
        first += end - begin
    return seen


@inlined
def _encode_block(common, section, block, first, last, scratch):
    order, batch = whole_at(common + shared.ORDER), whole_at(common + shared.BATCH)
    x = x_of(common, section, block)
    base = state_of(common, section, block)
    payload = payload_of(common, section, block)
    if whole_at(common + shared.WITH_STATISTICS):
        take_statistics(common, section, block, scratch)
    planes = _begin_block(common, payload, scratch)
    # what a token's parts become in the end, unless they are coded where they lie
    kept = whole_at(common + shared.STARTS) > 0 or (order > 0 and (is_staged(common) or order == 2 or not _moves(common)))
    sums_at, seen = whole_at(common + shared.SUMS_AT), 0
    sums, steps = scratch + sums_at, scratch + sums_at + sums_bytes(whole_at(common + shared.TOKENS))
    for start in range(first, last, batch):
        count = min(batch, last - start)
        if sums_at > 0:
            seen |= _put_scales(common, payload, scratch, sums + 4 * start, steps + 4 * start, start, count)
            _code_x(common, planes, x, base, scratch, start, count)
        else:
            _take_rows(common, x, base, scratch, start, count)
            _sum_rows(common, scratch, count)
            seen |= _put_scales(common, payload, scratch, scratch + _LARGEST, scratch + _STEPS, start, count)
            if whole_at(common + shared.TRELLIS):
                _code_paths(common, planes, base, scratch, start, count)
            else:
                _code_rows(common, planes, base, scratch, start, count)
        if kept:
            _keep_rows(common, x, base, scratch, start, count)
    return seen


@inlined
def _moves(common):
    """Whether what is decoded moves the sender's state, too."""
    return whole_at(common + shared.ORDER) > 0 and whole_at(common + shared.FEEDBACK) != 0


# scratch: vectors of a token's numbers, two of each kind for its parts, then rows
_REST, _LARGEST, _STEPS, _US, _COLUMNS = 0, ROW, 3 * ROW, 5 * ROW, 7 * ROW
assert shared.ROWS_AT == _COLUMNS + 2 * ROW


@inlined
def _rows(common, scratch):
    """(v, beta, scratch for x, scratch for planes; of all of a batch: what is to be coded, bases, trends; room for paths)."""
    _, _, _, width = parts_of(common)
    v, row, batch = scratch + shared.ROWS_AT, 4 * width, 4 * width * whole_at(common + shared.BATCH)
    deltas = v + 4 * row
    return v, v + row, v + 2 * row, v + 3 * row, deltas, deltas + batch, deltas + 2 * batch, deltas + 3 * batch


@called
def _begin_block(common, payload, scratch):
    """Takes what is the same for all tokens; returns where their codes begin."""
    _, of_first, end_first, width = parts_of(common)
    v, beta, _, _, _, helds, _, _ = _rows(common, scratch)
    planes = read_channels(common, payload, v, beta, scratch + _REST)
    shift_first, shift_last = grid_shift(of_first), grid_shift(whole_at(common + shared.CHANNELS) - of_first)
    put_floats(scratch + _COLUMNS, _sum_of_scales(v, 0, end_first, shift_first))
    put_floats(scratch + _COLUMNS + ROW, _sum_of_scales(v, end_first, width, shift_last))
    # with order 0 there is no base, or what is taken off stands in its place
    clear(helds, width)
    if whole_at(common + shared.CENTRED):
        read_means(common, planes, helds, width, scratch + _REST)
    # of tokens that are not there
    for at in range(_LARGEST, _US, ROW):
        put_ints(scratch + at, all_ints(0))
    return planes


@called
def _take_rows(common, x, base, scratch, start, count):
    """What is to be coded of ``count`` tokens from ``start`` on, and its largest magnitudes."""
    kind, item, order = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.ORDER)
    x_step, state_step = whole_at(common + shared.X_TOKEN_STEP), whole_at(common + shared.CHANNELS) * item
    _, _, end_first, width = parts_of(common)
    _, beta, x_row, _, delta, held_row, trend, _ = _rows(common, scratch)
    staged, rest, trends = is_staged(common), scratch + _REST, base + whole_at(common + shared.TREND_AT)
    x_now, place = x + start * x_step, base + start * state_step
    if order == 2 and not staged:
        read_trends(trend, 4 * width, trends, start, count, common, rest)
    for row in range(count):
        given, held = x_now, held_row
        if staged:
            read_parts(x_row, x_now, kind, 0, item, common, rest)
            given = x_row
        if staged and order > 0:
            read_state(held_row, trend, base, start + row, order, common, rest)
            held_row += 4 * width
        elif order > 0:
            held = place
        largest = scratch + _LARGEST + 4 * row
        if order == 2:
            _take_predicted_row(delta, given, held, trend, beta, end_first, width, largest)
        else:
            _take_row(delta, given, held, trend, beta, end_first, width, largest)
        x_now, place, delta, trend = x_now + x_step, place + state_step, delta + 4 * width, trend + 4 * width


def _row_taker(order):
    """What takes the differences of one token and their largest magnitudes; of ``order`` 1 also without a base, whose row is zeros.

    A function of its own, for what counts the rows would take the registers that it needs.
    """

    @called
    def take(delta, x, held, trend, beta, end_first, width, largest):
        put_int(largest, differences(delta, x, held, trend, beta, order, 0, end_first))
        if end_first < width:
            put_int(largest + ROW, differences(delta, x, held, trend, beta, order, end_first, width))

    return take


_take_row, _take_predicted_row = _row_taker(1), _row_taker(2)


@called
def _sum_rows(common, scratch, count):
    """The sums of ``count`` tokens' magnitudes, in steps of the grid that their largest ones tell."""
    parts, of_first, end_first, width = parts_of(common)
    _, _, _, _, deltas, _, _, _ = _rows(common, scratch)
    begin, end, channels = 0, end_first, of_first
    for part in range(parts):
        tops, rounders, steps = ints_at(scratch + _LARGEST + part * ROW), scratch + _US + part * ROW, scratch + _STEPS + part * ROW
        put_ints(rounders, rounder_of(tops, grid_shift(channels)))
        for row in range(count):
            put_int(steps + 4 * row, sum_on_grid(deltas + 4 * width * row, begin, end, int_at(rounders + 4 * row)))
        begin, end, channels = end, width, whole_at(common + shared.CHANNELS) - channels


@called
def _put_scales(common, payload, scratch, largest, steps, start, count):
    """The tokens' scales, into their message and as stored; returns 1 if NaN or Inf was seen."""
    half_scales, bias, rest = whole_at(common + shared.HALF_SCALES), whole_at(common + shared.U_BIAS), scratch + _REST
    parts, channels, _, _ = parts_of(common)
    seen = 0
    for part in range(parts):
        sums = value_of_steps(ints_at(steps + part * ROW), ints_at(largest + part * ROW), grid_shift(channels))
        finite = bits_of_mask(below(sums, all_floats(np.inf)))
        if (finite | (-1 << count)) & 0xFFFF != 0xFFFF:
            seen = 1
        columns = floats_at(scratch + _COLUMNS + part * ROW)
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
        put_floats(scratch + _US + part * ROW, u)
        channels = whole_at(common + shared.CHANNELS) - channels
    return seen


@inlined
def _held_rows(common, base, scratch, start):
    """(where the bases of a batch begin that what is decoded is added to, or means, bytes from one token to the next)."""
    _, _, _, width = parts_of(common)
    _, _, _, _, _, helds, _, _ = _rows(common, scratch)
    if whole_at(common + shared.CENTRED):
        return helds, 0
    if is_staged(common):
        return helds, 4 * width
    step = whole_at(common + shared.CHANNELS) * whole_at(common + shared.ITEM_BYTES)
    return base + start * step, step


@called
def _code_paths(common, planes, base, scratch, start, count):
    """As ``_code_rows``, along a trellis."""
    bits, plane_bytes = whole_at(common + shared.BITS), (whole_at(common + shared.CHANNELS) + 7) // 8
    moves, plane_step = _moves(common), whole_at(common + shared.TOKENS) * plane_bytes
    _, _, second, width = parts_of(common)
    v, beta, _, _, deltas, _, trends, room = _rows(common, scratch)
    held, held_step = _held_rows(common, base, scratch, start)
    find_paths(common, deltas, 4 * width, v, scratch + _US, second, count, room)
    row_room, rows = plane_room(whole_at(common + shared.CHANNELS)), rows_at(room)
    for row in range(count):
        copy_rows(common, rows + row * bits * row_room, row_room, planes + (start + row) * plane_bytes, plane_step)
    if moves:
        signs = rows + whole_at(common + shared.BATCH) * bits * row_room
        move_by_paths(common, rows, signs, v, scratch + _US, 4, ROW, count, held, held_step, trends, beta)


@inlined
def _code_rows(common, planes, base, scratch, start, count):
    """Tokens' bits or digits into their message; moves their state unless told not to."""
    _, _, _, width = parts_of(common)
    _, _, _, _, deltas, _, _, _ = _rows(common, scratch)
    bits, predicts = whole_at(common + shared.BITS), whole_at(common + shared.ORDER) == 2 and _moves(common)
    told = common, planes, deltas, 4 * width, base, scratch, start, count
    if bits == 0:
        _code_digits(*told)
    elif whole_at(common + shared.CENTRED):
        if bits == 4:
            _code_centred_4(*told)
        else:
            _code_centred_5(*told)
    elif bits == 1 and predicts:
        _code_predicted_1(*told)
    elif bits == 1:
        _code_1(*told)
    elif bits == 2 and predicts:
        _code_predicted_2(*told)
    elif bits == 2:
        _code_2(*told)
    elif bits == 3:
        _code_3(*told)
    else:
        _code_4(*told)


@inlined
def _code_x(common, planes, x, base, scratch, start, count):
    """The same of tokens whose sums are known, and of 1 bit the codes."""
    x_step = whole_at(common + shared.X_TOKEN_STEP)
    if whole_at(common + shared.BITS) == 1:
        _code_x_1(common, planes, x + start * x_step, x_step, base, scratch, start, count)
    else:
        _code_x_2(common, planes, x + start * x_step, x_step, base, scratch, start, count)


def _by_rows(code, predicts=False, digits=False):
    """``_code_rows`` of one kind of code, of which ``code`` does a part of a token: ``digits`` or bits. ``predicts``: of states with
    a trend, which move, and only of these, so that no row asks.
    """

    @called
    def code_rows(common, planes, delta, delta_step, base, scratch, start, count):
        tokens, ragged = whole_at(common + shared.TOKENS), whole_at(common + shared.RAGGED)
        order, moves = 2, True
        if not predicts:
            order = whole_at(common + shared.ORDER)
            moves = whole_at(common + shared.STARTS) > 0 if whole_at(common + shared.CENTRED) else _moves(common)
        parts, _, end_first, width = parts_of(common)
        v, beta, _, own_planes, _, _, trend, _ = _rows(common, scratch)
        held, held_step = _held_rows(common, base, scratch, start)
        plane_bytes = (whole_at(common + shared.CHANNELS) + 7) // 8
        plane_step, target = tokens * plane_bytes, planes + start * plane_bytes
        for row in range(count):
            packed, step = target, plane_step
            if ragged or digits:
                packed, step = own_planes, width // 8
            begin, end = 0, end_first
            for u_at in range(scratch + _US + 4 * row, scratch + _US + parts * ROW, ROW):
                code(common, packed, step, begin, end, delta, v, all_floats(float_at(u_at)), moves, order, held, trend, beta)
                begin, end = end_first, width
            if digits:
                put_digits(common, own_planes, step, planes, start + row)
            elif ragged:
                copy_planes(common, own_planes, step, target, plane_step, True)
            target, held, delta, trend = target + plane_bytes, held + held_step, delta + delta_step, trend + 4 * width

    return code_rows


_decode_1 = decoder(1)


@inlined
def _move_by_signs(common, planes, plane_step, first, last, delta, v, u, moves, order, held, trend, beta):
    """As what ``_coder`` gives for 1 bit, where the bits are in their place."""
    if moves:
        _decode_1(common, planes, plane_step, first, last, v, u, order, held, trend, beta)


_code_digits = _by_rows(code_digits, digits=True)
_code_1, _code_2, _code_3, _code_4 = (_by_rows(coder(bits)) for bits in range(1, 5))
# kinds apart are worth their time to build only where little else is done for a row
_code_predicted_1, _code_predicted_2 = _by_rows(coder(1), True), _by_rows(coder(2), True)
_code_x_1, _code_x_2 = _by_rows(_move_by_signs), _by_rows(coder(2, direct=True))
_code_centred_4, _code_centred_5 = _by_rows(coder(4, True)), _by_rows(coder(5, True))


@called
def _keep_rows(common, x, base, scratch, start, count):
    """Tokens' state from scratch into its place: what a keyframe starts, what was moved, or without feedback x."""
    order, starts, rest = whole_at(common + shared.ORDER), whole_at(common + shared.STARTS), scratch + _REST
    _, _, _, width = parts_of(common)
    _, _, _, _, delta, held, trend, _ = _rows(common, scratch)
    x_step = whole_at(common + shared.X_TOKEN_STEP)
    moves, staged, trends = _moves(common), is_staged(common), base + whole_at(common + shared.TREND_AT)
    if starts == 0 and moves and not staged:
        write_trends(trend, 4 * width, trends, start, count, common, rest)
        return
    for token in range(start, start + count):
        if starts > 0:
            start_token(common, trend, width, base, token, delta, rest)
        elif not moves:
            set_state(held, trend, width, x + token * x_step, base, token, order, common, rest)
        else:
            write_state(held, trend, base, token, order, common, rest)
        held, trend, delta = held + 4 * width, trend + 4 * width, delta + 4 * width


@inlined
def _sum_of_scales(v, first, last, shift):
    """A vector of nothing but the sum of v[first:last]."""
    top = largest_of(largest_bits(v, first, last))
    steps = sum_on_grid(v, first, last, ((top >> 23) + shift) << 23 | 1 << 22)
    return value_of_steps(all_ints(steps), all_ints(top), shift)
