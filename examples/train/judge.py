"""A small CNN that reads the captioned attributes off pictures or clips; as a command it scores samples with it.

    python judge.py score --judge judges/judge-shapes.safetensors --samples samples.json

SAMPLES is a JSON list of {"prompt": caption, "file": path}, the file a PNG or,
for a clip, a .npy of uint8 (frames, height, width, 3); paths are relative to
the list.  Prints one JSON object: the share of samples right for each
attribute, "mean" over the attributes, and "all", the share with every
attribute right.  ``train_judge.py`` trains judges.
"""

import argparse
import json
import os
import sys

import numpy
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import moving
import scenes
import shapes

DATA = {"shapes": shapes.DATA, "moving": moving.DATA, "scenes": scenes.DATA}
# height and width; clips have their frames before
SHAPE = {"shapes": (shapes.SIZE,) * 2, "moving": (moving.FRAMES, *(moving.SIZE,) * 2), "scenes": (scenes.SIZE,) * 2}


def seen(data: str, samples: torch.Tensor) -> torch.Tensor:
    """What judges look at (n, channels, height, width) of samples (n, 3, [frames,] height, width).

    Pictures of 128x128 as they are, those of 256x256 at half their size; of a
    clip every second frame, one for each latent frame, stacked as channels.
    """
    if data == "moving":
        return samples[:, :, ::2].flatten(1, 2)
    return F.avg_pool2d(samples, 2) if data == "scenes" else samples


def stages(channels: int, widths: tuple[int, ...], reach: int = 1) -> nn.Sequential:
    """Strided convolutions, then a 4x4 map of 64 features, flat; ``reach`` is that of the first filters in pixels."""
    layers = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, 2 * reach + 1, 2, reach), nn.GroupNorm(8, width), nn.SiLU()]
        if width > 32:
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(8, width), nn.SiLU()]
        channels, reach = width, 1
    return nn.Sequential(*layers, nn.Conv2d(channels, 64, 1), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.SiLU())


class Judge(nn.Module):
    """Convolutions and one linear head per attribute.

    Of a clip, the motion is read from all frames at once, by filters that
    reach over one step of it; all else from three frames one by one, whose
    features are averaged.  Samples go in as ``seen`` gives them; returns
    scores (n, values) per attribute.
    """

    def __init__(self, data: str, widths=(24, 32, 48, 64, 80)):
        super().__init__()
        self.data = data
        clips = data == "moving"
        self.stages = stages(3, widths[1:] if clips else widths)
        self.motion = stages(27, widths[1:], reach=4) if clips else None
        self.heads = nn.ModuleDict(
            {name: nn.Linear(64 * 16, len(values)) for name, values in DATA[data].attributes.items()})

    def forward(self, samples: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.motion is None:
            features = self.stages(samples)
            return {name: head(features) for name, head in self.heads.items()}
        frames = samples.unflatten(1, (3, 9))[:, :, ::4].transpose(1, 2)  # colours before frames in ``seen``
        features = self.stages(frames.flatten(0, 1)).unflatten(0, (-1, 3)).mean(1)
        motion = self.motion(samples)
        return {name: head(motion if name == "motion" else features) for name, head in self.heads.items()}


def load(path: str, device="cpu") -> Judge:
    """Read a judge written by ``train_judge.py``."""
    with safe_open(path, "pt") as file:
        data = file.metadata()["data"]
    judge = Judge(data)
    judge.load_state_dict(load_file(path))
    return judge.to(device).eval().requires_grad_(False)


@torch.no_grad()
def readings(judge: Judge, samples: torch.Tensor, labels) -> dict[str, torch.Tensor]:
    """Per attribute, which samples (n, 3, [frames,] height, width) in [-1, 1] are read right: (n,) of bool."""
    device = next(judge.parameters()).device
    right = {name: [] for name in labels}
    for start in range(0, len(samples), 32):
        for name, scores in judge(seen(judge.data, samples[start : start + 32]).float().to(device)).items():
            right[name].append(scores.argmax(1).cpu() == labels[name][start : start + 32])
    return {name: torch.cat(values) for name, values in right.items()}


def shares(right: dict[str, torch.Tensor]) -> dict[str, float]:
    """Share of samples read right for each attribute, their "mean", and "all": of samples with every one right."""
    table = {name: value.float().mean().item() for name, value in right.items()}
    table["mean"] = sum(table.values()) / len(table)
    table["all"] = torch.stack(list(right.values())).all(0).float().mean().item()
    return {name: round(value, 4) for name, value in table.items()}


def accuracy(judge: Judge, samples: torch.Tensor, truth) -> dict[str, float]:
    """``shares`` of samples in [-1, 1]; ``truth`` is a list of captions or a dict of labels."""
    labels = DATA[judge.data].labels_of(truth) if isinstance(truth, (list, tuple)) else truth
    return shares(readings(judge, samples, labels))


def read_sample(path: str) -> numpy.ndarray:
    """Picture (height, width, 3) or clip (frames, height, width, 3) of uint8."""
    if path.endswith(".npy"):
        return numpy.load(path, allow_pickle=False)
    return numpy.asarray(Image.open(path).convert("RGB"))


def score(judge_path: str, samples, captions: list[str]) -> dict[str, float]:
    """``shares`` of samples of uint8, pictures (height, width, 3) or clips (frames, height, width, 3).

    Raises ValueError where a sample is not of the kind that the judge knows,
    or a caption not of its data set.
    """
    judge = load(judge_path)
    expected = (*SHAPE[judge.data], 3)
    for index, sample in enumerate(samples):
        if sample.shape != expected or sample.dtype != numpy.uint8:
            raise ValueError(f"sample {index} is {sample.dtype} {sample.shape}; this judge ({judge.data}) reads uint8 "
                             f"{expected}. Score pictures of the size the model is trained on.")
    if not captions or len(samples) != len(captions):
        raise ValueError(f"found {len(samples)} samples and {len(captions)} captions; one caption per sample is needed")
    pixels = torch.from_numpy(numpy.stack(samples)).movedim(-1, 1)
    return accuracy(judge, pixels.float() / 127.5 - 1, list(captions))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command = parser.add_subparsers(required=True).add_parser("score", help="print what the judge reads as JSON")
    command.add_argument("--judge", required=True, help="judge .safetensors")
    command.add_argument("--samples", required=True, help='JSON list of {"prompt", "file"}')
    command.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with open(args.samples) as file:
        rows = json.load(file)
    folder = os.path.dirname(os.path.abspath(args.samples))
    try:
        samples = [read_sample(os.path.join(folder, row["file"])) for row in rows]
        print(json.dumps(score(args.judge, samples, [row["prompt"] for row in rows])))
    except (ValueError, OSError) as error:
        sys.exit(f"judge.py: {error}")


if __name__ == "__main__":
    main()
