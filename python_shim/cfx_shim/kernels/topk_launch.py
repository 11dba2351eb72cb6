"""Launches of ``codecs.topk``; the counterpart of ``launch`` for it, under the same conditions."""

import triton

from . import formats, tiles
from .launch import TYPES, counter, interpreted, row_warps, split_of, state_steps, take_statistics
from .repeat import run, three
from .topk import decode_kernel, encode_kernel


def _constants(channels, order, eight_bit, soft):
    rows, width, stretches = tiles.rows_of_stretches(channels)
    split = split_of(channels, width, stretches, order, eight_bit)
    if split:
        # a group may not part between stretches
        (rows, width), stretches = tiles.rows_and_width(channels, 1), 1
    return {
        "CHANNELS": channels,
        "ROWS": rows,
        "WIDTH": width,
        "STRETCHES": stretches,
        "ORDER": order,
        "EIGHT_BIT": eight_bit,
        "SPLIT": split,
        "SOFT": soft,
    }


def encode_constants(channels, order, feedback, eight_bit, soft):
    return _constants(channels, order, eight_bit, soft) | {"FEEDBACK": feedback}


def decode_constants(channels, order, eight_bit, soft, dtype):
    return _constants(channels, order, eight_bit, soft) | {"DTYPE": TYPES[dtype]}


def encode(xs, states, message, offsets, own, order, feedback, first):
    """See ``launch.encode``: in one launch, or two where a prediction is to be fitted."""
    peers, tokens, channels = xs[0].shape
    if order == 2:
        take_statistics(formats.Largest(), xs, states, message, offsets, own, order)
    eight_bit, *steps = state_steps(states, order, tokens, channels, xs[0].dtype)
    known = encode_constants(channels, order, feedback, eight_bit, interpreted())
    run(
        encode_kernel,
        _grid(known, tokens, peers - (own < peers), len(xs)),
        *three(xs),
        *three(states or xs),
        message,
        *three(offsets),
        counter(message.device),
        xs[0].stride(0),
        xs[0].stride(1),
        message.stride(0),
        *steps,
        message.shape[1] - 16,
        tokens,
        own,
        peers,
        int(first),
        **known,
        num_warps=row_warps(known),
    )


def decode(outs, states, message, offsets, own, order, tokens, channels, dtype):
    """See ``launch.decode``."""
    eight_bit, *steps = state_steps(states, order, tokens, channels, dtype)
    known = decode_constants(channels, order, eight_bit, interpreted(), dtype)
    blocks = message.shape[0] - (own < message.shape[0])
    run(
        decode_kernel,
        _grid(known, tokens, blocks, len(states or outs)),
        *three(outs or states),
        *three(states or outs),
        message,
        *three(offsets),
        message.stride(0),
        *steps,
        tokens,
        own,
        **known,
        num_warps=row_warps(known),
    )


def _grid(known, tokens, blocks, sections):
    return (triton.cdiv(tokens * known["STRETCHES"], known["ROWS"]), blocks, sections)
