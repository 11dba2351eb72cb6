"""Vectors of 16 numbers, the kernels' arithmetic, in LLVM's terms, whatever registers a CPU has for them.

Left to itself LLVM finds no vectors in a loop that packs bits; comparing 16 numbers and keeping the 16 answers as bits
is two instructions where there are mask registers, a few elsewhere. ``Floats`` are float32, ``Ints`` int32, of which
sums wrap, a ``Mask`` is 16 answers. + - * / are single IEEE operations, nothing is fused or reassociated, for that would
part the two ends' bases. An address is an int64; memory need not be aligned.
"""

import hashlib
import itertools
import operator

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

# numba makes machine code of a function and then takes the code that LLVM's last passes left over into its callers, to be
# optimised again. Those passes part an address in a pointer and an offset, and may take either for the pointer; where an
# offset, as a pointer, turns out to be 0, storing through it counts as impossible, and goes. Sums of whole numbers stay.
binding.set_option("cfx", "-addr-sink-using-gep=false")

LANES = 16
_FLOAT, _INT, _SHORT, _BYTE, _WHOLE = ir.FloatType(), ir.IntType(32), ir.IntType(16), ir.IntType(8), ir.IntType(64)


class _Vector(types.Type):
    def __init__(self, name, item):
        super().__init__(name=name)
        self.llvm = _vector_of(item)


def _vector_of(item):
    return ir.VectorType(item, LANES)


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, vector.llvm)


Floats, Ints, Mask = _Vector("Floats", _FLOAT), _Vector("Ints", _INT), _Vector("Mask", ir.IntType(1))


def operation(result, arity):
    """Decorates ``emit(builder, *values)``: a function of ``arity`` arguments that gives ``result``."""

    def decorate(emit):
        def typed(*arguments):
            def lower(context, builder, signature, values):
                made = emit(builder, *values)
                return context.get_dummy_value() if result is types.none else made

            return result(*arguments), lower

        if arity == 1:
            return intrinsic(lambda typing_context, a: typed(a))
        if arity == 2:
            return intrinsic(lambda typing_context, a, b: typed(a, b))
        return intrinsic(lambda typing_context, a, b, c: typed(a, b, c))

    return decorate


# memory: sixteen numbers at an address, or one


def _load(result, stored, signed=False, told=False):
    """Reads ``stored``; fewer bits than the result's are an unsigned number unless it is ``signed``. ``told``: of what a kernel
    is told, which nothing changes meanwhile, so that no loop reads it again.
    """
    wanted = getattr(result, "llvm", _INT)

    @operation(result, 1)
    def load(builder, address):
        found = builder.load(builder.inttoptr(address, stored.as_pointer()), align=1)
        if told:
            found.set_metadata("invariant.load", builder.module.add_metadata([]))
        if stored not in (_SHORT, _BYTE, _vector_of(_SHORT), _vector_of(_BYTE)):
            return found
        return builder.sext(found, wanted) if signed else builder.zext(found, wanted)

    return load


def _store(stored):
    """Writes the low bits of a value as ``stored``."""

    @operation(types.none, 2)
    def store(builder, address, value):
        value = value if value.type == stored else builder.trunc(value, stored)
        builder.store(value, builder.inttoptr(address, stored.as_pointer()), align=1)

    return store


floats_at, ints_at = _load(Floats, Floats.llvm), _load(Ints, Ints.llvm)
shorts_at, bytes_at = _load(Ints, _vector_of(_SHORT)), _load(Ints, _vector_of(_BYTE))
signed_bytes_at = _load(Ints, _vector_of(_BYTE), signed=True)
put_floats, put_ints = _store(Floats.llvm), _store(Ints.llvm)
put_shorts, put_bytes = _store(_vector_of(_SHORT)), _store(_vector_of(_BYTE))
float_at, int_at = _load(types.float32, _FLOAT), _load(types.int32, _INT)
whole_at, single_at = _load(types.int64, _WHOLE, told=True), _load(types.float32, _FLOAT, told=True)
short_at, byte_at = _load(types.int32, _SHORT), _load(types.int32, _BYTE)
put_float, put_int, put_short, put_byte = _store(_FLOAT), _store(_INT), _store(_SHORT), _store(_BYTE)


@operation(types.none, 3)
def copy_bytes(builder, source, target, count):
    pointer, kind = _BYTE.as_pointer(), [_BYTE.as_pointer(), _BYTE.as_pointer(), _WHOLE]
    move = builder.module.declare_intrinsic("llvm.memmove", kind)
    places = [builder.inttoptr(address, pointer) for address in (target, source)]
    builder.call(move, [*places, _wide(builder, count), ir.Constant(ir.IntType(1), 0)])


@operation(types.none, 2)
def clear_bytes(builder, target, count):
    fill = builder.module.declare_intrinsic("llvm.memset", [_BYTE.as_pointer(), _WHOLE])
    place = builder.inttoptr(target, _BYTE.as_pointer())
    builder.call(fill, [place, ir.Constant(_BYTE, 0), _wide(builder, count), ir.Constant(ir.IntType(1), 0)])


@operation(types.none, 1)
def prefetch(builder, address):
    """The line at ``address``, which need not be anybody's, will be wanted soon."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT])
    name = "llvm.prefetch.p0i8"
    call = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    read, keep, data = (ir.Constant(_INT, number) for number in (0, 3, 1))
    builder.call(call, [builder.inttoptr(address, _BYTE.as_pointer()), read, keep, data])


def _wide(builder, number):
    return number if number.type == _WHOLE else builder.sext(number, _WHOLE)


def table_of(numbers):
    """A function that gives sixteen times one of these float32, by its place among them. They are part of the code."""
    kind, values = ir.ArrayType(_FLOAT, len(numbers)), [float(number) for number in numbers]
    name = f"cfx.table.{hashlib.blake2b(repr(values).encode(), digest_size=8).hexdigest()}"

    @operation(Floats, 1)
    def pick(builder, place):
        table = builder.module.globals.get(name)
        if table is None:
            table = ir.GlobalVariable(builder.module, kind, name)
            table.linkage, table.global_constant, table.initializer = "internal", True, ir.Constant(kind, values)
        at = builder.gep(table, [ir.Constant(_INT, 0), _wide(builder, place)], inbounds=True)
        return everywhere(builder, builder.load(at))

    return pick


# sixteen times one number


def everywhere(builder, item):
    """A vector of nothing but ``item``, as it is emitted."""
    nothing = ir.Constant(_vector_of(item.type), ir.Undefined)
    first = builder.insert_element(nothing, item, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(Ints.llvm, [0] * LANES))


@operation(Floats, 1)
def all_floats(builder, item):
    return everywhere(builder, item if item.type == _FLOAT else builder.fptrunc(item, _FLOAT))


@operation(Ints, 1)
def all_ints(builder, item):
    return everywhere(builder, item if item.type == _INT else builder.trunc(item, _INT))


# the same bits as something else


@operation(Ints, 1)
def bits_of(builder, values):
    return builder.bitcast(values, Ints.llvm)


@operation(Floats, 1)
def value_of(builder, bits):
    return builder.bitcast(bits, Floats.llvm)


@operation(types.int32, 1)
def bits_of_one(builder, value):
    """Of a single float32."""
    return builder.bitcast(value, _INT)


@operation(types.float32, 1)
def one_of_bits(builder, bits):
    return builder.bitcast(bits if bits.type == _INT else builder.trunc(bits, _INT), _FLOAT)


@operation(types.int32, 1)
def bits_of_mask(builder, mask):
    """The answers as the low 16 bits, the first one lowest."""
    return builder.zext(builder.bitcast(mask, _SHORT), _INT)


@operation(types.int32, 1)
def lowest_set(builder, bits):
    """Which bit of an int32 other than 0 is the lowest one."""
    return builder.cttz(bits, ir.Constant(ir.IntType(1), 1))


@operation(Mask, 1)
def mask_of_bits(builder, bits):
    return builder.bitcast(builder.trunc(bits, _SHORT), Mask.llvm)


@operation(Floats, 1)
def as_floats(builder, numbers):
    """Whole numbers below 2^24 in magnitude as float32."""
    return builder.sitofp(numbers, Floats.llvm)


# comparisons and choices, of Floats or of Ints; NaN fails every comparison


def _compared(sign):
    @operation(Mask, 2)
    def compare(builder, a, b):
        return builder.fcmp_ordered(sign, a, b) if a.type == Floats.llvm else builder.icmp_signed(sign, a, b)

    return compare


at_least, above, below, equal = _compared(">="), _compared(">"), _compared("<"), _compared("==")


@operation(Floats, 3)
def either(builder, mask, a, b):
    return builder.select(mask, a, b)


@operation(Ints, 3)
def either_int(builder, mask, a, b):
    return builder.select(mask, a, b)


@operation(Ints, 2)
def larger(builder, a, b):
    """In each lane."""
    return emit_larger(builder, a, b)


def emit_larger(builder, a, b):
    """Ints, as ``larger`` of them is emitted."""
    return builder.select(builder.icmp_signed(">", a, b), a, b)


def _reduced(name):
    @operation(types.int32, 1)
    def reduce(builder, numbers):
        kind = ir.FunctionType(_INT, [Ints.llvm])
        found = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(found, [numbers])

    return reduce


largest_of = _reduced(f"llvm.vector.reduce.smax.v{LANES}i32")
sum_of = _reduced(f"llvm.vector.reduce.add.v{LANES}i32")
@operation(Floats, 1)
def root_of(builder, values):
    name = f"llvm.sqrt.v{LANES}f32"
    kind = ir.FunctionType(Floats.llvm, [Floats.llvm])
    return builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), [values])


@operation(Floats, 1)
def negated(builder, values):
    return builder.fneg(values)


@operation(Floats, 3)
def multiplied_and_added(builder, a, b, c):
    """a · b + c, rounded once where a CPU does that at once: for what one end alone computes, or what needs no rounding."""
    return _fused(builder, a, b, c)


def _fused(builder, a, b, c):
    name = f"llvm.fmuladd.v{LANES}f32"
    kind = ir.FunctionType(Floats.llvm, [Floats.llvm] * 3)
    return builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), [a, b, c])


TILE_ROWS, TILE_PANELS = 8, 2


def _tile(fused):
    """A function that puts at ``target`` 8 rows of 2 vectors: for each row the sum of its single numbers times as many vectors.

    A row's numbers are ``step`` bytes apart; vectors of either panel lie side by side. Sums stay in registers, of as many rows
    and panels at a time as there are registers for. They begin at 0 and are rounded as by ``multiplied_and_added`` if
    ``fused``; else each operation is rounded, and a sum begins at its first product.
    """
    # 32 registers of a vector each, or 16 of half a one or less
    rows, panels = (TILE_ROWS, TILE_PANELS) if binding.get_host_cpu_features().get("avx512f") else (4, 1)

    def added(builder, number, vector, total):
        if fused:
            return _fused(builder, number, vector, total)
        return builder.fadd(total, builder.fmul(number, vector))

    def lower(context, builder, signature, values):
        factor, row_step, step, panel, panel_step, count, target, target_row_step, target_panel_step = values

        def at(kind, start, *moves):
            for number, each in moves:
                number = number if isinstance(number, ir.Value) else ir.Constant(_WHOLE, number)
                start = builder.add(start, builder.mul(number, each))
            return builder.inttoptr(start, kind.as_pointer())

        # -0.0 leaves any number what it is, a 0 of either sign, too
        nothing, vector_bytes = ir.Constant(Floats.llvm, [0.0 if fused else -0.0] * LANES), ir.Constant(_WHOLE, 4 * LANES)
        for first_row, first in itertools.product(range(0, TILE_ROWS, rows), range(0, TILE_PANELS, panels)):
            here = range(first_row, first_row + rows), range(first, first + panels)
            sums = {place: cgutils.alloca_once_value(builder, nothing) for place in itertools.product(*here)}
            with cgutils.for_range(builder, count) as loop:
                places = {each: at(Floats.llvm, panel, (each, panel_step), (loop.index, vector_bytes)) for each in here[1]}
                vectors = {each: builder.load(place, align=4) for each, place in places.items()}
                for row in here[0]:
                    number = builder.load(at(_FLOAT, factor, (row, row_step), (loop.index, step)), align=4)
                    number = everywhere(builder, number)
                    for each, vector in vectors.items():
                        builder.store(added(builder, number, vector, builder.load(sums[row, each])), sums[row, each])
            for (row, each), total in sums.items():
                place = at(Floats.llvm, target, (row, target_row_step), (each, target_panel_step))
                builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    @intrinsic
    def put(context, factor, row_step, step, panel, panel_step, count, target, target_row_step, target_panel_step):
        return types.none(*[types.int64] * 9), lower

    return put


put_tile, put_rounded_tile = _tile(True), _tile(False)


# operators


def _overload(symbol, on_floats, on_ints):
    of_floats = on_floats and operation(Floats, 2)(lambda builder, a, b: getattr(builder, on_floats)(a, b))
    of_ints = on_ints and operation(Ints, 2)(lambda builder, a, b: getattr(builder, on_ints)(a, b))

    @overload(symbol, inline="always")
    def operate(a, b):
        if on_floats and a == Floats and b == Floats:
            return lambda a, b: of_floats(a, b)
        if on_ints and a == Ints and b == Ints:
            return lambda a, b: of_ints(a, b)


_overload(operator.add, "fadd", "add")
_overload(operator.sub, "fsub", "sub")
_overload(operator.mul, "fmul", None)
_overload(operator.truediv, "fdiv", None)
_overload(operator.and_, None, "and_")
_overload(operator.or_, None, "or_")
_overload(operator.xor, None, "xor")
_overload(operator.lshift, None, "shl")
# of the bit pattern: what comes in is not negative, or is cut off again
_overload(operator.rshift, None, "lshr")
