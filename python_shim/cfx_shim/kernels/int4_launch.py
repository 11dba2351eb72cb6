"""Launches of ``codecs.int4``; the counterpart of ``launch`` for it, under the same conditions."""

import triton

from ..codecs import _log_scales, int4
from . import tiles
from .int4 import decode_kernel, encode_kernel, means_kernel
from .launch import LANES, TYPES, interpreted, split_of, state_steps
from .repeat import run, three

# what the search for a scale takes beside what decoding does
_OF_SEARCH = ("MANTISSAS", "THRESHOLDS", "CANDIDATES", "UP", "DOWN", "ROUNDER", "SMALLEST")


def means_constants(channels, strip, soft):
    return {"CHANNELS": channels, "STRIP": strip, "SOFT": soft}


def decode_constants(channels, soft, starts=0, continues=False, eight_bit=False):
    """``starts``: of what residual order the state is that is started, 0 for none. Without the tensors' type."""
    first = _log_scales.group_channels(channels)
    in_parts = first < channels and first % int4.GROUP > 0
    group, groups = (first, 2) if in_parts else (channels, 1)
    rows, width = tiles.rows_and_width(group, groups)
    split = split_of(channels, group, groups, starts, eight_bit)
    if split:
        # gathering takes registers
        rows = max(groups, rows // 2)
    return {
        "CHANNELS": channels,
        "ROWS": rows,
        "WIDTH": width,
        "GROUP": group,
        "GROUPS": groups,
        "CODES": len(int4.group_sizes(channels)),
        "FRACTIONS": int4.FRACTIONS,
        "LEVELS": int4.LEVELS,
        "MOST": int4.MOST,
        "STARTS": starts,
        "CONTINUES": continues and starts == 2,
        "EIGHT_BIT": eight_bit,
        "SPLIT": split,
        "SOFT": soft,
    }


def encode_constants(*arguments):
    return decode_constants(*arguments) | {name: getattr(int4, name) for name in _OF_SEARCH}


def encode(xs, states, message, offsets, own, order, first, continues=False):
    """See ``launch.encode``: starts ``states`` of residual order ``order`` where there are any."""
    peers, tokens, channels = xs[0].shape
    blocks, flags = peers - (own < peers), message.shape[1] - 16
    eight_bit, *steps = state_steps(states, order, tokens, channels, xs[0].dtype)
    strip = tiles.strip(channels, xs[0].element_size(), blocks * len(xs), interpreted=interpreted())
    sections, strides = (message, *three(offsets)), (xs[0].stride(0), xs[0].stride(1), message.stride(0))
    run(
        means_kernel,
        (triton.cdiv(channels, strip), blocks, len(xs)),
        *three(xs),
        *sections,
        *strides,
        flags if first else -1,
        tokens,
        own,
        peers,
        **means_constants(channels, strip, interpreted()),
        num_warps=4,
    )
    known = encode_constants(channels, interpreted(), order, continues, eight_bit)
    run(
        encode_kernel,
        _grid(known, tokens, blocks, len(xs)),
        *three(xs),
        *three(states or xs),
        *sections,
        *strides,
        *steps,
        flags,
        tokens,
        own,
        peers,
        **known,
        num_warps=warps(known),
    )


def decode(outs, states, message, offsets, own, order, tokens, channels, dtype, continues=False):
    """See ``launch.decode``, likewise."""
    eight_bit, *steps = state_steps(states, order, tokens, channels, dtype)
    known = decode_constants(channels, interpreted(), order, continues, eight_bit)
    run(
        decode_kernel,
        _grid(known, tokens, message.shape[0] - (own < message.shape[0]), len(outs or states)),
        *three(outs or states),
        *three(states or outs),
        message,
        *three(offsets),
        message.stride(0),
        *steps,
        tokens,
        own,
        DTYPE=TYPES[dtype],
        **known,
        num_warps=warps(known),
    )


def warps(known, lanes=LANES):
    """On a GPU whose warps have so many threads."""
    return tiles.token_warps(known["ROWS"], known["WIDTH"], lanes)


def _grid(known, tokens, blocks, sections):
    return (triton.cdiv(tokens * known["GROUPS"], known["ROWS"]), blocks, sections)
