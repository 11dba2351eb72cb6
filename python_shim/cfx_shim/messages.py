"""Whole messages: what all sections of a call write into the send buffer, and what arrives for each of them.

Sections that kernels can code go through them together, the others one by one and block by block through ``coding``.
"""

import torch

from . import codecs, coding, kernels, statistics
from ._contract import SECTION_ALIGN
from .cpu import launch as compiled
from .kernels import formats
from .state import GROUP as EIGHT_BIT_GROUP, aligned

# what may code a section: Triton's kernels, the CPU's, and else plain torch
TRITON, COMPILED = "triton", "compiled"


def write(sections, states, send, own, histories=None):
    """Code every section's blocks, but that of rank ``own``, into ``send`` [P, message bytes], and move ``states``.

    ``own`` None: there is no such block. ``histories``: those of sections that keep one, which move too. Sets every
    message's flag.
    """
    histories = histories or [None] * len(sections)
    _check_size(sections, send)
    together, alone = _split(sections)
    for position, (path, codec, indices) in enumerate(together):
        chosen = [sections[index] for index in indices]
        kept = [histories[index] for index in indices if histories[index] is not None]
        _launches(path).encode(
            [section.blocks for section in chosen],
            _states(states, indices),
            send,
            [section.offset for section in chosen],
            formats.NOBODY if own is None else own,
            codec,
            chosen[0].order,
            chosen[0].treatment.feedback,
            position == 0,
            *((chosen[0].statistics, kept) if path == TRITON else ()),
            keyframe=chosen[0].keyframe,
            continues=chosen[0].continues,
        )
    flag = None
    for index in alone:
        section, state, history = sections[index], states[index], histories[index]
        for blocks, compact in _slices(send.shape[0], own):
            room, parts = _room(send[blocks], section), (_part(state, compact), _part(history, compact))
            seen = coding.encode(section, section.blocks[blocks], room, *parts)
            flag = seen if flag is None else flag | seen
    if not together:
        send[:, -SECTION_ALIGN] = flag
    elif flag is not None:
        send[:, -SECTION_ALIGN].bitwise_or_(flag)


def read(sections, states, receive, own):
    """Per section the values [N, C] by rank, without rank ``own``'s, out of ``receive`` [P, message bytes]; moves ``states``.

    ``own`` None: no rank is left out. Values are views of the state where there is one.
    """
    _check_size(sections, receive)
    together, alone = _split(sections)
    values = {}
    for path, codec, indices in together:
        chosen = [sections[index] for index in indices]
        first, moved = chosen[0], _states(states, indices)
        shape = (receive.shape[0] - (own is not None), first.tokens, first.channels)
        # a native base is what was received
        in_place = bool(moved) and first.layout.in_place
        outs = [] if in_place else [torch.empty(shape, dtype=each.blocks.dtype, device=receive.device) for each in chosen]
        offsets = [section.offset for section in chosen]
        left_out = formats.NOBODY if own is None else own
        kind = first.order, first.tokens, first.channels, first.blocks.dtype, first.keyframe, first.continues
        _launches(path).decode(outs, moved, receive, offsets, left_out, codec, *kind)
        received = outs or [first.layout.base(state) for state in moved]
        values.update(zip(indices, (blocks.unbind() for blocks in received)))
    for index in alone:
        section, state = sections[index], states[index]
        values[index] = [
            block
            for blocks, compact in _slices(receive.shape[0], own)
            for block in coding.decode(section, _room(receive[blocks], section), _part(state, compact))
        ]
    return [list(values[index]) for index in range(len(sections))]


def non_finite(sections, values):
    """Whether a base now holds NaN or Inf that came in: a 0-d bool tensor, or None where that cannot be.

    ``values`` as ``read`` gives them. A codec's decode is finite whatever the bytes, except with ``float16`` scales per
    token and channel, of which the first row and the first column show every one; a raw keyframe can hold anything.
    """
    seen = None
    for section, blocks in zip(sections, values):
        if section.order == 0 or (section.codec is not None and codecs.is_finite(section.codec)):
            continue
        for block in blocks:
            parts = (block,) if section.codec is None else (block[:1], block[:, :1])
            for part in parts:
                found = ~torch.isfinite(part.sum(dtype=torch.float32))
                seen = found if seen is None else seen | found
    return seen


def _check_size(sections, messages):
    """Raises ValueError, before anything is coded or moves, if ``messages`` [P, bytes] is not as long as the sections."""
    last = sections[-1]
    expected = last.offset + aligned(last.bytes) + SECTION_ALIGN
    if messages.shape[1] != expected:
        names = ", ".join(f"{each.role} {each.tokens} × {each.channels}" for each in sections)
        raise ValueError(f"a message has {messages.shape[1]} bytes; expected {expected} for {names} and the flags")


def _split(sections):
    """[(path, codec, indices of sections that one launch codes)], and the indices of the others."""
    together, alone = {}, []
    for index, section in enumerate(sections):
        kind = kernel_kind(section)
        if kind is None:
            alone.append(index)
        else:
            together.setdefault(kind, []).append(index)
    launches = [
        (*kind[:2], indices[start : start + formats.MOST_SECTIONS])
        for kind, indices in together.items()
        for start in range(0, len(indices), formats.MOST_SECTIONS)
    ]
    return launches, alone


def kernel_kind(section):
    """What sections of one launch have in common, its path first, or None where no kernel codes the section.

    Raw bytes, as of an exact keyframe, are a copy, and torch's own.
    """
    blocks, codec = section.blocks, section.codec_name
    if codec is None or blocks.stride(2) != 1:
        return None
    in_eight_bits = section.order > 0 and not section.layout.in_place
    if not in_eight_bits and _compiled_take(section):
        path = COMPILED
    elif kernels.available(blocks.device) and _triton_takes(section, in_eight_bits):
        path = TRITON
    else:
        return None
    if section.keyframe:
        how = section.keyframe, section.continues
    else:
        how = section.keyframe, section.treatment.feedback, section.statistics, section.keeps_history
    return path, codec, section.order, *how, in_eight_bits, blocks.dtype, blocks.shape, blocks.stride()


def _compiled_take(section):
    # they take statistics of all tokens, and keep none
    exact = section.keyframe or section.treatment.statistics == statistics.EXACT
    return exact and compiled.takes(section.codec_name, section.order, section.blocks, section.keyframe)


def _triton_takes(section, in_eight_bits):
    form = formats.of(section.codec_name)
    if form is None or not form.codes(section.order, section.treatment.feedback, section.keyframe):
        return False
    if in_eight_bits:
        return form.in_whole_groups(section.channels, EIGHT_BIT_GROUP)
    return section.order < 2 or form.in_trend_groups(section.channels, EIGHT_BIT_GROUP)


def _launches(path):
    """What codes alike sections together. Triton's is imported with Triton, which not every application has."""
    if path == COMPILED:
        return compiled
    from .kernels import ops

    return ops


def _states(states, indices):
    return [] if states[indices[0]] is None else [states[index] for index in indices]


def _slices(ranks, own):
    """(ranks of a message, blocks of a compact tensor that leaves out rank ``own``) before and after that rank."""
    if own is None:
        return [(slice(0, ranks), slice(0, ranks))]
    before = (slice(0, own), slice(0, own))
    after = (slice(own + 1, ranks), slice(own, ranks - 1))
    return [pair for pair in (before, after) if pair[0].stop > pair[0].start]


def _part(state, compact):
    return None if state is None else state[compact]


def _room(messages, section):
    """The section's bytes [B, bytes] in ``messages`` [B, message bytes]."""
    return messages[:, section.offset : section.offset + section.bytes]
