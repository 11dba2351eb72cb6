"""What moves numbers from lane to lane of ``vectors``, or makes one number of a vector's fields."""

from llvmlite import ir
from numba import types

from .vectors import LANES, Floats, Ints, emit_larger, everywhere, operation

_INT, _WHOLE = ir.IntType(32), ir.IntType(64)


@operation(types.none, 3)
def turn(builder, source, step, target):
    """16 Floats at each of 16 addresses from ``source`` on, ``step`` bytes apart, to ``target`` with rows for columns."""
    kind = Floats.llvm.as_pointer()
    rows = []
    for _ in range(LANES):
        rows.append(builder.load(builder.inttoptr(source, kind), align=1))
        source = builder.add(source, step)
    # shuffled like cards: one half of the rows with the other, as often as a row's number has bits
    shuffled = [[half + place // 2 + place % 2 * LANES for place in range(LANES)] for half in (0, LANES // 2)]
    for _ in range(LANES.bit_length() - 1):
        pairs = zip(rows[: LANES // 2], rows[LANES // 2 :])
        rows = [builder.shuffle_vector(one, other, ir.Constant(Ints.llvm, order)) for one, other in pairs for order in shuffled]
    for row in rows:
        builder.store(row, builder.inttoptr(target, kind), align=1)
        target = builder.add(target, ir.Constant(_WHOLE, 4 * LANES))


def _halves():
    """For each step of ``largest_of_pairs`` the lanes of two vectors, the second's counted on from 16, that go together."""
    fours, pairs, vectors = range(4), ((0, 1), (2, 3)), (0, LANES)
    within = [[4 * four + vector + lane for four in fours for lane in pair for vector in vectors] for pair in pairs]
    beside = [[4 * four + vector + lane for four in fours for vector in vectors for lane in pair] for pair in pairs]
    of_fours = [[4 * four + lane for four in range(first, 8, 2) for lane in range(4)] for first in (0, 1)]
    return within, beside, of_fours, of_fours


_HALVES = _halves()


@operation(Ints, 1)
def largest_of_pairs(builder, address):
    """Of 16 pairs of Floats from ``address`` on, the bits of the largest magnitude of each."""
    rows = []
    for pair in range(LANES):
        sizes = []
        for half in range(2):
            place = builder.add(address, ir.Constant(_WHOLE, 4 * LANES * (2 * pair + half)))
            bits = builder.load(builder.inttoptr(place, Ints.llvm.as_pointer()), align=1)
            sizes.append(builder.and_(bits, ir.Constant(Ints.llvm, [0x7FFFFFFF] * LANES)))
        rows.append(emit_larger(builder, *sizes))
    # of two vectors one, in which each has half as many lanes
    for halves in _HALVES:
        rows = [
            emit_larger(builder, *(builder.shuffle_vector(one, other, ir.Constant(Ints.llvm, order)) for order in halves))
            for one, other in zip(rows[::2], rows[1::2])
        ]
    return rows[0]


# fields of a word

_any_of = f"llvm.vector.reduce.or.v{LANES}i32"
_FIELDS = ir.Constant(Ints.llvm, [2 * lane for lane in range(LANES)])


@operation(Ints, 1)
def fields_of(builder, word):
    """The 16 numbers of 2 bits in an int32, the lowest one first."""
    return builder.and_(builder.lshr(everywhere(builder, word), _FIELDS), ir.Constant(Ints.llvm, [3] * LANES))


@operation(Ints, 2)
def nibbles_of(builder, first, second):
    """The 8 numbers of 4 bits in an int32, the lowest one first, and those in another one."""
    halves = ir.Constant(Ints.llvm, [lane // (LANES // 2) * LANES for lane in range(LANES)])
    words = builder.shuffle_vector(everywhere(builder, first), everywhere(builder, second), halves)
    places = ir.Constant(Ints.llvm, [4 * lane % 32 for lane in range(LANES)])
    return builder.and_(builder.lshr(words, places), ir.Constant(Ints.llvm, [15] * LANES))


@operation(types.int32, 1)
def word_of_fields(builder, numbers):
    """The other way: numbers below 4."""
    kind = ir.FunctionType(_INT, [Ints.llvm])
    gathered = builder.module.globals.get(_any_of) or ir.Function(builder.module, kind, _any_of)
    return builder.call(gathered, [builder.shl(numbers, _FIELDS)])


@operation(types.float32, 1)
def total_of(builder, values):
    """The sum of 16 Floats, folded in halves."""
    half = LANES // 2
    while half:
        order = [(lane + half) % LANES for lane in range(LANES)]
        values = builder.fadd(values, builder.shuffle_vector(values, values, ir.Constant(Ints.llvm, order)))
        half //= 2
    return builder.extract_element(values, ir.Constant(_INT, 0))
