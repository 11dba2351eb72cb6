"""How a base moves: the one piece of arithmetic that the sender and every receiver must share.

The encode kernel and the decode kernel both call ``reconstruct`` and ``moved``; they are compiled without contraction
of multiply and add (``repeat.OPTIONS``), so that both give the bits that plain torch gives.
"""

import triton
import triton.language as tl

from .arithmetic import narrowed


@triton.jit
def reconstruct(code, scale, LEVELS: tl.constexpr):
    """Decoded values float32: ``code`` int32 = sign bit (1 for +) and above it the level's index, ``scale`` float32 = u·v."""
    level = tl.full(code.shape, LEVELS[0], tl.float32)
    for index in tl.static_range(1, len(LEVELS)):
        level = tl.where((code >> 1) == index, LEVELS[index], level)
    return tl.where((code & 1) == 1, level, -level) * scale


@triton.jit
def moved(held, predicted, decoded, dtype: tl.constexpr, ORDER: tl.constexpr, GAIN: tl.constexpr):
    """(base, trend) float32 after a step: held + (predicted + decoded), float16 saturating, and predicted + GAIN·decoded."""
    change = decoded
    trend = decoded
    if ORDER == 2:
        change = decoded + predicted
        trend = change
        if GAIN != 1.0:
            trend = decoded * GAIN + predicted
    return saturated(held + change, dtype), trend


@triton.jit
def saturated(value, dtype: tl.constexpr):
    """Within what ``dtype`` can hold, where that is float16."""
    if dtype == tl.float16:
        value = tl.minimum(tl.maximum(value, -65504.0), 65504.0)
    return value


@triton.jit
def store(state, value, inside, SOFT: tl.constexpr):
    """``value`` float32 to the pointers ``state``, rounded once to their type; float16 saturates."""
    dtype: tl.constexpr = state.dtype.element_ty
    tl.store(state, narrowed(saturated(value, dtype), dtype, SOFT), mask=inside)
