"""Whole messages: what all sections of a call write into the send buffer, and what arrives for each of them.

Sections that kernels can code go through them together, the others one by one and block by block through ``coding``. Which
goes where, and all addresses, are found once: a ``Writer`` or ``Reader`` serves for as long as only numbers change.
"""

import torch

from . import coding, kernels
from ._contract import SECTION_ALIGN
from .cpu import launch as compiled
from .kernels import formats
from .state import aligned

# what may code a section: Triton's kernels, the CPU's, and else plain torch
TRITON, COMPILED = "triton", "compiled"


class Writer:
    """Codes every section's blocks, but that of rank ``own``, into ``send`` [P, message bytes], and moves ``states``.

    ``own`` None: there is no such block. ``histories``: those of sections that keep one, which move too, some only with ``keep``. Between two writes
    the sections may get other blocks of the same shape, strides, dtype and device; all else stays. Raises ValueError, before
    anything is coded or moves, if messages are not as long as the sections.
    """

    def __init__(self, sections, states, send, own, histories=None):
        _check_size(sections, send)
        histories = histories or [None] * len(sections)
        together, alone = _split(sections)
        self._flags = send[:, -SECTION_ALIGN]
        self._launches = []
        for path, codec, indices in together:
            chosen = [sections[index] for index in indices]
            first = chosen[0]
            how = {
                "offsets": [section.offset for section in chosen],
                "own": formats.NOBODY if own is None else own,
                "codec": codec,
                "order": first.order,
                "feedback": first.treatment.feedback,
                "first": not self._launches,
                "keyframe": first.keyframe,
                "continues": first.continues,
                "statistics": first.statistics,
                "histories": [histories[index] for index in indices if histories[index] is not None],
            }
            encode = _launches(path).Encoding([each.blocks for each in chosen], _states(states, indices), send, **how)
            self._launches.append((encode, chosen))
        self._alone = [
            (sections[index], blocks, _room(send[blocks], sections[index]), _part(states[index], compact), _part(histories[index], compact))
            for index in alone
            for blocks, compact in _slices(send.shape[0], own)
        ]  # fmt: skip

    def write(self):
        """Once; sets every message's flag."""
        for encode, sections in self._launches:
            encode([section.blocks for section in sections])
        flag = None
        for section, blocks, *place in self._alone:
            seen = coding.encode(section, section.blocks[blocks], *place)
            flag = seen if flag is None else flag | seen
        if not self._launches:
            self._flags.copy_(flag)
        elif flag is not None:
            self._flags.bitwise_or_(flag)

    @property
    def keeps_behind(self):
        """Whether ``keep`` has work."""
        return any(encode.keeps_behind for encode, _ in self._launches)

    def keep(self):
        """Once after each write: what ``histories`` of it are left to be made. Nothing that is sent waits for it."""
        for encode, _ in self._launches:
            encode.keep()


class Reader:
    """Decodes ``receive`` [P, message bytes], without rank ``own``'s (None: no rank is left out), and moves ``states``.

    Raises as a ``Writer``.
    """

    def __init__(self, sections, states, receive, own):
        _check_size(sections, receive)
        together, alone = _split(sections)
        self.receive, self._sections = receive, len(sections)
        self._launches = []
        for path, codec, indices in together:
            chosen = [sections[index] for index in indices]
            first, moved = chosen[0], _states(states, indices)
            shape = (receive.shape[0] - (own is not None), first.tokens, first.channels)
            how = {
                "offsets": [section.offset for section in chosen],
                "own": formats.NOBODY if own is None else own,
                "codec": codec,
                "order": first.order,
                "tokens": first.tokens,
                "channels": first.channels,
                "dtype": first.blocks.dtype,
                "keyframe": first.keyframe,
                "continues": first.continues,
            }
            decode = _launches(path).Decoding(moved, receive, **how)
            # a native base is what was received
            bases = [first.layout.base(state).unbind() for state in moved] if moved and first.layout.in_place else None
            like = {"size": shape, "dtype": first.blocks.dtype, "device": receive.device}
            self._launches.append((decode, indices, bases, like))
        self._alone = [
            (index, sections[index], _room(receive[blocks], sections[index]), _part(states[index], compact))
            for index in alone
            for blocks, compact in _slices(receive.shape[0], own)
        ]
        # a codec's decode is finite whatever the bytes; an exact keyframe can hold anything
        self._unchecked = [index for index, each in enumerate(sections) if each.order and each.codec is None]

    def read(self):
        """Per section the values [N, C] by rank, without rank ``own``'s. Values are views of the state where there is one."""
        values = [[] for _ in range(self._sections)]
        for decode, indices, bases, like in self._launches:
            outs = [] if bases else [torch.empty(**like) for _ in indices]
            decode(outs)
            for index, blocks in zip(indices, bases or outs):
                values[index].extend(blocks)
        for index, section, *place in self._alone:
            values[index].extend(coding.decode(section, *place))
        return values

    def non_finite(self, values):
        """Whether a base now holds NaN or Inf that came in: a 0-d bool tensor, or None where that cannot be.

        ``values`` as ``read`` gave them.
        """
        seen = None
        for index in self._unchecked:
            for block in values[index]:
                found = ~torch.isfinite(block.sum(dtype=torch.float32))
                seen = found if seen is None else seen | found
        return seen


def write(sections, states, send, own, histories=None):
    """A ``Writer``'s one write."""
    writer = Writer(sections, states, send, own, histories)
    writer.write()
    writer.keep()


def read(sections, states, receive, own):
    """A ``Reader``'s one reading."""
    return Reader(sections, states, receive, own).read()


def _check_size(sections, messages):
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
    if compiled.takes(codec, section.order, blocks, section.keyframe):
        path = COMPILED
    elif kernels.available(blocks.device) and _triton_takes(section):
        path = TRITON
    else:
        return None
    if section.keyframe:
        how = section.keyframe, section.continues
    else:
        how = section.keyframe, section.treatment.feedback, section.statistics, section.keeps_history
    return path, codec, section.order, *how, in_eight_bits, blocks.dtype, blocks.shape, blocks.stride()


def _triton_takes(section):
    form = formats.of(section.codec_name)
    return form is not None and form.codes(section.order, section.keyframe)


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
