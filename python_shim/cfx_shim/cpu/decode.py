"""The kernel that decodes tokens and moves a receiver's state, or with order 0 writes what it decodes."""

from . import shared
from .arithmetic import FLOAT16, FLOAT32, SMALL_FLOAT, inlined, read_row, rounded_up
from .digits import decode_digits, take_digits
from .parts import ROW, copy_planes, move, read_channels, read_parts, write_parts
from .trellis import copy_rows, move_by_path, plane_room, rows_at
from .trend import read_trend, write_trend
from .vectors import (
    LANES,
    all_floats,
    all_ints,
    either,
    either_int,
    equal,
    float_at,
    floats_at,
    mask_of_bits,
    negated,
    put_floats,
    short_at,
    whole_at,
)


def _decoder(bits):
    """The other way: what a part of one token's bits stand for moves its state, or with order 0 is put at ``held``."""
    levels = 1 << (bits - 1)

    @inlined
    def decode(common, planes, plane_step, first, last, v, u, order, held, trend, beta):
        gain = all_floats(float_at(common + shared.GAIN))
        for c in range(first, last, LANES):
            index = all_ints(0)
            for plane in range(1, bits):
                is_set = mask_of_bits(short_at(planes + plane * plane_step + c // 8))
                index = index | either_int(is_set, all_ints(1 << (plane - 1)), all_ints(0))
            level = all_floats(float_at(common + shared.LEVELS))
            for step in range(1, levels):
                level = either(equal(index, all_ints(step)), all_floats(float_at(common + shared.LEVELS + 8 * step)), level)
            value = level * (u * floats_at(v + 4 * c))
            decoded = either(mask_of_bits(short_at(planes + c // 8)), value, negated(value))
            if order == 0:
                put_floats(held + 4 * c, decoded)
            else:
                move(order, held + 4 * c, trend + 4 * c, beta + 4 * c, decoded, gain)

    return decode


_decode_1, _decode_2, _decode_3, _decode_4 = (_decoder(bits) for bits in range(1, 5))


def decode_kernel(common, sections, first, last, scratch):
    """Decode tokens ``first`` to ``last``, counted likewise, into their state, or with order 0 in its place; returns 0."""
    blocks, tokens = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS)
    while first < last:
        index, begin = first // tokens, first % tokens
        end = min(tokens, begin + last - first)
        section = sections + index // blocks * shared.SECTION_BYTES
        _decode_block(common, section, index % blocks, begin, end, scratch)
        first += end - begin
    return 0


@inlined
def _decode_block(common, section, block, first, last, scratch):
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    kind, item, order = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.ORDER)
    middle, bits, half_scales = (
        whole_at(common + shared.MIDDLE), whole_at(common + shared.BITS), whole_at(common + shared.HALF_SCALES),
    )  # fmt: skip
    ragged, bias = whole_at(common + shared.RAGGED), whole_at(common + shared.U_BIAS)
    staged = ragged != 0 or kind != FLOAT32
    rank = block + (block >= whole_at(common + shared.OWN))
    base = whole_at(section + shared.STATE) + block * whole_at(common + shared.STATE_BLOCK_STEP)
    block_trend, state_step = base + whole_at(common + shared.TREND_AT), channels * item
    payload = whole_at(section + shared.PAYLOAD) + rank * whole_at(common + shared.MESSAGE_STEP)

    second = rounded_up(middle)
    width = second + rounded_up(channels - middle)
    row_bytes = 4 * width
    rest, us = scratch, scratch + 64
    v = us + 2 * ROW
    beta, own_planes = v + row_bytes, v + 2 * row_bytes
    held_row, trend = v + 3 * row_bytes, v + 4 * row_bytes
    trellis, row_room, path_row = whole_at(common + shared.TRELLIS), plane_room(channels), rows_at(v + 5 * row_bytes)
    planes = read_channels(common, payload, v, beta, rest)
    plane_bytes = (channels + 7) // 8
    plane_step = tokens * plane_bytes
    parts = 1 if half_scales else 2
    for start in range(first, last, LANES):
        count = min(LANES, last - start)
        if half_scales:
            read_row(us, payload + 2 * start, FLOAT16, 0, count, rest)
        else:
            read_row(us, payload + 2 * start, SMALL_FLOAT, bias, 2 * count, rest)
        for row in range(count):
            place = base + (start + row) * state_step
            held = place
            if staged:
                held = held_row
                if order > 0:
                    read_parts(held, place, kind, 0, item, common, rest)
            if order == 2:
                read_trend(trend, block_trend, start + row, common, rest)
            if trellis != 0:
                copy_rows(common, planes + (start + row) * plane_bytes, plane_step, path_row, row_room)
                first_u, second_u, signs = float_at(us + 8 * row), float_at(us + 8 * row + 4), path_row + bits * row_room
                move_by_path(common, path_row, signs, second, width, v, first_u, second_u, order, held, trend, beta)
            else:
                _decode_token(common, planes, start + row, own_planes, second, width, v, us + 4 * parts * row, order, held, trend, beta)
            if staged:
                write_parts(held, place, order > 0, common, rest)
            if order == 2:
                write_trend(trend, block_trend, start + row, common, rest)


@inlined
def _decode_token(common, planes, token, own_planes, second, width, v, us, order, held, trend, beta):
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
        begin, end = (0, second) if part == 0 else (second, width)
        u = all_floats(float_at(us + 4 * part))
        if bits == 0:
            decode_digits(common, packed, step, begin, end, v, u, order, held, trend, beta)
        elif bits == 1:
            _decode_1(common, packed, step, begin, end, v, u, order, held, trend, beta)
        elif bits == 2:
            _decode_2(common, packed, step, begin, end, v, u, order, held, trend, beta)
        elif bits == 3:
            _decode_3(common, packed, step, begin, end, v, u, order, held, trend, beta)
        else:
            _decode_4(common, packed, step, begin, end, v, u, order, held, trend, beta)
