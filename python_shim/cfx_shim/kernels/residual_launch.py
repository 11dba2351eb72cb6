"""The launches of ``residual``, for the blocks of all sections at once, and one that fits a prediction."""

import triton

from . import residual, tiles
from .launch import interpreted, split_of, state_steps, take_statistics
from .repeat import run, three

# of what is opened, to a program
_WORDS = 1024


def begin(form, sums, xs, states, message, offsets, own, order, first):
    """``sums`` int32, all that launches add to, become 0; and with order 2 betas are written. The rest as in ``launch.encode``."""
    words = min(_WORDS, tiles.power_of_two(len(sums)))
    run(
        residual.open_kernel,
        (triton.cdiv(len(sums), words),),
        sums,
        len(sums),
        message,
        message.stride(0),
        message.shape[1] - 16,
        len(xs[0]),
        int(first),
        WORDS=words,
    )
    if order == 2:
        take_statistics(form, xs, states, message, _betas(form, xs, offsets), own, order)


def take(form, found, largest, xs, states, message, offsets, own, order, measures, follows):
    """``found`` [B, N, C] becomes what is to be coded, or nothing is written where it is None; see ``residual_kernel``.

    ``follows``: states of any ``order`` but 0 become ``xs``. The rest as in ``launch.encode``.
    """
    peers, tokens, channels = xs[0].shape
    eight_bit, *steps = state_steps(states, order, tokens, channels, xs[0].dtype)
    rows, width = tiles.rows_and_width(channels, 1)
    run(
        residual.residual_kernel,
        (triton.cdiv(tokens, rows), peers - (own < peers), len(xs)),
        *three(xs),
        *three(states or xs),
        largest if found is None else found,
        largest,
        message,
        *three(_betas(form, xs, offsets)),
        message.stride(0),
        xs[0].stride(0),
        xs[0].stride(1),
        *steps,
        message.shape[1] - 16,
        tokens,
        own,
        peers,
        CHANNELS=channels,
        ROWS=rows,
        WIDTH=width,
        ORDER=order,
        MEASURES=measures,
        WRITES=found is not None,
        FOLLOWS=order > 0 and follows,
        EIGHT_BIT=eight_bit,
        SPLIT=split_of(channels, channels, 1, order, eight_bit),
        SOFT=interpreted(),
        num_warps=tiles.row_warps(rows, width),
    )


def _betas(form, xs, offsets):
    payload_bytes = form.codec.payload_bytes(*xs[0].shape[1:], xs[0].element_size())
    return [offset + payload_bytes for offset in offsets]
