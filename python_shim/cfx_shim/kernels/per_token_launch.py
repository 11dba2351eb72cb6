"""Launches of codecs with one scale a token; the counterpart of ``launch`` for them, under the same conditions."""

import functools

import torch
import triton

from . import tiles
from .launch import OPTIONS, interpreted, three
from .per_token import decode_kernel, encode_kernel


def constants(form, channels, soft):
    """Compile-time constants of both kernels."""
    rows, width = tiles.rows_and_width(channels, 1)
    return {
        "CHANNELS": channels,
        "ROWS": rows,
        "WIDTH": width,
        "MOST": form.most,
        "BOUND": form.largest_scale,
        "FLOATS": form.floats,
        "SOFT": soft,
    }


def encode(form, xs, message, offsets, own, first):
    """See ``launch.encode``: without states, in one launch."""
    peers, tokens, channels = xs[0].shape
    known = constants(form, channels, interpreted())
    encode_kernel[_grid(known, tokens, peers - (own < peers), len(xs))](
        *three(xs),
        message,
        *three(offsets),
        counter(message.device),
        xs[0].stride(0),
        xs[0].stride(1),
        message.stride(0),
        message.shape[1] - 16,
        tokens,
        own,
        peers,
        int(first),
        **known,
        num_warps=warps(known),
        **OPTIONS,
    )


def decode(form, outs, message, offsets, own, tokens, channels):
    """See ``launch.decode``: ``outs`` take what was received."""
    known = constants(form, channels, interpreted())
    decode_kernel[_grid(known, tokens, message.shape[0] - (own < message.shape[0]), len(outs))](
        *three(outs),
        message,
        *three(offsets),
        message.stride(0),
        tokens,
        own,
        **known,
        num_warps=warps(known),
        **OPTIONS,
    )


def warps(known):
    return tiles.per_token_warps(known["ROWS"], known["WIDTH"])


@functools.cache
def counter(device):
    """Of programs that are done: shared by all launches, which come one after the other."""
    return torch.zeros(1, dtype=torch.int64, device=device)


def _grid(known, tokens, blocks, sections):
    return (triton.cdiv(tokens, known["ROWS"]), blocks, sections)
