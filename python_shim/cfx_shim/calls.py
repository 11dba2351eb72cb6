"""A collective call as its site makes it step after step: laid out once, for as long as only numbers change.

What a send is (keyframe or not), where its bases, buffers and counters are and what codes it follows from the plan, the
shapes and which bases are valid. A site's next call takes all that over from its last one where these are the same.
"""

from dataclasses import dataclass, replace

import torch

from . import messages, statistics
from ._contract import SECTION_ALIGN
from .base_store import BaseKey
from .state import aligned


@dataclass(frozen=True)
class Kind:
    """A collective: ``ends`` names what a sender and what a receiver keeps; ``to_each``: every peer gets a block of its own."""

    name: str
    ends: tuple
    to_each: bool

    def count(self, end, group):
        """Blocks that are kept at ``end``."""
        return group.size - 1 if self.to_each or end == self.ends[1] else 1


ALL_TO_ALL = Kind("all_to_all", ("send", "receive"), True)
ALL_GATHER = Kind("all_gather", ("own", "peers"), False)


class Calls:
    """The last call of every site."""

    def __init__(self, bases, telemetry):
        self.bases = bases
        self.telemetry = telemetry
        self._buffers = {}
        self._known = {}
        self._version = None

    def open(self, place, sections, group, kind, warm):
        """The ``Call`` that sends ``sections``; ``warm``: this step is one of the warm-up."""
        if self._version != self.bases.version:
            self._known.clear()
            self._version = self.bases.version
        site = kind.name, group.name, place.transformer, place.layer, place.branch, *[each.role for each in sections]
        call = self._known.get(site)
        if call is None or not call.goes_on(sections, warm):
            call = self._known[site] = Call(self, place, sections, group, kind, warm)
        call.take(sections)
        return call

    def forget(self):
        """Process groups were destroyed: their names may come again."""
        self._known.clear()

    def buffer(self, group, end, shape, device):
        key = (group.name, end, shape, device)
        buffer = self._buffers.get(key)
        if buffer is None:
            # the flag blocks' unused bytes and the padding stay zero for good
            buffer = self._buffers[key] = torch.zeros(shape, dtype=torch.uint8, device=device)
        return buffer


class Call:
    """``send`` and ``receive`` [messages, bytes] with ``writer`` and ``reader`` for them; ``flags``: those received."""

    def __init__(self, calls, place, sections, group, kind, warm):
        self._bases, self._group, self._kind, self._warm = calls.bases, group, kind, warm
        self.sections, self._site = [replace(each) for each in sections], site_of(place)
        self._branch, self._device = place.branch, sections[0].blocks.device
        self._likes = [_like(each.blocks) for each in sections]
        size = self._lay_out()
        sender, receiver = kind.ends
        sent = (group.size if kind.to_each else 1, size)
        self.send = calls.buffer(group, sender, sent, self._device)
        self.receive = calls.buffer(group, receiver, (group.size, size), self._device)
        self.flags = self.receive[:, -SECTION_ALIGN]
        own = group.rank if kind.to_each else None
        histories = [self._history(each)[0] if each.keeps_history else None for each in self.sections]
        self.writer = messages.Writer(self.sections, self.states(sender), self.send, own, histories)
        self.reader = messages.Reader(self.sections, self.states(receiver), self.receive, group.rank)
        self._counts, self._marked = self._counters(calls.telemetry), False
        # a keyframe is followed by something else, and so is a send whose statistics a later one can take from a history
        self._repeats = not any(
            each.keyframe or (each.keeps_history and each.statistics != statistics.PREVIOUS) for each in self.sections
        )

    def goes_on(self, sections, warm):
        """Whether this call can serve for ``sections``, as long as the bases' version is the same."""
        return (
            self._repeats
            and warm == self._warm
            and all(
                # equal ones are nearly always the same one
                (mine.treatment is other.treatment or mine.treatment == other.treatment)
                and _same_kind(like, other.blocks)
                and other.blocks.device == self._device
                for mine, like, other in zip(self.sections, self._likes, sections)
            )
        )

    def take(self, sections):
        """Send these sections' blocks, which are held until ``done``."""
        for mine, other in zip(self.sections, sections):
            mine.blocks = other.blocks

    def done(self):
        """It was sent and received: its bases are valid now. Counts it."""
        if not self._marked:
            self._marked = True
            for section in self.sections:
                self._mark(section)
        for section, like in zip(self.sections, self._likes):
            section.blocks = like
        for counters, compressed, keyframe, raw, wire in self._counts:
            counters.calls += 1
            counters.compressed += compressed
            counters.keyframes += keyframe
            counters.raw_bytes += raw
            counters.wire_bytes += wire

    def states(self, end, count=None):
        """Per section the state of ``end``'s blocks, or None where none is kept."""
        count = self._kind.count(end, self._group) if count is None else count
        return [
            self._bases.get(self._key(section, end), section.layout, count, self._device)[0] if section.order else None
            for section in self.sections
        ]

    def _lay_out(self):
        """Decides what each send is and where it lies; returns the bytes of a message."""
        offset = 0
        for section in self.sections:
            has_base = section.order > 0 and self._has_base(section)
            section.open(self._warm, has_base, has_base and self._has_history(section))
            section.offset = offset
            offset += aligned(section.bytes)
        return offset + SECTION_ALIGN

    def _key(self, section, end):
        return BaseKey(self._group.name, self._site, section.role, self._branch, end)

    def _has_base(self, section):
        for end in self._kind.ends:
            count = self._kind.count(end, self._group)
            if not self._bases.get(self._key(section, end), section.layout, count, self._device)[1]:
                return False
        # a sender's base that went without feedback is not what the receivers hold: it cannot serve with it
        sender = self._key(section, self._kind.ends[0])
        return self._bases.is_comparable(sender) or not section.treatment.feedback

    def _history_key(self, section):
        return self._key(section, f"{self._kind.ends[0]} statistics")

    def _history(self, section):
        """(history, valid) of the sender."""
        layout = statistics.layout(section.codec, section.channels)
        return self._bases.get(
            self._history_key(section), layout, self._kind.count(self._kind.ends[0], self._group), self._device
        )

    def _has_history(self, section):
        if section.treatment.statistics != statistics.PREVIOUS:
            return False
        return self._history(section)[1] and self._bases.age(self._history_key(section)) >= section.order

    def _mark(self, section):
        if section.order == 0:
            return
        sender, receiver = self._kind.ends
        self._bases.set_valid(self._key(section, sender), self._group, section.treatment.feedback)
        self._bases.set_valid(self._key(section, receiver), self._group, True)
        # it is that of the step before or none
        if section.keeps_history:
            self._bases.set_valid(self._history_key(section), self._group, False)
        else:
            self._bases.drop(self._history_key(section))

    def _counters(self, telemetry):
        peers = self._group.size - 1
        return [
            (
                telemetry.counters(self._site, section.role, self._kind.name, section.treatment.codec or "off"),
                section.treatment.codec is not None and not section.keyframe,
                section.keyframe,
                peers * section.block_bytes,
                peers * (aligned(section.bytes) + (SECTION_ALIGN if index == 0 else 0)),
            )
            for index, section in enumerate(self.sections)
        ]


def _like(blocks):
    """All of ``blocks`` but its numbers and its device."""
    return torch.empty_strided(blocks.shape, blocks.stride(), dtype=blocks.dtype, device="meta")


def _same_kind(one, other):
    return one.shape == other.shape and one.stride() == other.stride() and one.dtype == other.dtype


def site_of(place):
    """Under which name a place's bases and counters are kept."""
    return f"{place.transformer}.{place.layer}"
