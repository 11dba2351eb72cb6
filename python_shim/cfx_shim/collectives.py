"""Compressed all_to_all and all_gather: sections in, peers' blocks out. Knows no framework.

A message to one peer is its sections in order, each padded to ``SECTION_ALIGN`` bytes, and one flag block of
``SECTION_ALIGN`` bytes whose first byte is 1 if this rank's input to the call held NaN or Inf. Sizes follow from
(plan, step, site, shape) alone, so both ends know them without asking.

A receiver that decodes NaN or Inf into a base says so with the flag of its next message. Flags are gathered on the
device and read once a step, at the group's first call of the next one: then every rank of the group drops all its
bases of the group, and each site goes on from a keyframe.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist

from . import messages, statistics
from ._contract import SECTION_ALIGN
from .base_store import BaseKey
from .progress import Place
from .state import aligned

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


def _without_autograd(function):
    """Plain tensors in and out, whatever mode the caller is in: bases outlive one mode and may be written in another."""
    return torch.inference_mode(False)(torch.no_grad()(function))


class Collectives:
    def __init__(self, bases, telemetry):
        self._bases = bases
        self._telemetry = telemetry
        self._buffers = {}
        self._flags = {}
        # per group: whether what was decoded since our last send was finite
        self._poisoned = {}
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
        bases = [self._base(place, section, group, "send", group.size - 1) for section in sections]
        messages.write(sections, bases, send, group.rank, self._histories(place, sections, group, "send"))
        self._pass_on(group, send)
        self._show(place, sections, group, "all_to_all", send)
        dist.all_to_all_single(receive, send, group=group.handle)
        self._collect_flags(group, receive)
        self._count(place, sections, group, "all_to_all")
        own = [section.blocks[group.rank] for section in sections]
        return self._read(place, sections, group, receive, own, ("send", "receive"))

    @_without_autograd
    def start_all_gather(self, place: Place, sections, group: Group):
        """Begin sending our block of every section to all ranks; returns a function that waits for theirs.

        The function returns, per section, a list of P blocks [N, C] by source rank; our own is the exact input.
        """
        self.settle(group, (place.generation, place.step))
        size = self._lay_out(place, sections, group, "all_gather", ("own", "peers"))
        send = self._buffer(group, "own", (1, size), sections[0].blocks.device)
        receive = self._buffer(group, "peers", (group.size, size), sections[0].blocks.device)
        bases = [self._base(place, section, group, "own", 1) for section in sections]
        messages.write(sections, bases, send, None, self._histories(place, sections, group, "own"))
        self._pass_on(group, send)
        self._show(place, sections, group, "all_gather", send)
        work = dist.all_gather_into_tensor(receive, send, group=group.handle, async_op=True)
        self._count(place, sections, group, "all_gather")

        @_without_autograd
        def finish():
            work.wait()
            self._collect_flags(group, receive)
            own = [section.blocks[0] for section in sections]
            return self._read(place, sections, group, receive, own, ("own", "peers"))

        return finish

    def _show(self, place, sections, group, collective, sent):
        """Let the observer see each send, beside what a receiver of our own makes of the same bytes."""
        if self.observer is None or not self.observer.looks():
            return
        own, count = (None, 1) if collective == "all_gather" else (group.rank, group.size - 1)
        states = [self._base(place, section, group, "observed", count) for section in sections]
        for section, received in zip(sections, messages.read(sections, states, sent, own)):
            exact = [block for rank, block in enumerate(section.blocks) if rank != own]
            self.observer.sent(place, section, collective, torch.stack(exact), torch.stack(received))

    def _read(self, place, sections, group, receive, own, ends):
        """Per section the blocks [N, C] by source rank, out of ``receive`` [P, message bytes]; ours is ``own``'s, as it was."""
        bases = [self._base(place, section, group, ends[1], group.size - 1) for section in sections]
        results = messages.read(sections, bases, receive, group.rank)
        seen = messages.non_finite(sections, results)
        if seen is not None:
            before = self._poisoned.get(group.name)
            self._poisoned[group.name] = seen if before is None else seen | before
        for section, blocks, exact in zip(sections, results, own):
            blocks.insert(group.rank, exact)
            self._mark(place, section, group, ends)
        return results

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
        self._drop(group.name)
        self._telemetry.fallback(
            "CFX_NON_FINITE", f"NaN or Inf in generation {before[0]}, step {before[1]}: the next step sends keyframes"
        )

    def settle_all(self):
        """At a generation's end: name what the last step's flags say."""
        for name, before in self._settled.items():
            flags = self._flags.get(name)
            if flags is not None and flags.item():
                flags.zero_()
                self._drop(name)
                self._telemetry.fallback("CFX_NON_FINITE", f"NaN or Inf in generation {before[0]}, step {before[1]}")

    def _drop(self, name):
        self._bases.drop_group(name)
        self._poisoned.pop(name, None)

    def forget_group_state(self):
        """Process groups were destroyed: their names may come again."""
        self._settled.clear()
        self._flags.clear()
        self._poisoned.clear()
        self._bases.free()

    def _pass_on(self, group, send):
        """A receiver may not drop a base alone: what it found tells all ranks of the group with its next message."""
        found = self._poisoned.pop(group.name, None)
        if found is not None:
            send[:, -SECTION_ALIGN].bitwise_or_(found.to(torch.uint8))

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
            has_history = has_base and self._has_history(place, section, group, ends[0])
            section.open(place.step < self.warmup_steps, has_base, has_history)
            section.offset = offset
            offset += aligned(section.bytes)
        return offset + SECTION_ALIGN

    def _key(self, place, section, group, end):
        return BaseKey(group.name, _site(place), section.role, place.branch, end)

    def _has_base(self, place, section, group, ends):
        for end in ends:
            key = self._key(place, section, group, end)
            if not self._bases.get(key, section.layout, _count_of(group, end), section.blocks.device)[1]:
                return False
        # a sender's base that went without feedback is not what the receivers hold: it cannot serve with it
        sender = self._key(place, section, group, ends[0])
        return self._bases.is_comparable(sender) or not section.treatment.feedback

    def _base(self, place, section, group, end, count):
        """The state of ``count`` blocks of a residual section, or None where none is kept."""
        if section.order == 0:
            return None
        return self._bases.get(self._key(place, section, group, end), section.layout, count, section.blocks.device)[0]

    def _history(self, place, section, group, end):
        """(history, valid) of a sender at ``end``."""
        key, layout = self._history_key(place, section, group, end), statistics.layout(section.codec, section.channels)
        return self._bases.get(key, layout, _count_of(group, end), section.blocks.device)

    def _has_history(self, place, section, group, end):
        if section.treatment.statistics != statistics.PREVIOUS:
            return False
        _, valid = self._history(place, section, group, end)
        return valid and self._bases.age(self._history_key(place, section, group, end)) >= section.order

    def _histories(self, place, sections, group, end):
        """Per section the history that the sender keeps, or None."""
        return [self._history(place, each, group, end)[0] if each.keeps_history else None for each in sections]

    def _history_key(self, place, section, group, end):
        return self._key(place, section, group, f"{end} statistics")

    def _mark(self, place, section, group, ends):
        if section.order == 0:
            return
        for end in ends:
            comparable = section.treatment.feedback or end in ("receive", "peers")
            self._bases.set_valid(self._key(place, section, group, end), group, comparable)
        # it is that of the step before or none
        history = self._history_key(place, section, group, ends[0])
        if section.keeps_history:
            self._bases.set_valid(history, group, False)
        else:
            self._bases.drop(history)

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


def _count_of(group, end):
    """Blocks that are kept at ``end``."""
    return 1 if end == "own" else group.size - 1


def _site(place):
    return f"{place.transformer}.{place.layer}"
