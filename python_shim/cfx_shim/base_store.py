"""Bases: the running reconstructions that both ends of a site keep.

A base is created by a keyframe and lives until a generation, shape, dtype, batch, group, branch, transformer or plan
changes. Its memory is kept across generations, so that a server allocates once. How the numbers are
kept is the layout's (see ``state``).
"""

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class BaseKey:
    """One base: whose (``group`` name, ``site`` = transformer and layer, ``role``, ``branch``) and which ``end``.

    ``end`` is ``send`` or ``receive`` (all_to_all, one block per peer), ``own`` or ``peers`` (all_gather); a sender's
    history (see ``statistics``) is kept alike under its end and ``statistics``, and nobody else's is comparable.
    """

    group: str
    site: str
    role: str
    branch: int
    end: str


class BaseStore:
    def __init__(self):
        self._tensors = {}
        self._layouts = {}
        self._valid = {}
        # grows whenever what was got before may be another tensor now, or no longer valid
        self.version = 0

    def get(self, key: BaseKey, layout, blocks, device):
        """(tensor, valid): the state of ``blocks`` blocks for ``key``. A new, dropped or otherwise laid out one is not valid."""
        tensor = self._tensors.get(key)
        if tensor is None or self._layouts[key] != layout or tensor.shape[0] != blocks or tensor.device != device:
            tensor = self._tensors[key] = torch.empty(layout.shape(blocks), dtype=layout.stored, device=device)
            self._layouts[key] = layout
            self._valid.pop(key, None)
            self.version += 1
        return tensor, key in self._valid

    def set_valid(self, key: BaseKey, group, comparable: bool):
        """``comparable``: the other end holds the same bits (not so for a sender's base without feedback)."""
        self._valid[key] = (group, comparable, self.age(key) + 1)

    def age(self, key: BaseKey) -> int:
        """How many sends have set it since it was last not valid."""
        return self._valid[key][2] if key in self._valid else 0

    def is_comparable(self, key: BaseKey) -> bool:
        return key in self._valid and self._valid[key][1]

    def drop(self, key: BaseKey):
        """Only ``key`` has to start anew."""
        if self._valid.pop(key, None) is not None:
            self.version += 1

    def drop_all(self):
        """Every site starts from a keyframe; memory is kept."""
        self._valid.clear()
        self.version += 1

    def drop_group(self, group: str):
        self._valid = {key: value for key, value in self._valid.items() if key.group != group}
        self.version += 1

    def free(self):
        """Give the memory back."""
        self._tensors.clear()
        self._layouts.clear()
        self._valid.clear()
        self.version += 1

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors.values())

    def digests(self) -> dict:
        """Digest of every comparable base, under a name that all ranks which hold the same base give it.

        The name is ``site|role|branch|source>destination`` in global ranks, with ``*`` for all ranks of a ring.
        """
        found = {}
        for key, (group, comparable, _) in self._valid.items():
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


def digest(tensor) -> str:
    """64 bits over the exact bytes of ``tensor``, as hex."""
    raw = tensor.detach().contiguous().view(torch.uint8).cpu().numpy()
    return hashlib.blake2b(raw.tobytes(), digest_size=8).hexdigest()
