"""The kernels of codecs with one scale a token and a byte an element (``codecs._token_scales``): a token at a time, in the
parts of a row in which a state keeps it.
"""

from . import shared
from .arithmetic import (
    FLOAT32,
    clear,
    inlined,
    largest_bits,
    magnitude,
    rounded_up,
    signed_byte_value,
    whole_bits,
)
from .blocks import payload_of, section_of, state_of, x_of
from .parts import differences, move, read_betas, read_parts, write_parts
from .starts import start_token
from .states import read_state, set_state, used_at, write_state
from .trend import read_trend, write_trend
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    as_floats,
    below,
    bits_of,
    bytes_at,
    clear_bytes,
    copy_bytes,
    either,
    either_int,
    equal,
    single_at,
    floats_at,
    int_at,
    largest_of,
    put_bytes,
    put_floats,
    put_ints,
    put_short,
    short_at,
    value_of,
    whole_at,
)

_INFINITY = 0x7F800000


@inlined
def _whole_byte(values, most):
    """The codes of Floats, rounded to the nearest even, in the lowest bytes."""
    values = either(above(values, all_floats(-most)), values, all_floats(-most))
    values = either(below(values, all_floats(most)), values, all_floats(most))
    return whole_bits(values)


@inlined
def _float_byte(values, most):
    """e4m3's bits of Floats, likewise."""
    size = magnitude(values)
    size = either(below(size, all_floats(most)), size, all_floats(most))
    bits = bits_of(size)
    normal = ((bits + all_ints(0x7FFFF) + ((bits >> all_ints(20)) & all_ints(1))) >> all_ints(20)) - all_ints((127 - 7) * 8)
    # below 2^-6 e4m3 counts in steps of 2^-9, which are the last place of float32 numbers around 2^14
    small = bits_of(size + all_floats(16384.0)) & all_ints(15)
    code = either_int(below(size, all_floats(0.015625)), small, normal)
    return code | ((bits_of(values) >> all_ints(24)) & all_ints(0x80))


@inlined
def _float_byte_value(codes):
    size = codes & all_ints(0x7F)
    normal = value_of((size << all_ints(20)) + all_ints((127 - 7) << 23))
    value = either(below(size, all_ints(8)), as_floats(size) * all_floats(0.001953125), normal)
    value = value_of(bits_of(value) | ((codes & all_ints(0x80)) << all_ints(24)))
    return either(equal(size, all_ints(0x7F)), all_floats(0.0), value)


@inlined
def _scale_value(bits, largest):
    """A vector of nothing but the scale of these bits."""
    value = value_of(all_ints(bits << 16))
    value = either(below(magnitude(value), value_of(all_ints(_INFINITY))), value, all_floats(0.0))
    value = either(above(value, all_floats(-largest)), value, all_floats(-largest))
    return either(below(value, all_floats(largest)), value, all_floats(largest))


def _coder(code_of):
    @inlined
    def code_part(row, target, count, scale, most, rest):
        whole = count // LANES * LANES
        for c in range(0, whole, LANES):
            put_bytes(target + c, code_of(floats_at(row + 4 * c) / scale, most))
        if whole < count:
            put_bytes(rest, code_of(floats_at(row + 4 * whole) / scale, most))
            copy_bytes(rest, target + whole, count - whole)

    @inlined
    def code(row, target, middle, channels, scale, most, rest):
        code_part(row, target, middle, scale, most, rest)
        if middle < channels:
            code_part(row + 4 * rounded_up(middle), target + middle, channels - middle, scale, most, rest)

    return code


def _decoder(value_of_code):
    @inlined
    def decode_part(source, row, count, scale, rest):
        whole = count // LANES * LANES
        for c in range(0, whole, LANES):
            put_floats(row + 4 * c, value_of_code(bytes_at(source + c)) * scale)
        if whole < count:
            clear_bytes(rest, LANES)
            copy_bytes(source + whole, rest, count - whole)
            put_floats(row + 4 * whole, value_of_code(bytes_at(rest)) * scale)

    @inlined
    def decode(source, row, middle, channels, scale, rest):
        decode_part(source, row, middle, scale, rest)
        if middle < channels:
            decode_part(source + middle, row + 4 * rounded_up(middle), channels - middle, scale, rest)

    return decode


_code_float, _code_whole = _coder(_float_byte), _coder(_whole_byte)
_decode_float, _decode_whole = _decoder(_float_byte_value), _decoder(signed_byte_value)


def per_token_encode_kernel(common, sections, first, last, scratch):
    """As ``encode_kernel``; of a keyframe, starts a state."""
    blocks, tokens, channels = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    kind, item, floats = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.FLOATS)
    middle, starts, order = whole_at(common + shared.MIDDLE), whole_at(common + shared.STARTS), whole_at(common + shared.ORDER)
    width, moves = rounded_up(middle) + rounded_up(channels - middle), order > 0 and whole_at(common + shared.FEEDBACK) != 0
    most, largest = single_at(common + shared.MOST), single_at(common + shared.LARGEST_SCALE)
    as_they_lie = kind == FLOAT32 and channels % LANES == 0 and middle == channels
    staged = not as_they_lie or whole_at(common + shared.EIGHT_BIT) > 0
    rest, row, decoded = scratch, scratch + 64, scratch + 64 + 4 * width
    # of what starts a state nothing is held
    held_row, trend, beta = decoded + 4 * width, decoded + 8 * width, decoded + 12 * width
    seen = 0
    for index in range(first, last):
        token, section = index % tokens, section_of(common, sections, index // tokens)
        block = index // tokens % blocks
        given = x_of(common, section, block)
        given += token * whole_at(common + shared.X_TOKEN_STEP)
        base = state_of(common, section, block)
        place = base + token * channels * item
        payload = payload_of(common, section, block)
        target = payload + 2 * tokens + token * channels
        x, held = given, place
        if staged:
            read_parts(row, x, kind, 0, item, common, rest)
            x = row
        if order == 2 and (token == 0 or index == first):
            read_betas(common, payload, beta, rest)
        if staged and order > 0:
            read_state(held_row, trend, base, token, order, common, rest)
            held = held_row
        elif order == 2:
            read_trend(trend, base + whole_at(common + shared.TREND_AT), token, common, rest)
        if order > 0:
            top = differences(row, x, held, trend, beta, order, 0, width)
            x = row
        else:
            top = largest_of(largest_bits(x, 0, width))
        if top >= _INFINITY:
            seen, top = 1, 0
        put_ints(rest, bits_of(value_of(all_ints(top)) / all_floats(most)))
        bits = int_at(rest)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        put_short(payload + 2 * token, bits)
        scale = _scale_value(bits, largest)
        if bits == 0:
            clear_bytes(target, channels)
        elif floats:
            _code_float(x, target, middle, channels, scale, most, rest)
        else:
            _code_whole(x, target, middle, channels, scale, most, rest)
        if moves or starts > 0:
            if bits == 0:
                clear(decoded, width)
            elif floats:
                _decode_float(target, decoded, middle, channels, scale, rest)
            else:
                _decode_whole(target, decoded, middle, channels, scale, rest)
        if starts > 0:
            start_token(common, decoded, width, base, token, held_row, rest)
        if moves:
            _move_token(common, decoded, width, base, token, order, held, trend, beta, staged, 0, rest)
        elif order > 0:
            set_state(held_row, trend, width, given, base, token, order, common, rest)
    return seen


@inlined
def _move_token(common, decoded, width, base, token, order, held, trend, beta, staged, used, rest):
    """A token's state by what was ``decoded``. ``held``: its base's row, ``staged`` or in its place. ``used``: where what a
    receiver uses goes, or 0.
    """
    for c in range(0, 4 * width, 4 * LANES):
        move(order, held + c, trend + c, beta + c, floats_at(decoded + c), all_floats(1.0))
    if used > 0:
        write_parts(held, used, True, common, rest)
    if staged:
        write_state(held, trend, base, token, order, common, rest)
    elif order == 2:
        write_trend(trend, base + whole_at(common + shared.TREND_AT), token, common, rest)


def per_token_decode_kernel(common, sections, first, last, scratch):
    """As ``decode_kernel``, or of a keyframe."""
    blocks, tokens, channels = whole_at(common + shared.BLOCKS), whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    kind, item, floats = whole_at(common + shared.KIND), whole_at(common + shared.ITEM_BYTES), whole_at(common + shared.FLOATS)
    middle, starts, order = whole_at(common + shared.MIDDLE), whole_at(common + shared.STARTS), whole_at(common + shared.ORDER)
    width = rounded_up(middle) + rounded_up(channels - middle)
    as_they_lie = kind == FLOAT32 and channels % LANES == 0 and middle == channels
    staged = not as_they_lie or whole_at(common + shared.EIGHT_BIT) > 0
    largest = single_at(common + shared.LARGEST_SCALE)
    rest, decoded, held_row = scratch, scratch + 64, scratch + 64 + 4 * width
    trend, beta = held_row + 4 * width, held_row + 8 * width
    for index in range(first, last):
        token, section = index % tokens, section_of(common, sections, index // tokens)
        block = index // tokens % blocks
        payload = payload_of(common, section, block)
        source = payload + 2 * tokens + token * channels
        scale = _scale_value(short_at(payload + 2 * token), largest)
        if floats:
            _decode_float(source, decoded, middle, channels, scale, rest)
        else:
            _decode_whole(source, decoded, middle, channels, scale, rest)
        base = state_of(common, section, block)
        place, used = base + token * channels * item, used_at(section, block, token, common)
        if starts > 0:
            if used > 0:
                write_parts(decoded, used, True, common, rest)
            start_token(common, decoded, width, base, token, held_row, rest)
        elif order == 0:
            write_parts(decoded, place, False, common, rest)
        else:
            held = place
            if order == 2 and (token == 0 or index == first):
                read_betas(common, payload, beta, rest)
            if staged:
                held = held_row
                read_state(held, trend, base, token, order, common, rest)
            elif order == 2:
                read_trend(trend, base + whole_at(common + shared.TREND_AT), token, common, rest)
            _move_token(common, decoded, width, base, token, order, held, trend, beta, staged, used, rest)
    return 0
