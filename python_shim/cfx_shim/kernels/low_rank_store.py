"""What both low ranks do with a tile of their product: it moves a state of either kind, or is what is received."""

import triton
import triton.language as tl

from .arithmetic import beta_value, narrowed
from .placement import scale_of
from .reconstruct import moved
from .states import read_at, write_state


@triton.jit
def tile_at(tile, channels, split, COLUMNS: tl.constexpr):
    """(which rows of tiles, the first column, behind the last one) of a tile of a product.

    Tiles begin anew with the channel ``split``, as a state's groups of 32 do; ``channels`` where they do not.
    """
    of_first = (split + COLUMNS - 1) // COLUMNS
    across = of_first + (channels - split + COLUMNS - 1) // COLUMNS
    column = tile % across
    first = tl.where(column < of_first, column * COLUMNS, split + (column - of_first) * COLUMNS)
    return tile // across, first, tl.where(column < of_first, split, channels)


@triton.jit
def put(
    out,
    state,
    betas,
    block,
    state_block,
    trend_at,
    first_column,
    last_column,
    token,
    channel,
    tokens,
    channels,
    split,
    decoded,
    DTYPE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ORDER: tl.constexpr,
    EIGHT_BIT: tl.constexpr,
    USED: tl.constexpr,
    SOFT: tl.constexpr,
):
    """``decoded`` float32 [ROWS, COLUMNS] of the tokens [ROWS] and the channels [COLUMNS] of a tile as ``tile_at`` has it.

    ``out`` [B, N, C] takes it with order 0, and where it is ``USED`` the new base beside a ``state`` in 8 bits. A native base
    is what was received. For ``state_block`` and ``trend_at`` see ``states.read_state``; ``betas``: a payload's, with order 2.
    ``DTYPE``: the tensors' own.
    """
    inside = (token < tokens)[:, None] & (channel < last_column)[None, :]
    place = token[:, None].to(tl.int64) * channels + channel[None, :]
    out += block.to(tl.int64) * tokens * channels + place
    if ORDER == 0:
        tl.store(out, narrowed(decoded, DTYPE, SOFT), mask=inside)
    else:
        scale_place, kept = place, inside
        if EIGHT_BIT or ORDER == 2:
            group = first_column + 32 * tl.arange(0, COLUMNS // 32)
            kept = (token < tokens)[:, None] & (group < last_column)[None, :]
            scale_place = scale_of(token[:, None], group[None, :], tokens, channels, split)
        base, trend, scales, kept, held, last = read_at(
            state + block.to(tl.int64) * state_block, trend_at, place, inside, scale_place, kept, DTYPE,
            ROWS, COLUMNS, ORDER, EIGHT_BIT, SOFT,
        )  # fmt: skip
        predicted = held
        if ORDER == 2:
            codes = tl.load(betas + channel, mask=channel < last_column, other=0)
            predicted = last * beta_value(codes.to(tl.int8, bitcast=True))[None, :]
        new, change = moved(held, predicted, decoded, DTYPE, ORDER, 1.0)
        if EIGHT_BIT or ORDER == 2:
            new, change = tl.where(inside, new, 0.0), tl.where(inside, change, 0.0)
        write_state(base, trend, scales, new, change, inside, kept, ORDER, ROWS, COLUMNS, EIGHT_BIT, SOFT)
        if EIGHT_BIT and USED:
            tl.store(out, narrowed(new, DTYPE, SOFT), mask=inside)
