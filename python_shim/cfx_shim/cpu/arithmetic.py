"""What the CPU kernels are made of: rows of any dtype in and out of float32, exact sums, scales in 8 and 16 bits.

Compiled by ``build``; nothing here runs as Python. Every function gives the bits that plain torch gives: IEEE single
operations, nothing fused or reassociated. Rows are float32 scratch; an address is an int64. ``kind`` is a dtype:
0 float32, 1 float16, 2 bfloat16, of which the latter two are handled as integers, because LLVM's own conversions
become library calls on CPUs without them.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# no fused multiply-add and no reordering of sums: both would part the two ends' bases
inlined = njit(error_model="numpy", fastmath=False)


def _pointer(item):
    @intrinsic
    def at(typing_context, address):
        def cast(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(item)(types.int64), cast

    return at


floats_at, words_at = _pointer(types.float32), _pointer(types.uint64)
halves_at, bytes_at = _pointer(types.uint16), _pointer(types.uint8)


def _bits_of(source, target, llvm_type):
    @intrinsic
    def reinterpret(typing_context, value):
        def cast(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], llvm_type)

        return target(source), cast

    return reinterpret


as_int = _bits_of(types.float32, types.int32, ir.IntType(32))
as_float = _bits_of(types.int32, types.float32, ir.FloatType())
as_double = _bits_of(types.int64, types.float64, ir.DoubleType())


@inlined
def half_value(half):
    """float32 of a float16's bits (int32)."""
    shifted = np.int32((half & np.int32(0x7FFF)) << np.int32(13))
    finite = as_int(as_float(shifted) * np.float32(2.0**112))
    magnitude = np.int32(shifted | np.int32(0x7F800000)) if shifted >= np.int32(0x0F800000) else finite
    return as_float(np.int32(magnitude | ((half & np.int32(0x8000)) << np.int32(16))))


@inlined
def half_bits(value):
    """float16's bits (int32) of a float32, rounded to the nearest even."""
    bits = as_int(value)
    magnitude = np.int32(bits & np.int32(0x7FFFFFFF))
    sign = np.int32((bits >> np.int32(16)) & np.int32(0x8000))
    odd = np.int32((magnitude >> np.int32(13)) & np.int32(1))
    normal = np.int32(((magnitude + np.int32(0xFFF) + odd) >> np.int32(13)) - np.int32(112 << 10))
    normal = normal if normal < np.int32(0x7C00) else np.int32(0x7C00)
    # below 2^-14 a float16 counts in steps of 2^-24, which are the last place of float32 numbers around 0.5
    small = np.int32(as_int(as_float(magnitude) + np.float32(0.5)) - np.int32(0x3F000000))
    not_a_number = np.int32(np.int32(0x7E00) | ((magnitude >> np.int32(13)) & np.int32(0x3FF)))
    rounded = normal if magnitude >= np.int32(0x38800000) else small
    return np.int32((not_a_number if magnitude > np.int32(0x7F800000) else rounded) | sign)


@inlined
def row_at(address, kind, count, scratch):
    """A row of ``count`` numbers as float32: in place, or a 16-bit one widened into ``scratch``."""
    if kind == 0:
        return floats_at(address)
    halves = halves_at(address)
    if kind == 1:
        for c in range(count):
            scratch[c] = half_value(np.int32(halves[c]))
    else:
        for c in range(count):
            scratch[c] = as_float(np.int32(np.int32(halves[c]) << np.int32(16)))
    return scratch


@inlined
def put_back(row, address, kind, count, saturate):
    """Round a row of ``row_at`` that has changed into its place; float16 may saturate."""
    halves = halves_at(address)
    if kind == 1:
        largest = np.float32(65504.0) if saturate else np.float32(np.inf)
        for c in range(count):
            value = row[c]
            value = largest if value > largest else value
            value = -largest if value < -largest else value
            halves[c] = np.uint16(half_bits(value))
    elif kind == 2:
        for c in range(count):
            bits = as_int(row[c])
            odd = np.int32((bits >> np.int32(16)) & np.int32(1))
            rounded = np.int32((bits + np.int32(0x7FFF) + odd) >> np.int32(16))
            halves[c] = np.uint16(rounded if row[c] == row[c] else np.int32(0x7FC0))


@inlined
def copy_row(source, target, count):
    """``count`` bytes from one address to another."""
    read, written = bytes_at(source), bytes_at(target)
    for index in range(count):
        written[index] = read[index]


@inlined
def grid_shift(count):
    """max(2, ceil(log2(count))), of ``_sums.over_channels``."""
    shift = np.int32(2)
    while (count - 1) >> shift > 0:
        shift += np.int32(1)
    return shift


@inlined
def sum_on_grid(row, first, last, largest, shift):
    """``_sums.over_channels`` of |row[first:last]|, counted in whole steps of its grid; ``largest``: its bits' maximum."""
    exponent = np.int32((largest >> np.int32(23)) + shift)
    if exponent >= 255:
        return np.float32(np.nan)
    rounder_bits = np.int32((exponent << np.int32(23)) | np.int32(1 << 22))
    rounder = as_float(rounder_bits)
    steps = np.int32(0)
    for c in range(first, last):
        steps = np.int32(steps + (as_int(abs(row[c]) + rounder) - rounder_bits))
    # a step is the rounder's last place; the sum has no more bits than a float32
    return np.float32(np.float64(steps) * as_double(np.int64(exponent + 1023 - 150) << np.int64(52)))


@inlined
def sum_of_scales(row, first, last):
    """The same of a row of which nothing is known yet."""
    largest = np.int32(0)
    for c in range(first, last):
        bits = np.int32(as_int(row[c]) & np.int32(0x7FFFFFFF))
        largest = bits if bits > largest else largest
    return sum_on_grid(row, first, last, largest, grid_shift(last - first))


@inlined
def half_scale(scale):
    """float16's bits (int32) of what ``_scales`` stores of a scale >= 0."""
    scale = scale if scale == scale else np.float32(0.0)
    return half_bits(scale if scale < np.float32(65504.0) else np.float32(65504.0))


@inlined
def small_float(scale, bias):
    """``_log_scales``' code (int32) of a scale >= 0."""
    bits = as_int(scale if scale == scale else np.float32(0.0))
    odd = np.int32((bits >> np.int32(20)) & np.int32(1))
    code = np.int32(((bits + np.int32((1 << 19) - 1) + odd) >> np.int32(20)) - (np.int32(127) - bias) * np.int32(8))
    code = code if code > np.int32(0) else np.int32(0)
    return code if code < np.int32(255) else np.int32(255)


@inlined
def small_float_value(code, bias):
    """float32 of such a code (int32)."""
    value = as_float(np.int32((code + (np.int32(127) - bias) * np.int32(8)) << np.int32(20)))
    return value if code > np.int32(0) else np.float32(0.0)
