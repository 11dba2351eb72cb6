"""What the procedural data sets share: labels, captions, batches and contact sheets."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont

Labels = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Dataset:
    """Captioned samples in which everything follows from a CPU generator, so that a seed fixes the data.

    ``attributes`` maps each judged attribute to its values; every value is one word of the captions.
    ``free`` is the number of uniform random numbers in [0, 1) that vary a sample beyond its labels.
    """

    attributes: dict[str, list[str]]
    free: int
    caption: Callable[[dict[str, str]], str]
    render: Callable[[Labels, torch.Tensor], torch.Tensor]

    def draw(self, count: int, gen: torch.Generator) -> tuple[Labels, torch.Tensor]:
        """Random labels of ``count`` samples and their free variation."""
        labels = {name: torch.randint(len(values), (count,), generator=gen) for name, values in self.attributes.items()}
        return labels, torch.rand(count, self.free, generator=gen)

    def rows(self, labels: Labels) -> list[dict[str, str]]:
        """Labels in words, one dict per sample."""
        words = ([values[i] for i in labels[name].tolist()] for name, values in self.attributes.items())
        return [dict(zip(self.attributes, row)) for row in zip(*words)]

    def captions_of(self, labels: Labels, free: torch.Tensor) -> list[str]:
        """One caption per row of labels; of these data sets, ``free`` does not change the wording."""
        return [self.caption(row) for row in self.rows(labels)]

    def labels_of(self, captions: list[str]) -> Labels:
        """Read the labels back from captions."""
        rows = [set(caption.lower().split()) for caption in captions]
        return {name: torch.tensor([which(values, row, name) for row in rows])
                for name, values in self.attributes.items()}

    def make_batch(self, count: int, gen: torch.Generator) -> tuple[torch.Tensor, list[str], Labels]:
        """Samples in [-1, 1], captions and labels."""
        labels, free = self.draw(count, gen)
        return self.render(labels, free), self.captions_of(labels, free), labels


def which(values: list[str], words: set[str], name: str) -> int:
    """Index of the one of ``values`` that is among the words of a caption; ValueError if none is."""
    for index, value in enumerate(values):
        if value in words:
            return index
    raise ValueError(f"no {name} in the caption {' '.join(sorted(words))!r}; expected one of {', '.join(values)}")


def held_out(seed: int = 0) -> torch.Generator:
    """Generator of held-out data, the same for judges and samples."""
    return torch.Generator().manual_seed(5_000_000_000 + seed)


def sheet(samples: torch.Tensor, captions: list[str]) -> Image.Image:
    """Contact sheet of samples in [-1, 1]: pictures six in a row, or clips as rows of every second frame."""
    gap, clips = 4, samples.ndim == 5
    pixels = ((samples.float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte()
    if clips:
        frames = pixels[:, :, ::2].unbind(2)
        bar = frames[0].new_full((*frames[0].shape[:3], gap), 24)
        pixels = torch.cat([part for frame in frames for part in (frame, bar)][:-1], dim=3)
    columns, lines = (1, 1) if clips else (6, 2)
    height, width = pixels.shape[2:]
    text = 13 * lines
    rows = -(-len(pixels) // columns)
    out = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap + text) + gap), (24, 25, 28))
    pen, font = ImageDraw.Draw(out), ImageFont.load_default(size=10)
    for index, value in enumerate(pixels.permute(0, 2, 3, 1).contiguous().numpy()):
        left, top = gap + index % columns * (width + gap), gap + index // columns * (height + gap + text)
        words = "\n".join(textwrap.wrap(captions[index], width * 2 // 9))
        pen.multiline_text((left, top - 1), words, fill=(232, 232, 228), font=font, spacing=0)
        out.paste(Image.fromarray(value), (left, top + text))
    return out
