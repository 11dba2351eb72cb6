"""One collective call as a rank makes it, without the collective: the messages of the live path, written and read."""

import torch

from cfx_shim import messages, statistics
from cfx_shim._contract import SECTION_ALIGN
from cfx_shim.coding import Section
from cfx_shim.state import aligned


class Call:
    """Our ``blocks``, each [1, N, C], in one message to all, and as many messages of ``peers`` ranks as we would get."""

    def __init__(self, blocks, treatment, peers):
        self.sections = [Section(role, x, treatment) for role, x in zip("qkvo", blocks)]
        size = 0
        for section in self.sections:
            section.offset, size = size, size + aligned(section.bytes)
        device = blocks[0].device
        self.send = torch.zeros((1, size + SECTION_ALIGN), dtype=torch.uint8, device=device)
        # a peer's message like ours; one alone is ours
        self.receive = self.send if peers == 1 else torch.zeros((peers, self.send.shape[1]), dtype=torch.uint8, device=device)
        self.sent = [_state(section, 1) for section in self.sections]
        self.received = [_state(section, peers) for section in self.sections]
        # until there are statistics of a step before
        previous = treatment.statistics == statistics.PREVIOUS
        self._exact_sends = treatment.order if previous else 0
        self.histories = [_history(section) if previous else None for section in self.sections]
        self._writer = self._written(statistics.EXACT if previous else treatment.statistics)
        self._reader = self.reader(self.receive)

    def reader(self, receive):
        """Of messages like ours in ``receive``, for the same states."""
        return messages.Reader(self.sections, self.received, receive, None)

    def _written(self, taken):
        for section in self.sections:
            section.statistics = taken
        return messages.Writer(self.sections, self.sent, self.send, None, self.histories)

    def start(self, blocks):
        """Every base becomes ``blocks``, as after an exact keyframe."""
        for section, x, *ends in zip(self.sections, blocks, self.sent, self.received):
            for state in ends:
                if state is not None:
                    section.layout.start(state, x.expand(len(state), *x.shape[1:]), None)

    def encode(self, blocks):
        """All that is sent; ``keep`` has to follow."""
        for section, x in zip(self.sections, blocks):
            section.blocks = x
        self._writer.write()

    def keep(self):
        """What later sends take, and nothing that is sent waits for."""
        self._writer.keep()
        if self._exact_sends > 0:
            self._exact_sends -= 1
            if self._exact_sends == 0:
                self._writer = self._written(statistics.PREVIOUS)

    @property
    def keeps_behind(self):
        """Whether ``keep`` has work."""
        return self._writer.keeps_behind

    def deliver(self):
        if self.receive is not self.send:
            self.receive.copy_(self.send.expand_as(self.receive))

    def decode(self):
        """Per section a list of what was received, [N, C] each."""
        return self._reader.read()

    @property
    def payload_bytes(self):
        """Of the first section, its predictor's included."""
        return self.sections[0].bytes

    @property
    def path(self):
        """What does the work: "triton", "compiled" (the CPU's kernels) or "torch"."""
        kind = messages.kernel_kind(self.sections[0])
        return "torch" if kind is None else kind[0]


def _state(section, count):
    if section.order == 0:
        return None
    return torch.zeros(section.layout.shape(count), dtype=section.layout.stored, device=section.blocks.device)


def _history(section):
    kept = statistics.layout(section.codec, section.channels)
    return torch.zeros(kept.shape(1), dtype=kept.stored, device=section.blocks.device)
