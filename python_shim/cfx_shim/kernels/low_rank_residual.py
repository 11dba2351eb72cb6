"""What both low ranks search factors for: two launches, for the blocks of all sections at once."""

import triton

from . import low_rank, tiles
from .launch import OPTIONS, interpreted, state_steps, three


def take(residual, largest, xs, states, message, own, order, first):
    """``residual`` [B, N, C] float32 becomes what is to be coded, 0 for NaN and Inf, which set the flags of ``message``; and
    ``largest`` [B] int32 the bits of its magnitudes' largest, block by block. The rest as in ``launch.encode``.
    """
    peers, tokens, channels = xs[0].shape
    blocks, flags = peers - (own < peers), message.shape[1] - 16
    low_rank.open_kernel[(1,)](
        largest,
        len(largest),
        message,
        message.stride(0),
        flags,
        peers,
        int(first),
        BLOCKS=tiles.power_of_two(len(largest)),
        **OPTIONS,
    )
    eight_bit, state_block, _ = state_steps(states, order, tokens, channels, xs[0].dtype)
    rows, width = tiles.rows_and_width(channels, 1)
    low_rank.residual_kernel[(triton.cdiv(tokens, rows), blocks, len(xs))](
        *three(xs),
        *three(states or xs),
        residual,
        largest,
        message,
        message.stride(0),
        xs[0].stride(0),
        xs[0].stride(1),
        state_block,
        flags,
        tokens,
        own,
        peers,
        CHANNELS=channels,
        ROWS=rows,
        WIDTH=width,
        ORDER=order,
        EIGHT_BIT=eight_bit,
        SOFT=interpreted(),
        num_warps=tiles.row_warps(rows, width),
        **OPTIONS,
    )
