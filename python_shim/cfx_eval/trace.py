"""Traces: the exact tensors that ranks sent, as ``cfx record`` keeps them.

Layout: ``sample-0000/rank-0/trace-000.safetensors``, one file per denoising step; in it one tensor [B, N, C] for each
send, B of the blocks for peers, in the model's own dtype, named ``<transformer>.<layer>|<role>|<collective>|<branch>``.
"""

import os
import re
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open

_STEP = re.compile(r"trace-(\d+)\.safetensors$")


@dataclass(frozen=True)
class Site:
    """One send of one rank in one sample, over all steps that hold it."""

    sample: int
    rank: int
    transformer: str
    layer: int
    role: str
    collective: str
    branch: int

    @property
    def name(self) -> str:
        return f"{self.transformer}.{self.layer}|{self.role}|{self.collective}|{self.branch}"


class Trace:
    """All sites under ``folder``. Raises ``ValueError`` where there is no trace, or one with steps missing."""

    def __init__(self, folder: str):
        self._files = {}
        sites = {}
        for sample, rank, path in _rank_folders(folder):
            found = sorted(name for name in os.listdir(path) if _STEP.search(name))
            for name in found:
                step = int(_STEP.search(name).group(1))
                file = _open(os.path.join(path, name))
                self._files[sample, rank, step] = file
                for key in file.keys():
                    sites.setdefault(_site(sample, rank, key), []).append(step)
        if not sites:
            raise ValueError(f'{folder} holds no trace; expected a folder that "cfx record" wrote')
        for site, steps in sites.items():
            if steps != list(range(steps[0], steps[0] + len(steps))):
                raise ValueError(f"{folder}: {site} lacks steps: found {steps}")
        self.sites = sites

    def read(self, site: Site):
        """Yields (step, tensor [B, N, C]) in the order of the steps."""
        for step in self.sites[site]:
            yield step, self._files[site.sample, site.rank, step].get_tensor(site.name)

    def load(self, site: Site) -> torch.Tensor:
        """[steps, B, N, C]."""
        return torch.stack([tensor for _, tensor in self.read(site)])


def _open(path):
    try:
        return safe_open(path, "pt")
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read: {error}; record the trace anew") from error


def _rank_folders(folder):
    for sample in _numbered(folder, "sample-"):
        for rank in _numbered(os.path.join(folder, f"sample-{sample:04d}"), "rank-"):
            yield sample, rank, os.path.join(folder, f"sample-{sample:04d}", f"rank-{rank}")


def _numbered(folder, prefix):
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(name[len(prefix) :]) for name in names if re.fullmatch(prefix + r"\d+", name))


def _site(sample, rank, key):
    where, role, collective, branch = key.split("|")
    transformer, layer = where.rsplit(".", 1)
    return Site(sample, rank, transformer, int(layer), role, collective, int(branch))
