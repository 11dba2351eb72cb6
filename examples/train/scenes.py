"""Captioned pictures of one or two shaded shapes in a landscape: the data of scenes-flux.

"a large red star above a small blue circle at sunset", 256x256; what is
painted is in ``scenery.py``.  Half of the pictures have one object, half have
two, which differ in shape and colour.
"""

from dataclasses import dataclass

import torch

from dataset import Dataset, Labels
from scenery import render

SIZE = 256
NONE = "none"  # second object of a picture that has only one
SHAPES = ["circle", "square", "triangle", "star", "ring", "heart", "cross", "moon"]
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white"]
SIZES = ["large", "small"]
PLACE_PHRASE = {"left": "on the left", "right": "on the right", "centre": "in the centre", "top": "at the top",
                "bottom": "at the bottom"}
LAYOUTS = [*PLACE_PHRASE, "above", "beside"]  # the last two are pairs
BACKGROUND_PHRASE = {"day": "by day", "sunset": "at sunset", "night": "at night", "forest": "in the forest",
                     "desert": "in the desert", "sea": "at sea", "snow": "in the snow",
                     "mountains": "in the mountains"}


def caption(value: dict[str, str], wording: float) -> str:
    """Caption of one picture; ``wording`` in [0, 1) says which object of a pair comes first."""
    first, second = (f"a {value['size' + n]} {value['colour' + n]} {value['shape' + n]}" for n in "12")
    where, layout = BACKGROUND_PHRASE[value["background"]], value["layout"]
    if layout in PLACE_PHRASE:
        return f"{first} {PLACE_PHRASE[layout]} {where}"
    if layout == "above":
        return f"{first} above {second} {where}" if wording < 0.7 else f"{second} below {first} {where}"
    if wording < 0.5:
        return f"{first} to the left of {second} {where}"
    return f"{second} to the right of {first} {where}"


def read(words: list[str]) -> dict[str, str]:
    """Labels of one caption, given as its words."""
    at = [i for i, word in enumerate(words) if word in SHAPES]
    objects = [{"shape": words[i], "colour": words[i - 1], "size": words[i - 2]} for i in at]
    row = {"background": next(word for word in words if word in BACKGROUND_PHRASE)}
    if len(objects) == 2:
        row["layout"] = "above" if {"above", "below"} & set(words) else "beside"
        if {"below", "right"} & set(words):
            objects.reverse()
    else:
        row["layout"] = next(word for word in words if word in PLACE_PHRASE)
        objects.append({"shape": NONE, "colour": NONE, "size": NONE})
    return row | {key + n: value for n, item in zip("12", objects) for key, value in item.items()}


@dataclass(frozen=True)
class Scenes(Dataset):
    """The data set; the second object follows from the first, so labels are not drawn one by one."""

    def draw(self, count: int, gen: torch.Generator) -> tuple[Labels, torch.Tensor]:
        """Random labels of ``count`` pictures and their free variation (count, 48)."""

        def whole(high):
            return torch.randint(high, (count,), generator=gen)

        labels = {name: whole(len(values) - (NONE in values)) for name, values in self.attributes.items()}
        free = torch.rand(count, self.free, generator=gen)
        pair = torch.rand(count, generator=gen) < 0.5
        labels["layout"] = torch.where(pair, len(PLACE_PHRASE) + whole(2), whole(len(PLACE_PHRASE)))
        for key, values in (("shape", SHAPES), ("colour", COLOURS)):
            labels[key + "2"] = (labels[key + "1"] + 1 + whole(len(values) - 1)) % len(values)
        for name, values in self.attributes.items():
            if NONE in values:
                labels[name] = torch.where(pair, labels[name], values.index(NONE))
        return labels, free

    def captions_of(self, labels: Labels, free: torch.Tensor) -> list[str]:
        """One caption per row of labels; the last column of ``free`` chooses the wording."""
        return [caption(row, wording) for row, wording in zip(self.rows(labels), free[:, -1].tolist())]

    def labels_of(self, captions: list[str]) -> Labels:
        """Read the labels back from captions; ValueError where one is not of this data set."""
        out = {name: [] for name in self.attributes}
        for words in captions:
            try:
                row = read(words.lower().split())
                for name, values in self.attributes.items():
                    out[name].append(values.index(row[name]))
            except (StopIteration, IndexError, ValueError):
                raise ValueError(f"the caption {words!r} is not one of this data set, such as "
                                 "'a large red star above a small blue circle at sunset'") from None
        return {name: torch.tensor(values) for name, values in out.items()}


# The judged attributes: all that the captions name.
DATA = Scenes({"shape1": SHAPES, "colour1": COLOURS, "size1": SIZES,
               "shape2": [*SHAPES, NONE], "colour2": [*COLOURS, NONE], "size2": [*SIZES, NONE],
               "layout": LAYOUTS, "background": list(BACKGROUND_PHRASE)},
              free=48, caption=caption, render=render)
