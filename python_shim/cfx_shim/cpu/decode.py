"""The kernel that decodes tokens and moves a receiver's state, or with order 0 writes what it decodes.

Beside a state in 8 bits it writes what a receiver uses, too.
"""

from . import shared
from .arithmetic import HALF_SCALE, SMALL_FLOAT, inlined, read_row
from .bits import decoder
from .blocks import payload_of, section_of, state_of
from .digits import decode_digits, take_digits
from .means import read_means
from .parts import ROW, copy_planes, is_staged, parts_of, read_channels, write_parts
from .starts import start_token
from .states import read_state, used_at, write_state
from .trellis import copy_rows, move_by_path, plane_room, rows_at
from .trend import read_trends, write_trends
from .vectors import (
    LANES,
    all_floats,
    float_at,
    whole_at,
)


decode_1, _decode_2, _decode_3, _decode_4 = (decoder(bits) for bits in range(1, 5))
_decode_centred_4, _decode_centred_5 = decoder(4, True), decoder(5, True)


def decode_kernel(common, sections, first, last, scratch):
    """Decode tokens ``first`` to ``last``, counted likewise, into their state, or with order 0 in its place; returns 0."""
    blocks, tokens = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS)
    while first < last:
        index, begin = first // tokens, first % tokens
        end = min(tokens, begin + last - first)
        section = section_of(common, sections, index)
        _decode_block(common, section, index % blocks, begin, end, scratch)
        first += end - begin
    return 0


@inlined
def _decode_block(common, section, block, first, last, scratch):
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    item, order = whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.ORDER)
    bits, half_scales, bias = (
        whole_at(common + shared.BITS), whole_at(common + shared.HALF_SCALES), whole_at(common + shared.U_BIAS),
    )  # fmt: skip
    centred, starts = whole_at(common + shared.CENTRED), whole_at(common + shared.STARTS)
    staged = is_staged(common) or starts > 0
    base = state_of(common, section, block)
    block_trend, state_step = base + whole_at(common + shared.TREND_AT), channels * item
    payload = payload_of(common, section, block)

    parts, _, end_first, width = parts_of(common)
    row_bytes = 4 * width
    rest, us = scratch, scratch + 64
    v = us + 2 * ROW
    beta, own_planes = v + row_bytes, v + 2 * row_bytes
    held_row, trend_rows, batch = v + 3 * row_bytes, v + 4 * row_bytes, min(LANES, max(1, shared.BATCH_NUMBERS // width))
    trellis, row_room = whole_at(common + shared.TRELLIS), plane_room(channels)
    path_row = rows_at(v + (4 + batch) * row_bytes)
    planes = read_channels(common, payload, v, beta, rest)
    if centred:
        read_means(common, planes, beta, width, rest)
    plane_bytes = (channels + 7) // 8
    plane_step = tokens * plane_bytes
    # a trend that lies apart is read and written for a batch of tokens
    trend_apart = order == 2 and not staged
    for start in range(first, last, batch):
        count = min(batch, last - start)
        if trend_apart:
            read_trends(trend_rows, row_bytes, block_trend, start, count, common, rest)
        if half_scales:
            read_row(us, payload + 2 * start, HALF_SCALE, 0, count, rest)
        else:
            read_row(us, payload + 2 * start, SMALL_FLOAT, bias, 2 * count, rest)
        for row in range(count):
            place = base + (start + row) * state_step
            held, trend = place, trend_rows
            if trend_apart:
                trend = trend_rows + row * row_bytes
            if staged:
                held = held_row
            if staged and order > 0:
                read_state(held, trend, base, start + row, order, common, rest)
            if trellis != 0:
                copy_rows(common, planes + (start + row) * plane_bytes, plane_step, path_row, row_room)
                first_u, second_u, signs = float_at(us + 8 * row), float_at(us + 8 * row + 4), path_row + bits * row_room
                move_by_path(common, path_row, signs, end_first, width, v, first_u, second_u, order, held, trend, beta)
            else:
                _decode_token(common, planes, start + row, own_planes, end_first, width, v, us + 4 * parts * row, order, held, trend, beta)
            used = used_at(section, block, start + row, common)
            if used > 0:
                write_parts(held, used, True, common, rest)
            if starts > 0:
                start_token(common, held, width, base, start + row, trend, rest)
            elif staged and order > 0:
                write_state(held, trend, base, start + row, order, common, rest)
            elif staged:
                write_parts(held, place, False, common, rest)
        if trend_apart:
            write_trends(trend_rows, row_bytes, block_trend, start, count, common, rest)


@inlined
def _decode_token(common, planes, token, own_planes, end_first, width, v, us, order, held, trend, beta):
    """A token's state by its bits or digits, or with order 0 they are put at ``held``. ``us``: its scales."""
    tokens, channels, bits = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS), whole_at(common + shared.BITS)
    plane_bytes = (channels + 7) // 8
    packed, step = planes + token * plane_bytes, tokens * plane_bytes
    if bits == 0:
        packed, step = own_planes, width // 8
        take_digits(common, packed, step, planes, token)
    elif whole_at(common + shared.RAGGED):
        copy_planes(common, packed, step, own_planes, width // 8, False)
        packed, step = own_planes, width // 8
    for part in range(1 if whole_at(common + shared.HALF_SCALES) else 2):
        begin, end = (0, end_first) if part == 0 else (end_first, width)
        u = all_floats(float_at(us + 4 * part))
        if bits == 0:
            decode_digits(common, packed, step, begin, end, v, u, order, held, trend, beta)
        elif whole_at(common + shared.CENTRED):
            if bits == 4:
                _decode_centred_4(common, packed, step, begin, end, v, u, order, held, trend, beta)
            else:
                _decode_centred_5(common, packed, step, begin, end, v, u, order, held, trend, beta)
        elif bits == 1:
            decode_1(common, packed, step, begin, end, v, u, order, held, trend, beta)
        elif bits == 2:
            _decode_2(common, packed, step, begin, end, v, u, order, held, trend, beta)
        elif bits == 3:
            _decode_3(common, packed, step, begin, end, v, u, order, held, trend, beta)
        else:
            _decode_4(common, packed, step, begin, end, v, u, order, held, trend, beta)
