"""Captioned clips of one moving shape: the data of the small Wan model.

"a red circle moving left on sand": 17 frames of 64x64, a shape that crosses a
softly shaded floor at constant speed.
"""

import torch

from dataset import Dataset
from shapes import COLOUR_RGB, COLOURS, distance_maps, paint, pixel_grid

SIZE, FRAMES = 64, 17
SHAPES = ["circle", "square", "triangle"]
MOTIONS = ["left", "right", "up", "down"]
BACKGROUNDS = ["sand", "grass", "water", "night"]

BACKGROUND_PHRASE = {"sand": "on sand", "grass": "on grass", "water": "on water", "night": "at night"}
# top and bottom colour
FLOORS = torch.tensor([
    [[.84, .72, .52], [.70, .55, .36]], [[.42, .58, .28], [.22, .38, .16]],
    [[.36, .68, .78], [.12, .42, .58]], [[.03, .04, .12], [.16, .13, .30]],
])
DIRECTIONS = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])


def caption(value: dict[str, str]) -> str:
    """Caption of one clip."""
    return f"a {value['colour']} {value['shape']} moving {value['motion']} {BACKGROUND_PHRASE[value['background']]}"


@torch.no_grad()
def render(labels: dict[str, torch.Tensor], u: torch.Tensor) -> torch.Tensor:
    """Clips (n, 3, 17, 64, 64) in [-1, 1]."""
    count = len(u)
    _, y = pixel_grid(SIZE)
    top, bottom = (value[:, :, None, None] for value in FLOORS[labels["background"]].unbind(1))
    light = (0.94 + 0.12 * u[:, 0]).view(-1, 1, 1, 1)
    floor = ((top + (bottom - top) * (y[:, None] + 1) / 2) * light).expand(-1, -1, -1, SIZE)
    time = torch.linspace(-1, 1, FRAMES)
    direction = DIRECTIONS[labels["motion"]]
    along = (0.38 + 0.10 * u[:, 1, None]) * time + 0.10 * (u[:, 2, None] - 0.5)
    lane = (0.4 * (u[:, 3, None] - 0.5)).expand(-1, FRAMES)
    centre = along[..., None] * direction[:, None] + lane[..., None] * direction.flip(1).abs()[:, None]
    x, y = centre.reshape(-1, 2).unbind(1)

    def per_frame(value):
        return value.repeat_interleave(FRAMES, 0)

    radius = per_frame(0.46 + 0.08 * u[:, 4])
    turn = per_frame(0.3 * (u[:, 5] - 0.5))
    distance = distance_maps(SHAPES, per_frame(labels["shape"]), x, y, radius, turn, SIZE)
    frames = paint(per_frame(floor), distance, per_frame(COLOUR_RGB[labels["colour"]]))
    return frames.view(count, FRAMES, 3, SIZE, SIZE).transpose(1, 2).clamp(0, 1) * 2 - 1


# The judged attributes, fixed before training.
DATA = Dataset({"shape": SHAPES, "colour": COLOURS, "motion": MOTIONS, "background": BACKGROUNDS},
               free=8, caption=caption, render=render)
