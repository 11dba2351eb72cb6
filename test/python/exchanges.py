"""One rank's collectives as tests drive them: inputs follow from (rank, step, role), so that every rank knows all."""

import json

import torch
import torch.distributed as dist
from ranks import world_group

from cfx_shim.base_store import BaseStore
from cfx_shim.coding import Section
from cfx_shim.collectives import Collectives
from cfx_shim.plan import Treatment
from cfx_shim.progress import Place
from cfx_shim.telemetry import Telemetry

BINARY = Treatment("binary", 1, True)
INT2 = Treatment("int2", 1, True)
IDENTITY = Treatment("identity", 0, True)
OFF = Treatment(None, 0, False)

COLLECTIVES = ("all_to_all", "all_gather")


def slowly_varying(source, step, role, shape, dtype=torch.float32, scale=1.0):
    """What rank ``source`` puts into step ``step``: a fixed tensor and a small change that grows with the steps."""
    generator = torch.Generator().manual_seed(1000 * source + ord(role))
    start = torch.randn(shape, generator=generator)
    drift = torch.randn(shape, generator=generator)
    return ((start + 0.05 * step * drift) * scale).to(dtype)


class RankUnderTest:
    def __init__(self, warmup_steps=1):
        self.bases = BaseStore()
        self.telemetry = Telemetry()
        self.collectives = Collectives(self.bases, self.telemetry)
        self.collectives.warmup_steps = warmup_steps
        self.group = world_group()
        self.rank, self.size = self.group.rank, self.group.size

    def exchange(self, collective, step, sections, generation=0, branch=0, layer=0):
        """``sections``: [(role, blocks, treatment)]. Returns, per section, the blocks by source rank."""
        place = Place(generation, step, branch, "Model", layer)
        taken = [Section(role, blocks, treatment) for role, blocks, treatment in sections]
        if collective == "all_to_all":
            return self.collectives.all_to_all(place, taken, self.group)
        return self.collectives.start_all_gather(place, taken, self.group)()

    def blocks(self, collective, tokens, channels):
        """Shape of a section's input."""
        return (self.size if collective == "all_to_all" else 1, tokens, channels)

    def sent_to_us(self, collective, blocks_of):
        """Per source rank the exact block meant for us, from ``blocks_of(source)``."""
        index = self.rank if collective == "all_to_all" else 0
        return [blocks_of(source)[index] for source in range(self.size)]

    def sites(self):
        """Counters by (role, codec)."""
        message = self.telemetry.message(0, 0, 0, 0, 0, 0)
        return {(site["role"], site["codec"]): site for site in message["sites"]}

    def fallbacks(self):
        return self.telemetry.message(0, 0, 0, 0, 0, 0)["fallbacks"]

    def bases_agree(self):
        """Every base that two ranks hold is the same on both; the number of such bases. Call it on all ranks."""
        mine = self.bases.digests()
        everywhere = [json.loads(text) for text in _gather_text(json.dumps(mine), self.size)]
        shared = 0
        for name, value in mine.items():
            holders = [digests[name] for digests in everywhere if name in digests]
            assert all(other == value for other in holders), f"{name} differs: {holders}"
            shared += len(holders) > 1
        return shared


def _gather_text(text, size):
    raw = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(size)]
    dist.all_gather(lengths, torch.tensor([raw.numel()]))
    room = [torch.zeros(int(max(lengths)), dtype=torch.uint8) for _ in range(size)]
    dist.all_gather(room, torch.nn.functional.pad(raw, (0, room[0].numel() - raw.numel())))
    return [bytes(one[: int(length)].tolist()).decode() for one, length in zip(room, lengths)]


def aligned(size):
    return (size + 15) // 16 * 16


def message_bytes(*sections):
    return sum(aligned(size) for size in sections) + 16
