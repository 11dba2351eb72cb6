"""What both low ranks search factors for: two launches, for the blocks of all sections at once, and one that fits a prediction."""

import triton

from . import low_rank, tiles
from .launch import OPTIONS, interpreted, split_of, state_steps, take_statistics, three


def take(form, residual, largest, xs, states, message, offsets, own, order, feedback, first):
    """``residual`` [B, N, C] float32 becomes what is to be coded, 0 for NaN and Inf, which set the flags of ``message``; and
    ``largest`` [B] int32 the bits of its magnitudes' largest, block by block. The rest as in ``launch.encode``: betas are
    written, and without feedback states become ``xs``.
    """
    peers, tokens, channels = xs[0].shape
    blocks, flags = peers - (own < peers), message.shape[1] - 16
    payload_bytes = form.codec.payload_bytes(tokens, channels, xs[0].element_size())
    betas = [offset + payload_bytes for offset in offsets]
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
    if order == 2:
        take_statistics(form, xs, states, message, betas, own, order)
    eight_bit, *steps = state_steps(states, order, tokens, channels, xs[0].dtype)
    rows, width = tiles.rows_and_width(channels, 1)
    low_rank.residual_kernel[(triton.cdiv(tokens, rows), blocks, len(xs))](
        *three(xs),
        *three(states or xs),
        residual,
        largest,
        message,
        *three(betas),
        message.stride(0),
        xs[0].stride(0),
        xs[0].stride(1),
        *steps,
        flags,
        tokens,
        own,
        peers,
        CHANNELS=channels,
        ROWS=rows,
        WIDTH=width,
        ORDER=order,
        FOLLOWS=order > 0 and not feedback,
        EIGHT_BIT=eight_bit,
        SPLIT=split_of(channels, channels, 1, order, eight_bit),
        SOFT=interpreted(),
        num_warps=tiles.row_warps(rows, width),
        **OPTIONS,
    )
