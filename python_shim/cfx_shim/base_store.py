"""Bases: the running reconstructions that both ends of a site keep.

A base is created by a keyframe and lives until a generation, shape, dtype, batch, group, branch, transformer or plan
changes. Its memory is kept across generations, so that a server allocates once. Bases are in the tensor's own dtype:
what a receiver uses and what it keeps are the same numbers.
"""

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class BaseKey:
    """One base: whose (``group`` name, ``site`` = transformer and layer, ``role``, ``branch``) and which ``end``.

    ``end`` is ``send`` or ``receive`` (all_to_all, one block per peer), ``own`` or ``peers`` (all_gather).
    """

    group: str
    site: str
    role: str
    branch: int
    end: str


class BaseStore:
    def __init__(self):
        self._tensors = {}
        self._valid = {}

    def get(self, key: BaseKey, shape, dtype, device):
        """(tensor, valid): the base of ``shape`` for ``key``. A new, re-shaped or dropped one is not valid."""
        tensor = self._tensors.get(key)
        if tensor is None or tensor.shape != torch.Size(shape) or tensor.dtype != dtype or tensor.device != device:
            tensor = self._tensors[key] = torch.empty(shape, dtype=dtype, device=device)
            self._valid.pop(key, None)
        return tensor, key in self._valid

    def set_valid(self, key: BaseKey, group, comparable: bool):
        """``comparable``: the other end holds the same bits (not so for a sender's base without feedback)."""
        self._valid[key] = (group, comparable)

    def is_comparable(self, key: BaseKey) -> bool:
        return key in self._valid and self._valid[key][1]

    def drop_all(self):
        """Every site starts from a keyframe; memory is kept."""
        self._valid.clear()

    def drop_group(self, group: str):
        self._valid = {key: value for key, value in self._valid.items() if key.group != group}

    def free(self):
        """Give the memory back."""
        self._tensors.clear()
        self._valid.clear()

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors.values())

    def digests(self) -> dict:
        """Digest of every comparable base, under a name that all ranks which hold the same base give it.

        The name is ``site|role|branch|source>destination`` in global ranks, with ``*`` for all ranks of a ring.
        """
        found = {}
        for key, (group, comparable) in self._valid.items():
            if not comparable:
                continue
            me = group.ranks[group.rank]
            peers = [rank for rank in group.ranks if rank != me]
            for index, tensor in enumerate(self._tensors[key]):
                ends = {
                    "send": lambda: f"{me}>{peers[index]}",
                    "receive": lambda: f"{peers[index]}>{me}",
                    "own": lambda: f"{me}>*",
                    "peers": lambda: f"{peers[index]}>*",
                }[key.end]()
                found[f"{key.site}|{key.role}|{key.branch}|{ends}"] = digest(tensor)
        return found


def add_decoded_(base, values):
    """``base`` += ``values`` in place: the one way a base moves, on the sender and on every receiver.

    ``base`` [..., N, C] in its own dtype, ``values`` float32 of the same shape. The sum is formed in float32 and
    rounded once to the base's dtype; float16 saturates instead of overflowing.
    """
    if base.dtype == torch.float32:
        return base.add_(values)
    return round_into_(base, values.add_(base))


def round_into_(state, values):
    """``state`` = ``values``, float32, rounded to its dtype; float16 saturates."""
    return state.copy_(values.clamp(-65504.0, 65504.0) if state.dtype == torch.float16 else values)


def digest(tensor) -> str:
    """64 bits over the exact bytes of ``tensor``, as hex."""
    raw = tensor.detach().contiguous().view(torch.uint8).cpu().numpy()
    return hashlib.blake2b(raw.tobytes(), digest_size=8).hexdigest()
