"""Captioned clips of moving shapes: the data of the small Wan model.

"a red circle moving left on sand": 17 frames of 64x64 in which a wallpaper of
equal shapes drifts over a plain floor.

Wan knows positions from rotary embeddings alone, so only how far two tokens
are apart, never where they are.  The clips fit that: the wallpaper repeats
every ``PERIOD`` pixels and wraps round, so no place is special and the copies
of a shape are alike.  It is drawn on twos, one step for every latent frame; a
step is one patch of the transformer and a quarter of the period, so opposite
motions are half a period apart one step later.
"""

import torch

from dataset import Dataset
from shapes import COLOUR_RGB, COLOURS, distance_maps

SIZE, FRAMES = 64, 17
PERIOD, STEP = 32, 8  # pixels
SHAPES = ["circle", "square", "triangle"]
MOTIONS = ["left", "right", "up", "down"]
BACKGROUNDS = ["sand", "grass", "water", "night"]

BACKGROUND_PHRASE = {"sand": "on sand", "grass": "on grass", "water": "on water", "night": "at night"}
FLOORS = torch.tensor([[.72, .58, .38], [.32, .46, .20], [.24, .55, .66], [.08, .08, .18]])
DIRECTIONS = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])


def caption(value: dict[str, str]) -> str:
    """Caption of one clip."""
    return f"a {value['colour']} {value['shape']} moving {value['motion']} {BACKGROUND_PHRASE[value['background']]}"


def tiles(kind: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """How much of each pixel a shape covers (n, 1, PERIOD, PERIOD): one shape in the middle of one period."""
    centre = torch.zeros(len(kind))
    distance = distance_maps(SHAPES, kind, centre, centre, radius / (PERIOD / 2), centre, PERIOD)
    return (0.5 - distance * (PERIOD / 2)).clamp(0, 1)[:, None]


@torch.no_grad()
def render(labels: dict[str, torch.Tensor], u: torch.Tensor) -> torch.Tensor:
    """Clips (n, 3, 17, 64, 64) in [-1, 1]; ``u`` (n, 4) varies the phase in both directions, radius and light."""
    cover = tiles(labels["shape"], 13 + u[:, 2]).repeat(1, 1, SIZE // PERIOD, SIZE // PERIOD)
    floor, colour = (table[:, :, None, None] for table in (FLOORS[labels["background"]], COLOUR_RGB[labels["colour"]]))
    picture = (floor + (colour - floor) * cover) * (0.94 + 0.12 * u[:, 3]).view(-1, 1, 1, 1)
    start = (u[:, :2] * (PERIOD // STEP)).long()
    drawings = (torch.arange(FRAMES) + 1) // 2  # frame 0 alone, then two frames of each, as the VAE pairs them
    offsets = STEP * (start[:, None] + drawings[:, None] * DIRECTIONS[labels["motion"]].long()[:, None])
    line = torch.arange(SIZE)
    columns, rows = ((line - offset[..., None]) % SIZE for offset in offsets.unbind(2))  # (n, 17, 64)
    each = torch.arange(len(u))
    frames = picture[each[:, None, None, None], :, rows[..., :, None], columns[..., None, :]]  # (n, 17, 64, 64, 3)
    return frames.permute(0, 4, 1, 2, 3).contiguous().clamp(0, 1) * 2 - 1


# The judged attributes, fixed before training.
DATA = Dataset({"shape": SHAPES, "colour": COLOURS, "motion": MOTIONS, "background": BACKGROUNDS},
               free=4, caption=caption, render=render)
