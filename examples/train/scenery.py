"""Paints the pictures of ``scenes.py``: embossed shapes in front of a landscape with three layers of ground.

Maps are (n, 256, 256), pictures (n, 3, 256, 256) in [0, 1] until the end;
``u`` is uniform in [0, 1) and varies what the labels leave open.  Rows of
tables are in the order of the values in ``scenes.py``.
"""

import functools
import math

import torch
import torch.nn.functional as F

from shapes import pixel_grid

SIDE = 256
PIXEL = 2 / SIDE
COLOUR_RGB = torch.tensor([[.90, .13, .15], [.98, .52, .08], [.99, .86, .16], [.16, .70, .27], [.13, .38, .93],
                           [.52, .20, .78], [.98, .50, .72], [.95, .95, .96]])
# centres (x, y) of both objects for each layout; 9 is out of sight
CENTRES = torch.tensor([[[-.50, 0], [9, 9]], [[.50, 0], [9, 9]], [[0, 0], [9, 9]], [[0, -.50], [9, 9]],
                        [[0, .50], [9, 9]], [[0, -.47], [0, .47]], [[-.47, 0], [.47, 0]]])
RADII = torch.tensor([0.42, 0.235, 0.1])
# colours of the backgrounds: day, sunset, night, forest, desert, sea, snow, mountains
SKY_TOP = torch.tensor([[.22, .52, .93], [.24, .16, .46], [.02, .03, .12], [.55, .75, .78], [.38, .66, .92],
                        [.35, .68, .95], [.56, .63, .74], [.30, .50, .80]])
SKY_LOW = torch.tensor([[.80, .92, 1.0], [1.0, .60, .25], [.13, .15, .38], [.86, .93, .78], [.99, .90, .70],
                        [.88, .96, 1.0], [.86, .89, .94], [.92, .88, .86]])
FAR = torch.tensor([[.48, .70, .56], [.55, .25, .36], [.10, .12, .26], [.34, .54, .42], [.90, .69, .42],
                    [.10, .46, .66], [.78, .83, .91], [.50, .54, .66]])
MIDDLE = torch.tensor([[.36, .65, .32], [.36, .15, .28], [.06, .08, .18], [.16, .40, .24], [.85, .59, .30],
                       [.06, .37, .60], [.87, .91, .96], [.33, .38, .47]])
NEAR = torch.tensor([[.30, .57, .20], [.20, .08, .18], [.03, .05, .11], [.08, .25, .13], [.77, .49, .22],
                     [.03, .28, .52], [.96, .98, 1.0], [.24, .36, .24]])
# strength of each feature in the same order
FEATURES = {
    "clouds": [0.90, 0.30, 0.05, 0.10, 0.15, 0.55, 0.30, 0.40],
    "stars": [0.0, 0.1, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    "flakes": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    "sun": [0.0, 1.0, 0.0, 0.0, 0.35, 0.0, 0.0, 0.0],
    "hills": [0.07, 0.05, 0.06, 0.04, 0.10, 0.0, 0.07, 0.04],
    "peaks": [0.0, 0.0, 0.05, 0.0, 0.0, 0.0, 0.0, 0.62],
    "trees": [0.0, 0.0, 0.0, 0.34, 0.0, 0.0, 0.05, 0.0],
    "waves": [0.0, 0.1, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
    "ripples": [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    "grain": [0.03, 0.02, 0.02, 0.03, 0.02, 0.01, 0.01, 0.04],
    "horizon": [0.35, 0.30, 0.38, 0.20, 0.25, 0.05, 0.30, 0.35],
}


@functools.cache
def banks() -> dict[str, torch.Tensor]:
    """Fixed periodic textures (count, 256, 256) that pictures crop at random offsets."""
    gen = torch.Generator().manual_seed(7)
    line = torch.fft.fftfreq(SIDE) * SIDE
    radius = (line[:, None] ** 2 + line[None] ** 2).sqrt()
    out = {}
    for name, low, power in (("cloud", 2.0, 2.3), ("grain", 10.0, 1.5)):
        spectrum = torch.fft.fft2(torch.randn(24, SIDE, SIDE, generator=gen))
        maps = torch.fft.ifft2(spectrum * (radius + low) ** -power * (radius > 0)).real
        out[name] = maps / maps.std((1, 2), keepdim=True)
    for name, count, width in (("stars", 90, 0.9), ("flakes", 110, 2.0)):
        points = torch.zeros(8, SIDE * SIDE)
        where = torch.randint(SIDE * SIDE, (8, count), generator=gen)
        points.scatter_(1, where, torch.rand(8, count, generator=gen) * 0.8 + 0.4)
        blur = torch.exp(-2 * (math.pi * width * radius / SIDE) ** 2)
        maps = torch.fft.ifft2(torch.fft.fft2(points.view(8, SIDE, SIDE)) * blur).real
        out[name] = (maps * 2 * math.pi * width**2 * 1.4).clamp(0, 1)
    return out


def crop(name: str, u: torch.Tensor) -> torch.Tensor:
    """One randomly rolled texture per row of ``u`` (n, 3)."""
    bank, steps = banks()[name], torch.arange(SIDE)
    pick = (u[:, 0] * len(bank)).long().view(-1, 1, 1)
    rows, columns = ((steps + (u[:, i : i + 1] * SIDE).long()) % SIDE for i in (1, 2))
    return bank[pick, rows[:, :, None], columns[:, None, :]]


def mix(base, top, alpha):
    """``base`` where alpha is 0, ``top`` where it is 1."""
    return base + (top - base) * alpha


def smooth_step(low: float, high: float, value: torch.Tensor) -> torch.Tensor:
    """0 at ``low``, 1 at ``high``, flat at both ends."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def tooth(t: torch.Tensor) -> torch.Tensor:
    """Triangle wave in [0, 1] with period 1."""
    return 1 - 2 * (t - t.floor() - 0.5).abs()


def shift(field: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Move maps by whole pixels, repeating the border."""
    return F.pad(field[:, None], (right, 0, down, 0), mode="replicate")[:, 0, :SIDE, :SIDE]


def soft(field: torch.Tensor) -> torch.Tensor:
    """Maps blurred at a quarter of the resolution."""
    small = F.avg_pool2d(field[:, None], 4)
    for _ in range(2):
        small = F.avg_pool2d(F.pad(small, (2, 2, 2, 2), mode="replicate"), 5, 1)
    return F.interpolate(small, scale_factor=4.0, mode="bilinear", align_corners=False)[:, 0]


def emboss(picture, distance, colour, grain):
    """Lay shapes over pictures with a soft shadow, a rounded bevel and a highlight; ``colour`` is (n, 3)."""
    bevel = 0.10
    cover = (0.5 - distance / PIXEL).clamp(0, 1)
    picture = picture * (1 - 0.42 * shift(soft(cover), 9, 6))[:, None]
    depth = (-distance / bevel).clamp(0, 1)
    height = bevel * (1 - (1 - depth) ** 2).clamp_min(1e-6).sqrt()
    slope_x, slope_y = ((shift(height, *by) - height) / PIXEL for by in ((0, 1), (1, 0)))
    light = (-0.45 * slope_x - 0.65 * slope_y + 0.62) * (slope_x**2 + slope_y**2 + 1).rsqrt()
    shade = 0.70 + 0.46 * light + torch.linspace(0.10, -0.10, SIDE).view(1, -1, 1) + 0.010 * grain
    fill = colour[:, :, None, None] * shade[:, None] + (smooth_step(0.90, 1.0, light) * 0.40)[:, None]
    fill = fill * (1 - 0.35 * smooth_step(-3 * PIXEL, -0.5 * PIXEL, distance))[:, None]
    return mix(picture, fill.clamp(0, 1), cover[:, None])


def length(x, y):
    """Distance from the origin, kept off zero."""
    return (x * x + y * y).clamp_min(1e-8).sqrt()


def box(x, y, half_x, half_y):
    """Signed distance to an upright box."""
    dx, dy = x.abs() - half_x, y.abs() - half_y
    return length(dx.clamp_min(0), dy.clamp_min(0)) + torch.maximum(dx, dy).clamp_max(0)


def star(x, y):
    """Five-pointed star: distance to the edge lines of one folded sector."""
    sector = 2 * math.pi / 5
    radius, fold = length(x, y), (torch.remainder(torch.atan2(x, -y) + sector / 2, sector) - sector / 2).abs()
    inner_x, inner_y = 0.47 * math.cos(sector / 2), 0.47 * math.sin(sector / 2)
    edge = math.hypot(1.04 - inner_x, inner_y)
    return ((radius * fold.cos() - 1.04) * inner_y + radius * fold.sin() * (1.04 - inner_x)) / edge


def heart(x, y):
    """A box on its corner and two discs."""
    y = y - 0.10
    return torch.minimum(box((x + y) * 0.7071, (x - y) * 0.7071, 0.52, 0.52),
                         length(x.abs() - 0.3677, y + 0.3677) - 0.52)


# Signed distances in a unit frame, y down, negative inside.
DISTANCES = [
    lambda x, y: length(x, y) - 0.92,
    lambda x, y: box(x, y, 0.70, 0.70) - 0.08,
    lambda x, y: torch.maximum(0.866 * x.abs() - 0.5 * (y - 0.17), y - 0.17) - 0.50,
    star,
    lambda x, y: (length(x, y) - 0.66).abs() - 0.25,
    heart,
    lambda x, y: torch.minimum(box(x, y, 0.84, 0.24), box(x, y, 0.24, 0.84)) - 0.07,
    lambda x, y: torch.maximum(length(x + 0.12, y) - 0.92, 0.76 - length(x - 0.34, y + 0.10)),
]


def distances(kind, centre, radius, turn):
    """Signed distance maps; ``kind`` (n,) may be one past the last shape: no shape."""
    x, y = pixel_grid(SIDE)
    out = torch.full((len(kind), SIDE, SIDE), 4.0)
    for index, distance in enumerate(DISTANCES):
        rows = kind == index
        if rows.any():
            cx, cy, r, a = (value[rows].view(-1, 1, 1) for value in (*centre.unbind(1), radius, turn))
            px, py = (x - cx) / r, (y - cy) / r
            out[rows] = distance(px * a.cos() + py * a.sin(), py * a.cos() - px * a.sin()) * r
    return out


def landscape(kind: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sky with clouds, stars or a low sun, and three layers of ground; also the grain."""
    x, y = pixel_grid(SIDE)
    on = {name: torch.tensor(column)[kind].view(-1, 1, 1) for name, column in FEATURES.items()}
    tint = (u[:, 0:3] - 0.5) * 0.07 + (u[:, 3:4] - 0.5) * 0.10

    def colour(table):
        return (table[kind] + tint).clamp(0, 1)[:, :, None, None]

    cloud, grain = crop("cloud", u[:, 4:7]), crop("grain", u[:, 7:10])
    horizon = on["horizon"] + (u[:, 10].view(-1, 1, 1) - 0.5) * 0.16
    height = ((y + 1) / (horizon + 1)).clamp(0, 1)
    picture = mix(colour(SKY_TOP), colour(SKY_LOW), (height**1.5)[:, None])
    picture = picture + 0.9 * (on["stars"] * crop("stars", u[:, 11:14]) * (1.1 - height))[:, None]
    sun_x = (u[:, 14].view(-1, 1, 1) - 0.5) * 1.3
    reach = length(x - sun_x, y - horizon + 0.16)
    glow = on["sun"] * (0.55 * torch.exp(-3.0 * reach) + smooth_step(0.22, 0.20, reach))
    picture = mix(picture, torch.tensor([1.0, 0.88, 0.55]).view(1, 3, 1, 1), glow.clamp(0, 1)[:, None])
    puff = smooth_step(0.15, 1.5, cloud + 0.5 * torch.sin(5 * y + 6.3 * u[:, 15].view(-1, 1, 1)))
    lit = mix(colour(SKY_LOW), torch.ones(1, 3, 1, 1), 0.75 - 0.3 * on["sun"][:, None])
    picture = mix(picture, lit, (on["clouds"] * puff * 0.95)[:, None])
    for layer, table in enumerate((FAR, MIDDLE, NEAR)):
        phase = u[:, 16 + 5 * layer : 21 + 5 * layer, None] * 6.283
        below = y - ridge(layer, x[:, 0], phase, on, horizon, grain)
        ground = ground_of(layer, colour(table), below, (x, y), phase, on, horizon, grain)
        # the sun lights a path on the ground below it
        path = on["sun"] * torch.exp(-((x - sun_x) / (0.12 + 0.25 * below.clamp_min(0))) ** 2) * (0.28 - 0.06 * layer)
        ground = ground + path[:, None] * torch.tensor([1.0, 0.55, 0.25]).view(1, 3, 1, 1)
        picture = mix(picture, ground, (below * (SIDE / 2) + 0.5).clamp(0, 1)[:, None])
    flakes = on["flakes"] * crop("flakes", u[:, 31:34])
    return mix(picture, torch.ones_like(picture), (0.9 * flakes)[:, None]).clamp(0, 1), grain


def ridge(layer: int, x, phase, on, horizon, grain):
    """Height at which a layer of ground begins: hills, peaks and trees; the last two have ragged edges."""
    level = {name: on[name][:, 0] for name in ("hills", "peaks", "trees")}
    hills = torch.sin(x * (1.7 + 0.6 * layer) + phase[:, 0]) + 0.5 * torch.sin(x * (4.1 + layer) + phase[:, 1])
    peaks = 0.75 * tooth(x * (0.8 + 0.2 * layer) + phase[:, 2]) + 0.25 * tooth(x * 2.9 + phase[:, 3])
    trees = tooth(x * (3.2 - 0.6 * layer) + phase[:, 4]) * (0.7 + 0.3 * torch.sin(x * 3 + phase[:, 3]))
    edge = horizon[:, 0] + 0.30 * layer - level["hills"] * hills
    edge = edge - level["peaks"] * (1 - 0.42 * layer) * peaks
    edge = (edge - level["trees"] * (0.55 + 0.25 * layer) * trees)[:, None]
    return edge + 0.009 * grain * (on["peaks"] + 1.6 * on["trees"] > 0.2)


def ground_of(layer: int, colour, below, grid, phase, on, horizon, grain):
    """Colour of one layer of ground: grain, crests of waves, dunes, snow on peaks."""
    x, y = grid
    first, second = phase[:, 0, None], phase[:, 1, None]
    ground = colour * (1.06 - 0.22 * below.clamp(0, 1))[:, None] * (1 + on["grain"] * grain)[:, None]
    swell = torch.sin((12 + 8 * (1 - y)) * 2.4 * (y - horizon) + 2.2 * torch.sin(5 * x + first) + second)
    crest = on["waves"] * smooth_step(0.30, 1.1, swell + 0.20 * grain) * (0.10 + 0.22 * below.clamp(0, 1))
    ground = ground + crest[:, None]
    if layer:
        dune = torch.sin(34 * (y - 0.35 * torch.sin(1.6 * x + first)) + 2 * torch.sin(3 * x + second))
        ground = ground * (1 + 0.055 * on["ripples"] * dune)[:, None]
    if layer < 2:
        height = y - below - horizon + 0.24 + 0.04 * grain + 0.5 * below
        cap = smooth_step(0.03, -0.03, height) * (on["peaks"] > 0.2) * (1 - 0.75 * layer)
        ground = mix(ground, torch.tensor([0.95, 0.96, 1.0]).view(1, 3, 1, 1), cap[:, None])
    return ground


@torch.no_grad()
def render(labels: dict[str, torch.Tensor], u: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, 256, 256) in [-1, 1]; ``u`` is (n, 48)."""
    picture, grain = landscape(labels["background"], u)
    for number in (1, 2):
        centre = CENTRES[labels["layout"]][:, number - 1] + (u[:, 30 + 4 * number : 32 + 4 * number] - 0.5) * 0.13
        radius = RADII[labels[f"size{number}"]] * (0.96 + 0.10 * u[:, 42 + number])
        distance = distances(labels[f"shape{number}"], centre, radius, (u[:, 40 + number] - 0.5) * 0.5)
        colour = COLOUR_RGB[labels[f"colour{number}"].clamp_max(len(COLOUR_RGB) - 1)]
        picture = emboss(picture, distance, colour, grain)
    return picture.clamp(0, 1) * 2 - 1
