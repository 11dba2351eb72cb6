"""What both low ranks do with a tile of their product: it moves a base of either kind, or is what is received."""

import triton
import triton.language as tl

from . import eight_bit
from .arithmetic import narrowed, widened
from .reconstruct import moved, store


@triton.jit
def put(
    out,
    state,
    block,
    state_block,
    first_column,
    token,
    channel,
    tokens,
    channels,
    decoded,
    DTYPE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    USED: tl.constexpr,
    SOFT: tl.constexpr,
):
    """``decoded`` float32 [ROWS, COLUMNS] of the tokens [ROWS] and the channels [COLUMNS], whole groups of 32 from ``first_column`` on.

    ``out`` [B, N, C] takes it with order 0, and where it is ``USED`` the new base beside a ``state`` in 8 bits, whose blocks
    are ``state_block`` elements apart. A native base is the ``state`` itself. ``DTYPE``: the tensors' own.
    """
    inside = (token < tokens)[:, None] & (channel < channels)[None, :]
    place = (block.to(tl.int64) * tokens + token[:, None]) * channels + channel[None, :]
    if ORDER == 0:
        tl.store(out + place, narrowed(decoded, DTYPE, SOFT), mask=inside)
    elif EIGHT_BIT:
        groups = (channels + 31) // 32
        unit = first_column // 32 + tl.arange(0, COLUMNS // 32)
        kept = (token < tokens)[:, None] & (unit < groups)[None, :]
        begin = state + block.to(tl.int64) * state_block
        row = token[:, None].to(tl.int64)
        codes = begin + row * channels + channel[None, :]
        scales = begin + tl.cast(tokens, tl.int64) * channels + row * groups + unit[None, :]
        held, _ = eight_bit.read(codes, scales, inside, kept, 1, ROWS, COLUMNS)
        new, _ = moved(held, held, decoded, DTYPE, ORDER, 1.0)
        new = tl.where(inside, new, 0.0)
        eight_bit.write(codes, scales, new, new, inside, kept, 1, ROWS, COLUMNS)
        if USED:
            tl.store(out + place, narrowed(new, DTYPE, SOFT), mask=inside)
    else:
        base = state + place
        held = widened(tl.load(base, mask=inside, other=0.0), SOFT)
        new, _ = moved(held, held, decoded, DTYPE, ORDER, 1.0)
        store(base, new, inside, SOFT)
