"""Ring attention: each rank's k and v, coded once, sent to all by one all-gather.

torch's ring hands its rotater k and v flattened into one buffer and asks for the peers' buffers one by one; shapes are
known one level up, where xDiT calls it. The exchange starts with the first hand-over, before the local block's
attention, and is decoded when the first peer's block is asked for, so wire and compute overlap by themselves.

Tensors are [b, h, s, d]; a block is coded as N = b·s tokens by C = h·d channels.

Upstream: torch ``_templated_ring_attention``, ``_create_rotater``, ``_RingRotater``; xfuser ``usp.ring_attn``.
"""

import torch
import torch.distributed as dist

from ..coding import Section
from ..collectives import CODABLE
from .ulysses import describe


class RingExchange:
    def __init__(self, session):
        self._session = session
        self._groups = {}
        self._shapes = None

    def announce(self, original, is_whole_attention):
        """Wrap ``usp.ring_attn``: remember the shapes of k and v, and name the attention call if nobody did."""

        @torch._dynamo.disable
        def ring_attn(attention_function, query, key, value, *args, **kwargs):
            whole = is_whole_attention()
            if whole:
                self._session.enter()
            self._shapes = (key.shape, value.shape) if key.dtype in CODABLE else None
            try:
                return original(attention_function, query, key, value, *args, **kwargs)
            finally:
                self._shapes = None
                if whole:
                    self._session.progress.attention_end()

        return ring_attn

    def create_rotater(self, original):
        def create(group, seq_dim, method=None):
            if self._shapes is None or dist.get_world_size(group) < 2:
                return original(group, seq_dim, method)
            shapes, self._shapes = self._shapes, None
            session, place = self._session, self._session.progress.place()
            treatments = [session.treatment(place, role, "all_gather") for role in "kv"]
            described = describe(group, self._groups)
            if not session.agreed or not any(treatment.codec for treatment in treatments):
                return _CountingRotater(original(group, seq_dim, method), session, place, described, shapes)
            return _CompressingRotater(session, place, described, shapes, treatments)

        return create


class _CountingRotater:
    """torch's own rotater; its traffic is counted as raw."""

    def __init__(self, rotater, session, place, group, shapes):
        self._rotater = rotater
        self._session = session
        self._place = place
        self._group = group
        self._shapes = shapes

    def exchange_buffers(self, buffer):
        if self._shapes is not None:
            for role, shape in zip("kv", self._shapes):
                raw_bytes = shape.numel() * buffer.element_size() * (self._group.size - 1)
                self._session.count_untouched(self._place, role, "all_gather", raw_bytes)
            self._shapes = None
        return self._rotater.exchange_buffers(buffer)

    def next_buffer(self):
        return self._rotater.next_buffer()


class _CompressingRotater:
    """Serves one attention call: torch asks P - 1 times to exchange, and P - 1 times for a peer's block."""

    def __init__(self, session, place, group, shapes, treatments):
        self._session = session
        self._place = place
        self._group = group
        self._shapes = shapes
        self._treatments = treatments
        self._finish = None
        self._blocks = None
        self._hops = 0

    def exchange_buffers(self, buffer):
        self._hops += 1
        if self._finish is not None:
            return  # every block is already on its way
        sections, offset = [], 0
        for role, shape, treatment in zip("kv", self._shapes, self._treatments):
            tensor = buffer[offset : offset + shape.numel()].view(shape)
            offset += shape.numel()
            sections.append(Section(role, _to_block(tensor), treatment))
        self._finish = self._session.collectives.start_all_gather(self._place, sections, self._group)

    def next_buffer(self):
        if self._blocks is None:
            self._blocks = self._finish()
        source = (self._group.rank - self._hops) % self._group.size
        flat = [_from_block(blocks[source], shape) for blocks, shape in zip(self._blocks, self._shapes)]
        return torch.cat(flat)


def _to_block(x):
    batch, heads, sequence, width = x.shape
    return x.transpose(1, 2).reshape(1, batch * sequence, heads * width)


def _from_block(block, shape):
    batch, heads, sequence, width = shape
    return block.view(batch, sequence, heads, width).transpose(1, 2).reshape(-1)


