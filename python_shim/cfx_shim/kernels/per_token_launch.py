"""Launches of codecs with one scale a token; the counterpart of ``launch`` for them, under the same conditions."""

import triton

from .. import state
from ..codecs import _log_scales
from . import tiles
from .launch import TYPES, counter, interpreted, state_steps, take_statistics
from .per_token import decode_kernel, encode_kernel
from .repeat import run, three


def constants(form, channels, soft, order=0, eight_bit=False, starts=0, continues=False):
    """Compile-time constants of both kernels at residual ``order``. ``starts``: that of the state that they start, 0 for none."""
    first = _log_scales.group_channels(channels)
    # beside a native base, a trend's groups of channels begin anew with a second part, unless the first one is whole ones
    in_parts = max(order, starts) == 2 and not eight_bit and first < channels and first % state.GROUP > 0
    group, groups = (first, 2) if in_parts else (channels, 1)
    rows, width = tiles.rows_and_width(group, groups)
    return {
        "CHANNELS": channels,
        "ROWS": rows,
        "WIDTH": width,
        "GROUP": group,
        "GROUPS": groups,
        "STARTS": starts,
        "CONTINUES": continues and starts == 2,
        "ORDER": order,
        "EIGHT_BIT": eight_bit,
        "MOST": form.most,
        "BOUND": form.largest_scale,
        "FLOATS": form.floats,
        "SOFT": soft,
    }


def encode_constants(form, channels, soft, order, feedback, eight_bit, starts=0, continues=False):
    return constants(form, channels, soft, order, eight_bit, starts, continues) | {"FEEDBACK": feedback}


def encode(form, xs, states, message, offsets, own, order, feedback, first, keyframe=False, continues=False):
    """See ``launch.encode``: in one launch, or two where a prediction is to be fitted."""
    peers, tokens, channels = xs[0].shape
    eight_bit, *steps = state_steps(states, order, tokens, channels, xs[0].dtype)
    starts, order = (order, 0) if keyframe else (0, order)
    if order == 2:
        take_statistics(form, xs, states, message, offsets, own, order)
    known = encode_constants(form, channels, interpreted(), order, feedback, eight_bit, starts, continues)
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
        num_warps=warps(known),
    )


def decode(form, outs, states, message, offsets, own, order, tokens, channels, dtype, keyframe=False, continues=False):
    """See ``launch.decode``."""
    eight_bit, *steps = state_steps(states, order, tokens, channels, dtype)
    starts, order = (order, 0) if keyframe else (0, order)
    known = constants(form, channels, interpreted(), order, eight_bit, starts, continues)
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


def warps(known):
    return (tiles.start_warps if known["STARTS"] + known["ORDER"] else tiles.per_token_warps)(known["ROWS"], known["WIDTH"])


def _grid(known, tokens, blocks, sections):
    return (triton.cdiv(tokens * known["GROUPS"], known["ROWS"]), blocks, sections)
