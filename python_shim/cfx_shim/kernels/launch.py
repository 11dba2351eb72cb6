"""Launches: sections of one shape, dtype and codec together, at most three.

All arguments come from shapes and the plan and nothing is read from a device: a launch can be captured into a graph. What is
allocated, a byte an element of a call for paths of a trellis, is torch's allocator's to keep.
"""

import functools

import torch
import triton
import triton.language as tl

from .. import state
from ..codecs import _log_scales, _sample, _trellis, ternary
from . import tiles
from .decode import decode_kernel
from .encode import encode_kernel
from .paths import paths_kernel
from .repeat import run, scratch, three
from .statistics import statistics_kernel
from .trellis_levels import levels_kernel

# threads of a warp
LANES = 64 if torch.version.hip else 32

TYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def interpreted():
    """Whether kernels run in Triton's interpreter, which a CPU can do."""
    return not isinstance(encode_kernel, triton.JITFunction)


def shape_constants(form, channels, order, eight_bit, soft):
    """Compile-time constants of the row kernels beside a state of residual ``order``, or of none, 0."""
    group = form.group_channels(channels)
    rows, width = tiles.rows_and_width(group, form.groups)
    _, wholes, last = ternary.row_bytes(channels)
    return {
        "CHANNELS": channels,
        "ROWS": rows,
        "WIDTH": width,
        "GROUP": group,
        "GROUPS": form.groups,
        "HALF_SCALES": form.half_scales,
        "BITS": form.bits,
        "CODE_BYTES": form.code_bytes(channels),
        "WHOLES": wholes,
        "LAST": last,
        "TRELLIS": form.trellis,
        "LEVELS": form.levels,
        "GAIN": form.gain,
        "EIGHT_BIT": eight_bit,
        "SPLIT": split_of(channels, group, form.groups, order, eight_bit),
        "U_BIAS": _log_scales.U_BIAS,
        "V_BIAS": _log_scales.V_BIAS,
        "SOFT": soft,
    }


def split_of(channels, group, groups, order, eight_bit):
    """``SPLIT``, see ``states.read_state``, for tiles whose rows are ``groups`` to a token, of ``group`` channels each."""
    if eight_bit:
        in_whole_groups = order == 0 or groups == 1 or group >= channels or group % state.GROUP == 0
        return 0 if in_whole_groups else channels
    # a trend beside a native base comes in two parts
    middle = min(channels, _log_scales.group_channels(channels))
    in_whole_groups = order < 2 or group == middle or middle == channels or middle % state.GROUP == 0
    return 0 if in_whole_groups else middle


def means_constant(form, tokens, channels):
    """``MEANS``, see ``means``: where a payload's means begin, for sections begin at multiples of 16."""
    if not form.centred:
        return 0
    return 2 if (2 * tokens + channels + form.bits * tokens * ((channels + 7) // 8)) % 2 == 0 else 1


def start_constants(form, tokens, channels, starts=0, continues=False):
    """Of a send that needs no base: ``starts`` is the order of the state that it starts, 0 for none."""
    return {"MEANS": means_constant(form, tokens, channels), "STARTS": starts, "CONTINUES": continues and starts == 2}


_STARTS_NOTHING = {"MEANS": 0, "STARTS": 0, "CONTINUES": False}


def encode_constants(
    form, channels, order, feedback, eight_bit, soft, previous=False, keeps=False, start=_STARTS_NOTHING
):
    shifts = [_grid_shift(size) for size in form.group_sizes(channels)]
    middle = min(channels, _log_scales.group_channels(channels))
    known = shape_constants(form, channels, max(order, start["STARTS"]), eight_bit, soft)
    if keeps:
        # a tile is one token, in the sample or not
        known["ROWS"] = form.groups
    return known | start | {
        "SHIFT_FIRST": shifts[0],
        "SHIFT_LAST": shifts[-1],
        "ORDER": order,
        "FEEDBACK": feedback,
        "THRESHOLDS": form.thresholds,
        "PREVIOUS": previous,
        "KEEPS": keeps,
        "HISTORY": form.history_bytes(channels),
        "MIDDLE": middle,
        "SHIFT_EARLY": _grid_shift(middle),
        "SHIFT_LATE": _grid_shift(channels - middle),
        "MEAN_MAGNITUDE": _log_scales.MEAN_MAGNITUDE,
    }


def _grid_shift(count):
    """Of ``_sums.over_channels`` of so many, or of none."""
    return max(2, (count - 1).bit_length()) if count else 2


def decode_constants(form, channels, order, eight_bit, soft, dtype, start=_STARTS_NOTHING):
    known = shape_constants(form, channels, max(order, start["STARTS"]), eight_bit, soft)
    # digits and what starts a state take whole rows
    known |= stretched(form, channels, known["SPLIT"] or start["STARTS"] or form.bits == 0)
    return known | start | {"ORDER": order, "DTYPE": TYPES[dtype]}


def stretched(form, channels, whole, *elements):
    """Constants of tiles of so many ``elements`` as in ``placement.stretch_tile``; ``whole``: whether rows have to be."""
    group = form.group_channels(channels)
    if whole:
        rows, width = tiles.rows_and_width(group, form.groups)
        return {"ROWS": rows, "WIDTH": width, "STRETCHES": 0}
    rows, width, count = tiles.rows_of_stretches(group, *elements)
    return {"ROWS": rows, "WIDTH": width, "STRETCHES": count}


def tiles_of(constants, tokens, groups):
    """How many such tiles a block has."""
    of_tokens = groups * constants["STRETCHES"]
    return of_tokens * triton.cdiv(tokens, constants["ROWS"]) if of_tokens else triton.cdiv(tokens * groups, constants["ROWS"])


def statistics_constants(form, channels, order, strip, eight_bit, soft, means=0):
    return {
        "CHANNELS": channels,
        "STRIP": strip,
        "ORDER": order,
        "SCALES": form.channel_bytes,
        "GROUP": form.part_channels(channels, eight_bit),
        "TOKEN_BYTES": form.token_bytes(channels),
        "V_BIAS": _log_scales.V_BIAS,
        "MEAN_MAGNITUDE": _log_scales.MEAN_MAGNITUDE,
        "EIGHT_BIT": eight_bit,
        "MEANS": means,
        "AHEAD": 1 if soft else tiles.AHEAD,
        "SOFT": soft,
    }


def encode(
    form, xs, states, message, offsets, own, order, feedback, first, statistics="exact", histories=(),
    keyframe=False, continues=False, leaves=None,
):  # fmt: skip
    """Code ``xs``, each [P, N, C] with the channels side by side, into the bytes of ``message`` [P, M] at ``offsets``.

    ``states``: one of ``state``'s layouts each, moved; empty for order 0. Block ``own`` of P is left out (``NOBODY``: none
    is). The byte 16 before a message's end becomes 1 in all of them if NaN or Inf is seen; ``first`` says
    that no launch before this one has coded into these messages, and sets it to 0 before.

    ``statistics`` and ``histories``, [B, H] uint8 each, as in ``cfx_shim.statistics``: a launch for statistics comes first but with
    "previous". ``leaves``, as ``history_launch.room`` gives them, take what histories of this step are made of. A ``keyframe``
    starts the states instead of moving them, ``continues`` as in ``coding.Section``.
    """
    peers, tokens, channels = xs[0].shape
    blocks = peers - (own < peers)
    eight_bit, *steps = state_steps(states, order, tokens, channels, xs[0].dtype)
    soft = interpreted()
    previous, keeps = statistics == "previous", leaves is not None
    start = start_constants(form, tokens, channels, order if keyframe else 0, continues)
    if keyframe:
        # what is coded has no base
        order = 0
    if not previous:
        sample = _sample.of_tokens(tokens) if statistics == "sampled" else (tokens, 1)
        take_statistics(form, xs, states, message, offsets, own, order, first, sample, start["MEANS"])
    constants = encode_constants(form, channels, order, feedback, eight_bit, soft, previous, keeps, start)
    taken, stride = _sample.of_tokens(tokens)
    run(
        encode_kernel,
        _row_grid(constants, tokens, blocks, len(xs)),
        *three(xs),
        *three(states or xs),
        message,
        *three(offsets),
        *three(histories or [message]),
        leaves if keeps else message,
        counter(message.device),
        xs[0].stride(0),
        xs[0].stride(1),
        message.stride(0),
        *steps,
        message.shape[1] - 16,
        tokens,
        taken,
        stride,
        own,
        peers,
        int(first),
        **constants,
        num_warps=encode_warps(constants),
    )
    if form.trellis:
        _encode_on_trellis(form, xs, states, message, offsets, own, order, feedback)


def take_statistics(form, xs, states, message, offsets, own, order, first=False, sample=None, means=0):
    """The statistics launch: channel scales and, with order 2, betas into ``message``, of a ``sample`` as ``_sample``'s or all
    tokens. ``first`` as in ``encode``: then it clears the flags."""
    peers, tokens, channels = xs[0].shape
    blocks = peers - (own < peers)
    eight_bit, *steps = state_steps(states, order, tokens, channels, xs[0].dtype)
    soft, reads_groups = interpreted(), eight_bit and order > 0
    group = form.part_channels(channels, reads_groups)
    rest = max(0, channels - group)
    others = blocks * len(xs) * (2 if rest else 1)
    strip = tiles.strip(group, xs[0].element_size(), others, reads_groups or order == 2, soft)
    strips = triton.cdiv(group, strip) + triton.cdiv(rest, strip)
    run(
        statistics_kernel,
        (strips, blocks, len(xs)),
        *three(xs),
        *three(states or xs),
        message,
        *three(offsets),
        xs[0].stride(0),
        xs[0].stride(1),
        message.stride(0),
        *steps,
        message.shape[1] - 16 if first else -1,
        tokens,
        *(sample or (tokens, 1)),
        own,
        peers,
        **statistics_constants(form, channels, order, strip, reads_groups, soft, means),
        num_warps=tiles.STATISTICS_THREADS // LANES,
    )


def _encode_on_trellis(form, xs, states, message, offsets, own, order, feedback):
    """The launches that follow those which have put the scales into the message."""
    peers, tokens, channels = xs[0].shape
    blocks = peers - (own < peers)
    eight_bit, *steps = state_steps(states, order, tokens, channels, xs[0].dtype)
    ours = *three(xs), *three(states or xs), message, *three(offsets)
    place = xs[0].stride(0), xs[0].stride(1), message.stride(0), *steps, tokens, own
    constants = paths_constants(form, channels, order, eight_bit, interpreted())
    programs = triton.cdiv(tokens * constants["PATHS"], constants["LANES"])
    words = len(xs) * blocks * programs * 8 * constants["BLOCKS"] * constants["LANES"]
    run(
        paths_kernel,
        (programs, blocks, len(xs)),
        *ours,
        scratch(words, torch.int32, message.device),
        *place,
        **constants,
        num_warps=1,
    )
    if form.bits > 1 or order > 0:
        constants = levels_constants(form, channels, order, feedback, eight_bit, interpreted())
        grid = (tiles_of(constants, tokens, 2), blocks, len(xs))
        run(levels_kernel, grid, *ours, *place, **constants, num_warps=row_warps(constants))


def paths_constants(form, channels, order, eight_bit, soft, lanes=LANES):
    """``lanes``: threads of a warp, each of which finds a path."""
    paths, blocks = triton.cdiv(channels, _trellis.PATH), triton.cdiv(min(_trellis.PATH, channels), 32)
    return {
        "CHANNELS": channels,
        "GROUP": form.group_channels(channels),
        "PATHS": paths,
        "BLOCKS": blocks,
        "RAGGED": channels % min(_trellis.PATH, 32 * blocks) != 0,
        "LANES": tiles.PATHS if soft else lanes,
        "ORDER": order,
        "LEVELS": _trellis.levels(form.bits),
        "BITS": form.bits,
        "EIGHT_BIT": eight_bit,
        "U_BIAS": _log_scales.U_BIAS,
        "V_BIAS": _log_scales.V_BIAS,
        "SOFT": soft,
    }


def levels_constants(form, channels, order, feedback, eight_bit, soft):
    group = form.group_channels(channels)
    split = split_of(channels, group, form.groups, order, eight_bit)
    return stretched(form, channels, split, tiles.LEVELS_TILE) | {
        "CHANNELS": channels,
        "GROUP": group,
        "ORDER": order,
        "FEEDBACK": feedback,
        "BITS": form.bits,
        "LEVELS": _trellis.levels(form.bits),
        "UPPER": form.levels,
        "GAIN": form.gain,
        "EIGHT_BIT": eight_bit,
        "SPLIT": split,
        "U_BIAS": _log_scales.U_BIAS,
        "V_BIAS": _log_scales.V_BIAS,
        "SOFT": soft,
    }


def decode(
    form, outs, states, message, offsets, own, order, tokens, channels, dtype, keyframe=False, continues=False
):
    """Move ``states`` by what ``message`` [P, M] holds at ``offsets``, of tensors of ``dtype``, or start them from a ``keyframe``.

    ``outs`` [B, N, C] take what was received with order 0 and beside states in 8 bits; else they are empty, and the base
    is what was received.
    """
    blocks = message.shape[0] - (own < message.shape[0])
    eight_bit, *steps = state_steps(states, order, tokens, channels, dtype)
    start = start_constants(form, tokens, channels, order if keyframe else 0, continues)
    constants = decode_constants(form, channels, 0 if keyframe else order, eight_bit, interpreted(), dtype, start)
    sections = len(states or outs)
    run(
        decode_kernel,
        (tiles_of(constants, tokens, form.groups), blocks, sections),
        *three(outs or states),
        *three(states or outs),
        message,
        *three(offsets),
        message.stride(0),
        *steps,
        tokens,
        own,
        **constants,
        num_warps=decode_warps(constants),
    )


def state_steps(states, order, tokens, channels, dtype):
    """(whether states are in 8 bits, elements of one from block to block, bytes to the trend beside a native base)."""
    if not states:
        return False, 0, 0
    eight_bit = state.in_eight_bits(states)
    beside = order == 2 and not eight_bit
    return eight_bit, states[0].stride(0), state.layout(state.NATIVE, 2, tokens, channels, dtype).trend_at if beside else 0


def row_warps(constants, *loads):
    """As ``tiles.row_warps``; more where groups' largest values are gathered."""
    rows, width = constants["ROWS"], constants["WIDTH"]
    return tiles.gathering_warps(rows, width) if constants["SPLIT"] else tiles.row_warps(rows, width, *loads)


def decode_warps(constants):
    # what a channel has is found once for all rows of a thread
    return row_warps(constants, 4 if constants["ORDER"] == 2 and constants["STRETCHES"] else 2)


def encode_warps(constants):
    """Of the encode kernel with these constants."""
    if constants["MEANS"] and not constants["SPLIT"]:
        return tiles.start_warps(constants["ROWS"], constants["WIDTH"])
    predicts, keeps = constants["ORDER"] == 2, constants["KEEPS"]
    if keeps and constants["BITS"] == 0:
        # what is kept takes registers
        return tiles.gathering_warps(constants["ROWS"], constants["WIDTH"])
    takes_registers = keeps if constants["TRELLIS"] else predicts
    if takes_registers:
        return row_warps(constants, 2, 16)
    # a row's sums are soon found where few warps have parts of it
    return row_warps(constants, 4)


@functools.cache
def counter(device):
    """Of programs that are done: shared by all launches, which come one after the other."""
    return torch.zeros(1, dtype=torch.int64, device=device)


def _row_grid(constants, tokens, blocks, sections):
    return (triton.cdiv(tokens * constants["GROUPS"], constants["ROWS"]), blocks, sections)
