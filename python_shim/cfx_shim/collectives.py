"""Compressed all_to_all and all_gather: sections in, peers' blocks out. Knows no framework.

A message to one peer is its sections in order, each padded to ``SECTION_ALIGN`` bytes, and one flag block of
``SECTION_ALIGN`` bytes whose first byte is 1 if this rank's input to the call held NaN or Inf. Sizes follow from
(plan, step, site, shape) alone, so both ends know them without asking.

What codecs decode is finite whatever the bytes; a receiver that finds NaN or Inf in an exact keyframe says so with the
flag of its next message. Flags are gathered on the device and read once a step, at the group's first call of the next
one: then every rank of the group drops all its bases of the group, and each site goes on from a keyframe.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist

from . import messages
from ._contract import SECTION_ALIGN
from .calls import ALL_GATHER, ALL_TO_ALL, Calls, site_of
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


def _without_autograd(function):
    """Plain tensors in and out, whatever mode the caller is in: bases outlive one mode and may be written in another."""
    return torch.inference_mode(False)(torch.no_grad()(function))


class Collectives:
    def __init__(self, bases, telemetry):
        self._bases = bases
        self._telemetry = telemetry
        self._calls = Calls(bases, telemetry)
        # per group: the flags of each rank's messages since the last step
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
        call = self._open(place, sections, group, ALL_TO_ALL)
        # else it goes on the stream that waits for it
        beside = call.writer.keeps_behind
        work = dist.all_to_all_single(call.receive, call.send, group=group.handle, async_op=beside)
        call.writer.keep()
        if beside:
            work.wait()
        return self._close(call, group, [section.blocks[group.rank] for section in sections])

    @_without_autograd
    def start_all_gather(self, place: Place, sections, group: Group):
        """Begin sending our block of every section to all ranks; returns a function that waits for theirs.

        The function returns, per section, a list of P blocks [N, C] by source rank; our own is the exact input.
        """
        call = self._open(place, sections, group, ALL_GATHER)
        work = dist.all_gather_into_tensor(call.receive, call.send, group=group.handle, async_op=True)
        call.writer.keep()

        @_without_autograd
        def finish():
            work.wait()
            return self._close(call, group, [section.blocks[0] for section in sections])

        return finish

    def _open(self, place, sections, group, kind):
        """The call, with all that it sends in its buffer."""
        self.settle(group, (place.generation, place.step))
        call = self._calls.open(place, sections, group, kind, place.step < self.warmup_steps)
        call.writer.write()
        self._pass_on(group, call.send)
        if self.observer is not None and self.observer.looks():
            self._show(place, call, group, kind)
        return call

    def _close(self, call, group, own):
        """Per section the blocks [N, C] by source rank, out of what ``call`` received; ours is ``own``'s, as it was."""
        self._collect_flags(group, call.flags)
        results = call.reader.read()
        seen = call.reader.non_finite(results)
        if seen is not None:
            before = self._poisoned.get(group.name)
            self._poisoned[group.name] = seen if before is None else seen | before
        for blocks, exact in zip(results, own):
            blocks.insert(group.rank, exact)
        call.done()
        return results

    def _show(self, place, call, group, kind):
        """Let the observer see each send, beside what a receiver of our own makes of the same bytes."""
        own = group.rank if kind.to_each else None
        states = call.states("observed", kind.count(kind.ends[0], group))
        for section, received in zip(call.sections, messages.read(call.sections, states, call.send, own)):
            exact = [block for rank, block in enumerate(section.blocks) if rank != own]
            self.observer.sent(place, section, kind.name, torch.stack(exact), torch.stack(received))

    def count_untouched(self, place: Place, role: str, collective: str, raw_bytes: int):
        """A tensor that the framework sent itself: raw bytes = wire bytes."""
        counters = self._telemetry.counters(site_of(place), role, collective, "off")
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
        if before is None or flags is None or not flags.any():
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
            if flags is not None and flags.any():
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
        self._calls.forget()
        self._bases.free()

    def _pass_on(self, group, send):
        """A receiver may not drop a base alone: what it found tells all ranks of the group with its next message."""
        found = self._poisoned.pop(group.name, None)
        if found is not None:
            send[:, -SECTION_ALIGN].bitwise_or_(found.to(torch.uint8))

    def _collect_flags(self, group, received):
        flags = self._flags.get(group.name)
        if flags is None or flags.device != received.device:
            self._flags[group.name] = received.clone()
        else:
            torch.maximum(flags, received, out=flags)
