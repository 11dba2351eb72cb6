"""What a sample's folder holds (layout: src/observe.ts), and pictures of it for people to look at."""

import json
import os
import re

import numpy
from PIL import Image

_MOST_FRAMES = 9  # shown of a clip


class Sample:
    """One sample of a run. ``outputs`` are uint8 [F, H, W, 3], F = 1 for a picture; none where only latents came out.

    ``latents`` is float32 [steps, …], None if the run kept none; ``measures`` the ranks' measures.json.
    """

    def __init__(self, folder):
        ranks = sorted(name for name in os.listdir(folder) if re.fullmatch(r"rank-\d+", name))
        ranks.sort(key=lambda name: int(name[5:]))
        self.folder = folder
        self.measures = []
        self.files, self._latents = [], None
        for rank in ranks:
            inside = os.path.join(folder, rank)
            with open(os.path.join(inside, "measures.json"), encoding="utf-8") as file:
                self.measures.append(json.load(file))
            names = [name for name in os.listdir(inside) if re.fullmatch(r"output-\d+\.(png|npy)", name)]
            # ranks that are handed the result hold the same one: the first is taken
            if names and not self.files:
                names.sort(key=lambda name: int(re.findall(r"\d+", name)[0]))
                self.files = [os.path.join(inside, name) for name in names]
                self._latents = os.path.join(inside, "latents.safetensors")
            elif self._latents is None and os.path.exists(os.path.join(inside, "latents.safetensors")):
                self._latents = os.path.join(inside, "latents.safetensors")
        self.outputs = [_read(path) for path in self.files]

    @property
    def latents(self):
        if self._latents is None or not os.path.exists(self._latents):
            return None
        return _float32(self._latents)


def _float32(path):
    from safetensors.torch import load_file as load_tensors  # numpy has no bfloat16

    return load_tensors(path)["latents"].float().numpy()


def _read(path):
    if path.endswith(".npy"):
        return numpy.load(path, allow_pickle=False)
    return numpy.asarray(Image.open(path).convert("RGB"))[None]


def shown_frames(clip):
    """How many of a clip's frames ``shown`` shows."""
    return min(len(clip), _MOST_FRAMES)


def shown(clip):
    """A clip's frames side by side, evenly spread, first and last among them: uint8 [H, W × frames, 3]."""
    count = shown_frames(clip)
    picked = numpy.linspace(0, len(clip) - 1, count).round().astype(int)
    return numpy.concatenate([clip[index] for index in picked], axis=1)


def amplified_difference(clip, reference, gain):
    """|clip - reference| × gain, cut at 255: uint8, shaped as ``clip``."""
    difference = numpy.abs(clip.astype(numpy.int16) - reference.astype(numpy.int16))
    return (difference * gain).clip(0, 255).astype(numpy.uint8)


def save(array, path):
    Image.fromarray(array).save(path, optimize=True)
