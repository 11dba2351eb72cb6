"""The two all-to-alls of an attention call: q, k, v in, o out.

Tensors are [b, h, s, d] (batch, heads, sequence, head size) as xDiT passes them. A chunk for one peer is coded as
N = b·s tokens by C = h·d channels of what that peer gets: h/P heads of q, k, v, or s/P positions of o.

Upstream: xfuser ``usp._combined_qkv_all_to_all``, ``_combined_gqa_qkv_all_to_all``, ``_ft_c_input_all_to_all``,
``_ft_c_output_all_to_all``.
"""

import torch
import torch.distributed as dist

from ..coding import Section
from ..collectives import CODABLE, Group
from ..plan import UNTOUCHED

_INPUT_ROLES = ("q", "k", "v")


class UlyssesExchange:
    def __init__(self, session, world_size, group):
        self._session = session
        self._world_size = world_size
        self._find_group = group
        self._groups = {}
        self._separate_calls = 0

    # wrappers: each takes the original helper and returns its replacement

    def combined(self, original):
        @torch._dynamo.disable
        def combined_all_to_all(q, k, v, *extra):
            if self._world_size() <= 1:
                return original(q, k, v, *extra)
            self._session.enter()
            return tuple(self._exchange((q, k, v, *extra), _scatter_heads, lambda: original(q, k, v, *extra)))

        return combined_all_to_all

    def separate(self, original):
        @torch._dynamo.disable
        def input_all_to_all(x):
            if self._world_size() <= 1:
                return original(x)
            if not self._session.progress.attention_open:
                self._separate_calls = 0
                self._session.enter()
            index, self._separate_calls = self._separate_calls, self._separate_calls + 1
            return self._exchange((x,), _scatter_heads, lambda: (original(x),), first=index)[0]

        return input_all_to_all

    def output(self, original):
        @torch._dynamo.disable
        def output_all_to_all(x):
            if self._world_size() <= 1:
                return original(x)
            if not self._session.progress.attention_open:
                # the inputs went another way (fp8 comms): this is not an attention call of ours
                return original(x)
            result = self._exchange((x,), _scatter_sequence, lambda: (original(x),), roles=("o",))[0]
            self._session.progress.attention_end()
            return result

        return output_all_to_all

    def _exchange(self, tensors, layout, run_original, first=0, roles=_INPUT_ROLES):
        session, group = self._session, self._group()
        place = session.progress.place()
        named = [(roles[first + i] if first + i < len(roles) else "x", tensor) for i, tensor in enumerate(tensors)]
        treatments = [self._treatment(place, role, tensor) for role, tensor in named]
        if not session.agreed or not any(treatment.codec for treatment in treatments):
            for role, tensor in named:
                raw_bytes = tensor.numel() * tensor.element_size() // group.size * (group.size - 1)
                session.count_untouched(place, role, "all_to_all", raw_bytes)
            return run_original()
        scatter, gather = layout
        sections = [
            Section(role, scatter(tensor, group.size), treatment) for (role, tensor), treatment in zip(named, treatments)
        ]
        received = session.collectives.all_to_all(place, sections, group)
        return [gather(blocks, tensor, group.size) for blocks, (_, tensor) in zip(received, named)]

    def _treatment(self, place, role, tensor):
        if role == "x" or tensor.dtype not in CODABLE:
            return UNTOUCHED
        return self._session.treatment(place, role, "all_to_all")

    def _group(self):
        return describe(self._find_group(), self._groups)


def describe(handle, known) -> Group:
    """The ``Group`` of a process group, remembered in ``known``."""
    found = known.get(handle)
    if found is None:
        ranks = tuple(dist.get_process_group_ranks(handle))
        found = known[handle] = Group(handle, handle.group_name, dist.get_rank(handle), ranks)
    return found


def _heads_to_chunks(x, size):
    batch, heads, sequence, width = x.shape
    chunks = x.unflatten(1, (size, heads // size))
    return chunks.permute(1, 0, 3, 2, 4).reshape(size, batch * sequence, heads // size * width)


def _chunks_to_sequence(blocks, x, size):
    batch, heads, sequence, width = x.shape
    out = torch.empty((batch, heads // size, size, sequence, width), dtype=x.dtype, device=x.device)
    for source, block in enumerate(blocks):
        out[:, :, source] = block.view(batch, sequence, heads // size, width).transpose(1, 2)
    return out.view(batch, heads // size, size * sequence, width)


def _sequence_to_chunks(x, size):
    batch, heads, sequence, width = x.shape
    chunks = x.unflatten(2, (size, sequence // size))
    return chunks.permute(2, 0, 3, 1, 4).reshape(size, batch * (sequence // size), heads * width)


def _chunks_to_heads(blocks, x, size):
    batch, heads, sequence, width = x.shape
    out = torch.empty((batch, size, heads, sequence // size, width), dtype=x.dtype, device=x.device)
    for source, block in enumerate(blocks):
        out[:, source] = block.view(batch, sequence // size, heads, width).transpose(1, 2)
    return out.view(batch, size * heads, sequence // size, width)


_scatter_heads = (_heads_to_chunks, _chunks_to_sequence)
_scatter_sequence = (_sequence_to_chunks, _chunks_to_heads)
