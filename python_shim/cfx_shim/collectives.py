"""Compressed all_to_all and all_gather: sections in, peers' blocks out. Knows no framework.

A message to one peer is its sections in order, each padded to ``SECTION_ALIGN`` bytes, and one flag block of
``SECTION_ALIGN`` bytes whose first byte is 1 if this rank's input to the call held NaN or Inf. Sizes follow from
(plan, step, site, shape) alone, so both ends know them without asking.

Flags are gathered on the device and read once a step, at the group's first call of the next one: then every rank of
the group drops all its bases of the group, and each site goes on from a keyframe.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist

from . import coding
from ._contract import SECTION_ALIGN
from .base_store import BaseKey
from .coding import Section, aligned
from .progress import Place

# what codecs take; anything else (fp8, integers) stays with the framework
CODABLE = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class Group:
    """A process group as a collective needs it: ``handle`` for torch.distributed, our rank in it, all global ranks."""

    handle: object
    name: str
    rank: int
    ranks: tuple

    @property
    def size(self):
        return len(self.ranks)

    def peer_slices(self):
        """(blocks of the group, blocks of a compact per-peer tensor) for the ranks before and after our own."""
        before = (slice(0, self.rank), slice(0, self.rank))
        after = (slice(self.rank + 1, self.size), slice(self.rank, self.size - 1))
        return [pair for pair in (before, after) if pair[0].stop > pair[0].start]


def _without_autograd(function):
    """Plain tensors in and out, whatever mode the caller is in: bases outlive one mode and may be written in another."""
    return torch.inference_mode(False)(torch.no_grad()(function))


class Collectives:
    def __init__(self, bases, telemetry):
        self._bases = bases
        self._telemetry = telemetry
        self._buffers = {}
        self._flags = {}
        self._settled = {}
        self.warmup_steps = 1
        # looks at what is sent, where a run is observed
        self.observer = None

    # the two collectives

    @_without_autograd
    def all_to_all(self, place: Place, sections, group: Group):
        """Send block p of every section to rank p. Returns, per section, a list of P blocks [N, C] by source rank.

        Our own block is the input's; the others are views that the group's next call overwrites.
        """
        self.settle(group, (place.generation, place.step))
        size = self._lay_out(place, sections, group, "all_to_all", ("send", "receive"))
        send = self._buffer(group, "send", (group.size, size), sections[0].blocks.device)
        receive = self._buffer(group, "receive", (group.size, size), sections[0].blocks.device)
        flag = None
        for section in sections:
            base = self._base(place, section, group, "send", group.size - 1)
            for blocks, compact in group.peer_slices():
                seen = coding.encode(section, section.blocks[blocks], _room(send[blocks], section), _part(base, compact))
                flag = seen if flag is None else flag | seen
        send[:, -SECTION_ALIGN] = flag
        self._show(place, sections, group, "all_to_all", send)
        dist.all_to_all_single(receive, send, group=group.handle)
        self._collect_flags(group, receive)
        self._count(place, sections, group, "all_to_all")
        results = []
        for section in sections:
            base = self._base(place, section, group, "receive", group.size - 1)
            results.append(_read(section, group, receive, base, section.blocks[group.rank]))
            self._mark(place, section, group, ("send", "receive"))
        return results

    @_without_autograd
    def start_all_gather(self, place: Place, sections, group: Group):
        """Begin sending our block of every section to all ranks; returns a function that waits for theirs.

        The function returns, per section, a list of P blocks [N, C] by source rank; our own is the exact input.
        """
        self.settle(group, (place.generation, place.step))
        size = self._lay_out(place, sections, group, "all_gather", ("own", "peers"))
        send = self._buffer(group, "own", (1, size), sections[0].blocks.device)
        receive = self._buffer(group, "peers", (group.size, size), sections[0].blocks.device)
        flag = None
        for section in sections:
            base = self._base(place, section, group, "own", 1)
            seen = coding.encode(section, section.blocks, _room(send, section), base)
            flag = seen if flag is None else flag | seen
        send[:, -SECTION_ALIGN] = flag
        self._show(place, sections, group, "all_gather", send)
        work = dist.all_gather_into_tensor(receive, send, group=group.handle, async_op=True)
        self._count(place, sections, group, "all_gather")

        @_without_autograd
        def finish():
            work.wait()
            self._collect_flags(group, receive)
            results = []
            for section in sections:
                base = self._base(place, section, group, "peers", group.size - 1)
                results.append(_read(section, group, receive, base, section.blocks[0]))
                self._mark(place, section, group, ("own", "peers"))
            return results

        return finish

    def _show(self, place, sections, group, collective, sent):
        """Let the observer see each send, beside what a receiver of our own makes of the same bytes."""
        if self.observer is None or not self.observer.looks():
            return
        slices = [(slice(0, 1), slice(0, 1))] if collective == "all_gather" else group.peer_slices()
        for section in sections:
            state = self._base(place, section, group, "observed", 1 if collective == "all_gather" else group.size - 1)
            received = [
                coding.decode(section, _room(sent[blocks], section), _part(state, compact)) for blocks, compact in slices
            ]
            exact = torch.cat([section.blocks[blocks] for blocks, _ in slices])
            self.observer.sent(place, section, collective, exact, torch.cat(received))

    def count_untouched(self, place: Place, role: str, collective: str, raw_bytes: int):
        """A tensor that the framework sent itself: raw bytes = wire bytes."""
        counters = self._telemetry.counters(_site(place), role, collective, "off")
        counters.calls += 1
        counters.raw_bytes += raw_bytes
        counters.wire_bytes += raw_bytes

    # flags

    def settle(self, group: Group, now):
        """At a group's first call of a step: act on the flags of the step before, alike on every rank of the group."""
        before = self._settled.get(group.name)
        if before == now:
            return
        self._settled[group.name] = now
        flags = self._flags.get(group.name)
        if before is None or flags is None or not flags.item():
            return
        flags.zero_()
        self._bases.drop_group(group.name)
        self._telemetry.fallback(
            "CFX_NON_FINITE", f"NaN or Inf in generation {before[0]}, step {before[1]}: the next step sends keyframes"
        )

    def settle_all(self):
        """At a generation's end: name what the last step's flags say."""
        for name, before in self._settled.items():
            flags = self._flags.get(name)
            if flags is not None and flags.item():
                flags.zero_()
                self._bases.drop_group(name)
                self._telemetry.fallback("CFX_NON_FINITE", f"NaN or Inf in generation {before[0]}, step {before[1]}")

    def forget_group_state(self):
        """Process groups were destroyed: their names may come again."""
        self._settled.clear()
        self._flags.clear()
        self._bases.free()

    def _collect_flags(self, group, receive):
        seen = receive[:, -SECTION_ALIGN].max()
        flags = self._flags.get(group.name)
        if flags is None or flags.device != seen.device:
            self._flags[group.name] = seen.clone()
        else:
            torch.maximum(flags, seen, out=flags)

    # layout, bases, counters

    def _lay_out(self, place, sections, group, collective, ends):
        offset = 0
        for section in sections:
            has_base = section.order > 0 and self._has_base(place, section, group, ends)
            section.open(place.step < self.warmup_steps, has_base)
            section.offset = offset
            offset += aligned(section.bytes)
        return offset + SECTION_ALIGN

    def _key(self, place, section, group, end):
        return BaseKey(group.name, _site(place), section.role, place.branch, end)

    def _has_base(self, place, section, group, ends):
        counts = {"send": group.size - 1, "receive": group.size - 1, "own": 1, "peers": group.size - 1}
        for end in ends:
            key = self._key(place, section, group, end)
            if not self._bases.get(key, section.layout, counts[end], section.blocks.device)[1]:
                return False
        # a sender's base that went without feedback is not what the receivers hold: it cannot serve with it
        sender = self._key(place, section, group, ends[0])
        return self._bases.is_comparable(sender) or not section.treatment.feedback

    def _base(self, place, section, group, end, count):
        """The state of ``count`` blocks of a residual section, or None where none is kept."""
        if section.order == 0:
            return None
        return self._bases.get(self._key(place, section, group, end), section.layout, count, section.blocks.device)[0]

    def _mark(self, place, section, group, ends):
        if section.order == 0:
            return
        for end in ends:
            comparable = section.treatment.feedback or end in ("receive", "peers")
            self._bases.set_valid(self._key(place, section, group, end), group, comparable)

    def _count(self, place, sections, group, collective):
        peers = group.size - 1
        for index, section in enumerate(sections):
            counters = self._telemetry.counters(
                _site(place), section.role, collective, section.treatment.codec or "off"
            )
            counters.calls += 1
            counters.keyframes += section.keyframe
            counters.compressed += section.treatment.codec is not None and not section.keyframe
            counters.raw_bytes += peers * section.block_bytes
            counters.wire_bytes += peers * (aligned(section.bytes) + (SECTION_ALIGN if index == 0 else 0))

    def _buffer(self, group, end, shape, device):
        key = (group.name, end, shape, device)
        buffer = self._buffers.get(key)
        if buffer is None:
            # the flag blocks' unused bytes and the padding stay zero for good
            buffer = self._buffers[key] = torch.zeros(shape, dtype=torch.uint8, device=device)
        return buffer


def _site(place):
    return f"{place.transformer}.{place.layer}"


def _read(section, group, receive, base, own):
    """The section's blocks [N, C] by source rank, out of ``receive`` [P, message bytes]; ours is ``own``, as it was."""
    blocks = {group.rank: own}
    for peers, compact in group.peer_slices():
        values = coding.decode(section, _room(receive[peers], section), _part(base, compact))
        blocks.update(zip(range(peers.start, peers.stop), values))
    return [blocks[rank] for rank in range(group.size)]


def _part(base, compact):
    return None if base is None else base[compact]


def _room(message, section):
    """The section's bytes [B, bytes] in ``message`` [B, message bytes]."""
    return message[:, section.offset : section.offset + section.bytes]
