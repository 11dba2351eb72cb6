"""Captioned pictures of one object: the data of the small PixArt-Sigma model.

"a large red star on the left at night": one shape in front of a plain sky and
ground, 128x128.  ``distance_maps``, ``paint`` and ``COLOUR_RGB`` also serve the
moving shapes in ``moving.py``.
"""

import torch

from dataset import Dataset

SIZE = 128
SHAPES = ["circle", "square", "triangle", "star", "cross"]
COLOURS = ["red", "yellow", "green", "blue", "purple", "white"]
SIZES = ["large", "small"]
PLACES = ["left", "centre", "right"]
BACKGROUNDS = ["day", "sunset", "night", "forest", "snow"]

PLACE_PHRASE = {"left": "on the left", "centre": "in the centre", "right": "on the right"}
BACKGROUND_PHRASE = {"day": "by day", "sunset": "at sunset", "night": "at night", "forest": "in the forest",
                     "snow": "in the snow"}
COLOUR_RGB = torch.tensor([[.90, .12, .12], [.99, .86, .12], [.12, .72, .22], [.10, .32, .95], [.60, .18, .80],
                           [.98, .98, .98]])
# sky at the top, sky at the horizon, ground at the horizon, ground at the bottom
LANDSCAPES = torch.tensor([
    [[.25, .55, .95], [.78, .90, 1.0], [.50, .62, .36], [.30, .45, .20]],
    [[.36, .18, .48], [1.0, .58, .28], [.45, .22, .30], [.22, .10, .18]],
    [[.02, .03, .12], [.14, .16, .36], [.08, .09, .18], [.03, .03, .08]],
    [[.55, .74, .66], [.76, .86, .68], [.16, .34, .20], [.07, .18, .10]],
    [[.56, .62, .72], [.80, .84, .90], [.88, .92, .97], [.72, .79, .88]],
])


def caption(value: dict[str, str]) -> str:
    """Caption of one picture."""
    where = f"{PLACE_PHRASE[value['place']]} {BACKGROUND_PHRASE[value['background']]}"
    return f"a {value['size']} {value['colour']} {value['shape']} {where}"


def pixel_grid(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel centres in [-1, 1]: x (1, 1, side) and y (1, side, 1), y down."""
    line = (torch.arange(side) + 0.5) * (2 / side) - 1
    return line.view(1, 1, side), line.view(1, side, 1)


def _star(x, y):
    """Five-pointed star: distance to the edge lines of one folded sector."""
    angle, radius = torch.atan2(x, -y), (x * x + y * y).sqrt()
    sector = 2 * torch.pi / 5
    fold = (torch.remainder(angle + sector / 2, sector) - sector / 2).abs()
    inner = torch.tensor(sector / 2)
    ix, iy = 0.46 * inner.cos(), 0.46 * inner.sin()
    return ((radius * fold.cos() - 1.08) * iy + radius * fold.sin() * (1.08 - ix)) / torch.hypot(1.08 - ix, iy)


def _cross(x, y):
    """Upright cross with thick arms."""
    x, y = x.abs(), y.abs()
    return torch.minimum(torch.maximum(x - 0.92, y - 0.27), torch.maximum(x - 0.27, y - 0.92))


DISTANCES = {
    "circle": lambda x, y: (x * x + y * y).sqrt() - 0.88,
    "square": lambda x, y: torch.maximum(x.abs(), y.abs()) - 0.78,
    "triangle": lambda x, y: torch.maximum(0.866 * x.abs() - 0.5 * (y - 0.2), y - 0.2) - 0.52,
    "star": _star,
    "cross": _cross,
}


def distance_maps(names: list[str], kind, centre_x, centre_y, radius, turn, side: int) -> torch.Tensor:
    """Signed distances (n, side, side) to the shapes ``names[kind]``, negative inside; all else is (n,)."""
    x, y = pixel_grid(side)
    out = torch.empty(len(kind), side, side)
    for index, name in enumerate(names):
        rows = kind == index
        if not rows.any():
            continue
        cx, cy, r, a = (value[rows].view(-1, 1, 1) for value in (centre_x, centre_y, radius, turn))
        px, py = (x - cx) / r, (y - cy) / r
        out[rows] = DISTANCES[name](px * a.cos() + py * a.sin(), py * a.cos() - px * a.sin()) * r
    return out


def paint(picture: torch.Tensor, distance: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """Lay filled shapes with a dark rim over pictures (n, 3, h, w) in [0, 1]; ``colour`` is (n, 3)."""
    side = picture.shape[-1]
    pixel = 2 / side
    cover = (0.5 - distance / pixel).clamp(0, 1)[:, None]
    shade = torch.linspace(1.04, 0.90, side).view(1, 1, side, 1)
    rim = (1 + distance / (0.03 + pixel)).clamp(0, 1)[:, None]
    fill = (colour[:, :, None, None] * shade).clamp(0, 1) * (1 - 0.55 * rim * rim)
    return picture + (fill - picture) * cover


def backdrop(table: torch.Tensor, u: torch.Tensor, side: int) -> torch.Tensor:
    """Sky and ground (n, 3, side, side) from rows of ``LANDSCAPES``; ``u`` (n, 3) varies horizon, light and hills."""
    x, y = pixel_grid(side)
    horizon = (0.15 + 0.5 * u[:, 0]).view(-1, 1, 1) - 0.07 * torch.sin(2.5 * x + 6.3 * u[:, 2].view(-1, 1, 1))
    sky = ((y + 1) / (horizon + 1)).clamp(0, 1)[:, None]
    ground = ((y - horizon) / (1 - horizon)).clamp(0, 1)[:, None]
    a, b, c, d = (row[:, :, None, None] for row in table.unbind(1))
    below = ((y - horizon) * (side / 2) + 0.5).clamp(0, 1)[:, None]
    picture = (a + (b - a) * sky) * (1 - below) + (c + (d - c) * ground) * below
    return (picture * (0.93 + 0.14 * u[:, 1]).view(-1, 1, 1, 1)).clamp(0, 1)


@torch.no_grad()
def render(labels: dict[str, torch.Tensor], u: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, 128, 128) in [-1, 1]."""
    picture = backdrop(LANDSCAPES[labels["background"]], u[:, :3], SIZE)
    centre_x = (labels["place"] - 1) * 0.48 + (u[:, 3] - 0.5) * 0.16
    centre_y = (u[:, 4] - 0.5) * 0.5
    radius = torch.tensor([0.46, 0.27])[labels["size"]] * (0.94 + 0.12 * u[:, 5])
    distance = distance_maps(SHAPES, labels["shape"], centre_x, centre_y, radius, (u[:, 6] - 0.5) * 0.4, SIZE)
    return paint(picture, distance, COLOUR_RGB[labels["colour"]]).clamp(0, 1) * 2 - 1


# The judged attributes, fixed before training.
DATA = Dataset({"shape": SHAPES, "colour": COLOURS, "size": SIZES, "place": PLACES, "background": BACKGROUNDS},
               free=12, caption=caption, render=render)
