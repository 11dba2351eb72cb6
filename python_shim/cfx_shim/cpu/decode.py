"""The kernel that decodes tokens and moves a receiver's state, or with order 0 writes what it decodes.

Beside a state in 8 bits it writes what a receiver uses, too.
"""

from . import shared
from .arithmetic import HALF_SCALE, SMALL_FLOAT, called, inlined, read_row
from .bits import decoder
from .blocks import payload_of, section_of, state_of
from .digits import decode_digits, take_digits
from .means import read_means
from .parts import ROW, copy_planes, is_staged, parts_of, read_channels, write_parts
from .starts import start_token
from .states import read_state, used_at, write_state
from .trellis import copy_rows, move_by_paths, plane_room, rows_at
from .trend import read_trends, write_trends
from .vectors import (
    LANES,
    all_floats,
    float_at,
    whole_at,
)


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
    channels, item, order = whole_at(common + shared.CHANNELS), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.ORDER)
    half_scales, bias, starts = (
        whole_at(common + shared.HALF_SCALES), whole_at(common + shared.U_BIAS), whole_at(common + shared.STARTS),
    )  # fmt: skip
    staged = is_staged(common) or starts > 0
    base = state_of(common, section, block)
    block_trend, state_step = base + whole_at(common + shared.TREND_AT), channels * item
    payload = payload_of(common, section, block)

    parts, _, _, width = parts_of(common)
    row_bytes = 4 * width
    rest, us = scratch, scratch + 64
    v = us + 2 * ROW
    beta, room = v + row_bytes, v + 2 * row_bytes
    held_row, trend_rows, batch = v + 3 * row_bytes, v + 4 * row_bytes, min(LANES, max(1, shared.BATCH_NUMBERS // width))
    if whole_at(common + shared.TRELLIS):
        room = rows_at(trend_rows + batch * row_bytes)
    planes = read_channels(common, payload, v, beta, rest)
    if whole_at(common + shared.CENTRED):
        read_means(common, planes, beta, width, rest)
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
        if staged:
            for token in range(start, start + count):
                if order > 0:
                    read_state(held_row, trend_rows, base, token, order, common, rest)
                _decode_tokens(common, planes, room, token, 1, us + 4 * parts * (token - start), held_row, 0, trend_rows, v, beta)
                used = used_at(section, block, token, common)
                if used > 0:
                    write_parts(held_row, used, True, common, rest)
                if starts > 0:
                    start_token(common, held_row, width, base, token, trend_rows, rest)
                elif order > 0:
                    write_state(held_row, trend_rows, base, token, order, common, rest)
                else:
                    write_parts(held_row, base + token * state_step, False, common, rest)
        else:
            _decode_tokens(common, planes, room, start, count, us, base + start * state_step, state_step, trend_rows, v, beta)
        if trend_apart:
            write_trends(trend_rows, row_bytes, block_trend, start, count, common, rest)


@inlined
def _decode_tokens(common, planes, room, first, count, us, held, held_step, trend, v, beta):
    """``count`` tokens' state from ``first`` on by their bits or digits, or with order 0 they are put at ``held``.

    ``us``: their scales; ``held``, ``trend``: rows of the first one's, those of a trend one behind the other; ``room``: for a
    token's planes.
    """
    bits = whole_at(common + shared.BITS)
    told = common, planes, room, first, count, us, held, held_step, trend, v, beta
    if whole_at(common + shared.TRELLIS):
        _decode_paths(*told)
    elif bits == 0:
        _decode_digits(*told)
    elif whole_at(common + shared.CENTRED):
        if bits == 4:
            _decode_centred_4(*told)
        else:
            _decode_centred_5(*told)
    elif bits == 1:
        _decode_1(*told)
    elif bits == 2:
        _decode_2(*told)
    elif bits == 3:
        _decode_3(*told)
    else:
        _decode_4(*told)


def _by_tokens(decode, digits=False):
    """``_decode_tokens`` of one kind of code, of which ``decode`` does a part of a token: ``digits`` or bits."""

    @called
    def decode_tokens(common, planes, room, first, count, us, held, held_step, trend, v, beta):
        order, ragged = whole_at(common + shared.ORDER), whole_at(common + shared.RAGGED)
        parts, _, end_first, width = parts_of(common)
        plane_bytes = (whole_at(common + shared.CHANNELS) + 7) // 8
        plane_step, source = whole_at(common + shared.TOKENS) * plane_bytes, planes + first * plane_bytes
        for token in range(first, first + count):
            packed, step = source, plane_step
            if ragged or digits:
                packed, step = room, width // 8
            if digits:
                take_digits(common, packed, step, planes, token)
            elif ragged:
                copy_planes(common, source, plane_step, packed, step, False)
            begin, end = 0, end_first
            for u_at in range(us, us + 4 * parts, 4):
                decode(common, packed, step, begin, end, v, all_floats(float_at(u_at)), order, held, trend, beta)
                begin, end = end_first, width
            source, us, held, trend = source + plane_bytes, us + 4 * parts, held + held_step, trend + 4 * width

    return decode_tokens


_decode_digits = _by_tokens(decode_digits, digits=True)
_decode_1, _decode_2, _decode_3, _decode_4 = (_by_tokens(decoder(bits)) for bits in range(1, 5))
_decode_centred_4, _decode_centred_5 = (_by_tokens(decoder(bits, True)) for bits in (4, 5))


@called
def _decode_paths(common, planes, room, first, count, us, held, held_step, trend, v, beta):
    """The same of a trellis. ``room``: for planes of a batch as ``trellis.rows_at`` tells, and one token's signs and sizes behind them."""
    bits, plane_bytes = whole_at(common + shared.BITS), (whole_at(common + shared.CHANNELS) + 7) // 8
    row_room, plane_step = plane_room(whole_at(common + shared.CHANNELS)), whole_at(common + shared.TOKENS) * plane_bytes
    for row in range(count):
        copy_rows(common, planes + (first + row) * plane_bytes, plane_step, room + row * bits * row_room, row_room)
    signs = room + LANES * bits * row_room
    move_by_paths(common, room, signs, v, us, 8, 4, count, held, held_step, trend, beta)
