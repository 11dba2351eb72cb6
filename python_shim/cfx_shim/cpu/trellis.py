"""The paths of ``codecs._trellis``: 16 tokens side by side, one in each lane, so that a channel's 8 costs are 8 vectors.

Which branches survive, and which level of each subset is nearest, are bits of all lanes together, 16 of them a number; so
is the state of every lane on the way back, where a step is a choice among 8 such numbers, bit by bit.

Scratch, in this order: costs of the states; the bits of the best path, a plane after the other; ``_STEP`` bytes a channel
of what is found on the way forward, survivors and then levels; a path's values with channels for rows; and, from ``rows_at``
on, rows of bit planes as in a message, ``plane_room`` bytes each.
"""

from . import shared
from .arithmetic import called, inlined
from .lanes import turn
from .parts import ROW, by_vectors, parts_of
from .vectors import (
    LANES,
    above,
    all_floats,
    all_ints,
    below,
    bits_of_mask,
    clear_bytes,
    copy_bytes,
    either,
    either_int,
    float_at,
    floats_at,
    ints_at,
    mask_of_bits,
    negated,
    put_floats,
    put_ints,
    put_short,
    short_at,
    shorts_at,
    single_at,
    whole_at,
)

# channels of a path; bytes of scratch for what is found of a channel, and for a path's bits of one plane
_PATH, _STEP, _CODES_STEP = 256, 32, 2 * 256
_BOUND = 64.0
# bytes, of which ``shared.PATHS_BYTES`` is the sum
_COSTS_BYTES, _CODES_BYTES, _FOUND_BYTES, _TURNED_BYTES = 8 * ROW, 3 * _CODES_STEP, _PATH * _STEP, _PATH * ROW
assert shared.PATHS_BYTES == _COSTS_BYTES + _CODES_BYTES + _FOUND_BYTES + _TURNED_BYTES
# of a vector of 16 words of a bit plane: those that begin no path
_GOES_ON = 0xFFFF ^ sum(1 << word for word in range(0, LANES, _PATH // 32))


# the way forward


@inlined
def _bounded(x, bound):
    x = either(above(x, bound), bound, x)
    return either(below(x, negated(bound)), negated(bound), x)


@inlined
def _squared(missed):
    return missed * missed


@inlined
def _errors_1(x, scale, levels, place):
    """The least squared error of the levels of each subset. -s·l is s·(-l)."""
    low, high = scale * levels[0], scale * levels[1]
    return _squared(x + high), _squared(x + low), _squared(x - low), _squared(x - high)


@inlined
def _nearer(x, scale, one, other, place):
    """Of level -``one`` and ``other`` of a subset; where the second one is nearer goes to ``place``."""
    error, least = _squared(x - scale * other), _squared(x + scale * one)
    is_less = below(error, least)
    put_short(place, bits_of_mask(is_less))
    return either(is_less, error, least)


@inlined
def _errors_2(x, scale, levels, place):
    """Likewise. In ``place``: of each subset, where its second level is nearer."""
    return (
        _nearer(x, scale, levels[3], levels[0], place),
        _nearer(x, scale, levels[2], levels[1], place + 2),
        _nearer(x, scale, levels[1], levels[2], place + 4),
        _nearer(x, scale, levels[0], levels[3], place + 6),
    )


@inlined
def _nearest(x, scale, one, two, three, four, place):
    """Of levels -``one``, -``two``, ``three`` and ``four`` of a subset; the bits of which it is go to ``place`` and 8 beyond."""
    least, error = _squared(x + scale * one), _squared(x + scale * two)
    is_less = below(error, least)
    second, least = bits_of_mask(is_less), either(is_less, error, least)
    error = _squared(x - scale * three)
    is_less = below(error, least)
    third, least = bits_of_mask(is_less), either(is_less, error, least)
    error = _squared(x - scale * four)
    is_less = below(error, least)
    fourth = bits_of_mask(is_less)
    put_short(place, second & ~third | fourth)
    put_short(place + 8, third | fourth)
    return either(is_less, error, least)


@inlined
def _errors_3(x, scale, levels, place):
    return (
        _nearest(x, scale, levels[7], levels[3], levels[0], levels[4], place),
        _nearest(x, scale, levels[6], levels[2], levels[1], levels[5], place + 2),
        _nearest(x, scale, levels[5], levels[1], levels[2], levels[6], place + 4),
        _nearest(x, scale, levels[4], levels[0], levels[3], levels[7], place + 6),
    )


@inlined
def _survivor(low, high, place):
    """The lesser cost of the two branches to a state; where it is the second one's goes to ``place``."""
    is_less = below(high, low)
    put_short(place, bits_of_mask(is_less))
    return either(is_less, high, low)


def _forward(errors):
    """``count`` channels that share scale ``u`` of each lane; ``turned`` and ``found`` begin with the first of them."""

    @inlined
    def forward(count, turned, v, u, levels, costs, found):
        cost_0, cost_1, cost_2, cost_3 = floats_at(costs), floats_at(costs + ROW), floats_at(costs + 2 * ROW), floats_at(costs + 3 * ROW)
        cost_4, cost_5, cost_6, cost_7 = (
            floats_at(costs + 4 * ROW), floats_at(costs + 5 * ROW), floats_at(costs + 6 * ROW), floats_at(costs + 7 * ROW),
        )  # fmt: skip
        for c in range(count):
            scale, place = u * all_floats(float_at(v + 4 * c)), found + _STEP * c
            x = _bounded(floats_at(turned + ROW * c), scale * all_floats(_BOUND))
            error_0, error_1, error_2, error_3 = errors(x, scale, levels, place + 16)
            next_0 = _survivor(cost_0 + error_0, cost_4 + error_2, place)
            next_1 = _survivor(cost_0 + error_2, cost_4 + error_0, place + 2)
            next_2 = _survivor(cost_1 + error_2, cost_5 + error_0, place + 4)
            next_3 = _survivor(cost_1 + error_0, cost_5 + error_2, place + 6)
            next_4 = _survivor(cost_2 + error_1, cost_6 + error_3, place + 8)
            next_5 = _survivor(cost_2 + error_3, cost_6 + error_1, place + 10)
            next_6 = _survivor(cost_3 + error_3, cost_7 + error_1, place + 12)
            next_7 = _survivor(cost_3 + error_1, cost_7 + error_3, place + 14)
            cost_0, cost_1, cost_2, cost_3 = next_0, next_1, next_2, next_3
            cost_4, cost_5, cost_6, cost_7 = next_4, next_5, next_6, next_7
        put_floats(costs, cost_0)
        put_floats(costs + ROW, cost_1)
        put_floats(costs + 2 * ROW, cost_2)
        put_floats(costs + 3 * ROW, cost_3)
        put_floats(costs + 4 * ROW, cost_4)
        put_floats(costs + 5 * ROW, cost_5)
        put_floats(costs + 6 * ROW, cost_6)
        put_floats(costs + 7 * ROW, cost_7)

    return forward


_forward_1, _forward_2, _forward_3 = (_forward(errors) for errors in (_errors_1, _errors_2, _errors_3))


@inlined
def _go_forward(bits, count, deltas, row_bytes, v, u, levels, turned, costs, found):
    """``count`` channels more, from ``deltas`` and ``v`` on."""
    for c in range(0, count, LANES):
        turn(deltas + 4 * c, row_bytes, turned + ROW * c)
    if bits == 1:
        _forward_1(count, turned, v, u, levels, costs, found)
    elif bits == 2:
        _forward_2(count, turned, v, u, levels, costs, found)
    else:
        _forward_3(count, turned, v, u, levels, costs, found)


# the way back


@inlined
def _chosen(choice, other, one):
    """Bits of ``one`` where ``choice`` has them set, elsewhere those of ``other``."""
    return other ^ ((other ^ one) & choice)


def _back(bits):
    """From the state of least cost: the bits of the path that leads there to ``codes``."""

    @inlined
    def back(count, costs, found, codes):
        least, one, two, three = floats_at(costs), 0, 0, 0
        for state in range(1, 8):
            cost = floats_at(costs + ROW * state)
            is_less = below(cost, least)
            least, lanes = either(is_less, cost, least), bits_of_mask(is_less)
            one = _chosen(lanes, one, -(state & 1))
            two = _chosen(lanes, two, -(state >> 1 & 1))
            three = _chosen(lanes, three, -(state >> 2))
        for c in range(count - 1, -1, -1):
            place = found + _STEP * c
            low = _chosen(one, short_at(place), short_at(place + 2))
            low = _chosen(two, low, _chosen(one, short_at(place + 4), short_at(place + 6)))
            high = _chosen(one, short_at(place + 8), short_at(place + 10))
            high = _chosen(two, high, _chosen(one, short_at(place + 12), short_at(place + 14)))
            oldest = _chosen(three, low, high)
            put_short(codes + 2 * c, one)
            upper = one ^ two ^ oldest
            for plane in range(bits - 1):
                at = place + 16 + 8 * plane
                low = _chosen(three, short_at(at), short_at(at + 2))
                high = _chosen(three, short_at(at + 4), short_at(at + 6))
                put_short(codes + _CODES_STEP * (plane + 1) + 2 * c, _chosen(upper, low, high))
            one, two, three = two, three, oldest

    return back


_back_1, _back_2, _back_3 = (_back(bits) for bits in (1, 2, 3))


@inlined
def plane_room(channels):
    """Bytes from one plane of a row in scratch to the next: whole vectors of words."""
    return (channels + (32 * LANES - 1)) // (32 * LANES) * ROW


@inlined
def rows_at(room):
    """Where rows of planes begin. A word before it can be read."""
    return room + shared.PATHS_BYTES


@inlined
def find_paths(common, deltas, row_bytes, v, us, second, count, room):
    """The best paths of up to 16 tokens, whose planes are put one after the other into the rows of ``room``.

    ``deltas``: what is to be coded, rows of parts of which the second begins at ``second``; ``us``: two vectors of scales.
    """
    channels, middle = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE)
    bits, levels = whole_at(common + shared.BITS), _levels(common)
    costs, codes, found = room, room + _COSTS_BYTES, room + _COSTS_BYTES + _CODES_BYTES
    turned, rows, step = found + _FOUND_BYTES, rows_at(room), plane_room(channels)
    for begin in range(0, channels, _PATH):
        end = min(channels, begin + _PATH)
        put_floats(costs, all_floats(0.0))
        for state in range(1, 8):
            put_floats(costs + ROW * state, all_floats(float("inf")))
        first = max(0, min(end, middle) - begin)
        _go_forward(bits, first, deltas + 4 * begin, row_bytes, v + 4 * begin, floats_at(us), levels, turned, costs, found)
        behind, rest = 4 * (begin + first - middle + second), end - begin - first
        there, u = found + _STEP * first, floats_at(us + ROW)
        _go_forward(bits, rest, deltas + behind, row_bytes, v + behind, u, levels, turned, costs, there)
        length = end - begin
        # behind the last channel there are zeros
        last_vector = codes + 2 * ((length - 1) // LANES * LANES)
        for plane in range(bits):
            clear_bytes(last_vector + _CODES_STEP * plane, 2 * LANES)
        if bits == 1:
            _back_1(length, costs, found, codes)
        elif bits == 2:
            _back_2(length, costs, found, codes)
        else:
            _back_3(length, costs, found, codes)
        for c in range(0, length, LANES):
            for plane in range(bits):
                lanes, target = shorts_at(codes + _CODES_STEP * plane + 2 * c), rows + plane * step + (begin + c) // 8
                for row in range(count):
                    mine = above(lanes & all_ints(1 << row), all_ints(0))
                    put_short(target + row * bits * step, bits_of_mask(mine))


@inlined
def _levels(common):
    return (
        all_floats(single_at(common + shared.LEVELS)),
        all_floats(single_at(common + shared.LEVELS + 8)),
        all_floats(single_at(common + shared.LEVELS + 16)),
        all_floats(single_at(common + shared.LEVELS + 24)),
        all_floats(single_at(common + shared.LEVELS + 32)),
        all_floats(single_at(common + shared.LEVELS + 40)),
        all_floats(single_at(common + shared.LEVELS + 48)),
        all_floats(single_at(common + shared.LEVELS + 56)),
    )


# what a path stands for


@inlined
def _put_signs_and_sizes(row, bits, step, signs):
    """From a row's planes: those of signs and, lowest bit first, of which level it is of those above zero."""
    ones = all_ints(-1)
    for at in range(0, step, ROW):
        t = ints_at(row + at)
        before = either_int(mask_of_bits(_GOES_ON), ints_at(row + at - 4), all_ints(0))
        one, two = t << all_ints(1) | before >> all_ints(31), t << all_ints(2) | before >> all_ints(30)
        high = t ^ one ^ (t << all_ints(3) | before >> all_ints(29))
        # the bits of 4 · k + 2 · high + two, of which the uppermost is the sign; levels below zero count downwards
        sign = high if bits == 1 else ints_at(row + (bits - 1) * step + at)
        turned = sign ^ ones
        put_ints(signs + at, sign)
        put_ints(signs + step + at, two ^ turned)
        if bits > 1:
            put_ints(signs + 2 * step + at, high ^ turned)
        if bits > 2:
            put_ints(signs + 3 * step + at, ints_at(row + step + at) ^ turned)


def _mover(bits):
    """As ``decode._decoder``'s, of the planes of signs and sizes."""

    @inlined
    def decoded_at(c, told):
        levels, planes, step, v, u = told
        at = planes + c // 8
        low = mask_of_bits(short_at(at + step))
        level = either(low, levels[1], levels[0])
        if bits > 1:
            middle = mask_of_bits(short_at(at + 2 * step))
            level = either(middle, either(low, levels[3], levels[2]), level)
        if bits > 2:
            upper = either(middle, either(low, levels[7], levels[6]), either(low, levels[5], levels[4]))
            level = either(mask_of_bits(short_at(at + 3 * step)), upper, level)
        value = level * (u * floats_at(v + 4 * c))
        return either(mask_of_bits(short_at(at)), value, negated(value))

    return by_vectors(decoded_at)


def _path_mover(bits):
    """``move_by_paths`` of a codec of so many ``bits``."""
    move = _mover(bits)

    @called
    def move_by_paths(common, row, signs, v, us, u_step, second_u, count, held, held_step, trend, beta):
        channels, middle, order = whole_at(common + shared.CHANNELS), whole_at(common + shared.MIDDLE), whole_at(common + shared.ORDER)
        _, _, second, width = parts_of(common)
        step, levels, gain = plane_room(channels), _levels(common), all_floats(single_at(common + shared.GAIN))
        for _ in range(count):
            _put_signs_and_sizes(row, bits, step, signs)
            u, planes, begin, end = us, signs, 0, second
            for _ in range(2):
                told = levels, planes, step, v, all_floats(float_at(u))
                move(begin, end, order, held, trend, beta, gain, told)
                u, planes, begin, end = us + second_u, signs + (middle - second) // 8, second, width
            row, us, held, trend = row + bits * step, us + u_step, held + held_step, trend + 4 * width

    return move_by_paths


_move_by_paths_1, _move_by_paths_2, _move_by_paths_3 = (_path_mover(bits) for bits in (1, 2, 3))


@inlined
def move_by_paths(common, row, signs, v, us, u_step, second_u, count, held, held_step, trend, beta):
    """The states of ``count`` tokens by what their planes stand for, or with order 0 that is put at ``held``.

    ``row``: planes of the first, and behind them those of the others; ``signs``: room for ``BITS`` + 1 planes; ``us``: a token's
    scale, ``u_step`` bytes before the next one's and ``second_u`` before that of its second part.
    """
    bits, told = whole_at(common + shared.BITS), (common, row, signs, v, us, u_step, second_u, count, held, held_step, trend, beta)
    if bits == 1:
        _move_by_paths_1(*told)
    elif bits == 2:
        _move_by_paths_2(*told)
    else:
        _move_by_paths_3(*told)


@inlined
def copy_rows(common, source, source_step, target, target_step):
    """A token's planes between a message and scratch."""
    for plane in range(whole_at(common + shared.BITS)):
        copy_bytes(source + plane * source_step, target + plane * target_step, (whole_at(common + shared.CHANNELS) + 7) // 8)
