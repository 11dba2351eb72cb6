"""What ranks measured of their sends (the ``sites`` and ``sketch`` of measures.json, see ``cfx_shim/measures.py``), summed up.

Every function takes measures of any ranks and samples of one run. Curves have one value per step, None where nothing
was sent or the figure is not finite.
"""

import math
from collections import defaultdict

import numpy

_FIGURES = ("energy", "error", "change", "dot")
_SITE = ("transformer", "layer", "role", "collective", "branch")
_ROLES = "qkvo"


def sums(measures, key=lambda site: tuple(site[name] for name in _SITE)) -> dict:
    """``key(site)`` → figure → sums per step, float64 [steps]; steps without a send hold NaN."""
    steps = max((entry["steps"] for entry in measures), default=0)
    totals = defaultdict(lambda: {figure: numpy.full(steps, numpy.nan) for figure in _FIGURES})
    for entry in measures:
        for site in entry["sites"]:
            total = totals[key(site)]
            for figure in _FIGURES:
                values = numpy.asarray(site[figure][:steps], dtype=numpy.float64)
                so_far = total[figure][: len(values)]
                so_far[:] = numpy.where(numpy.isnan(so_far), values, so_far + values)
    return dict(totals)


def relative_error(total) -> list:
    """√(Σ error / Σ energy) per step."""
    with numpy.errstate(all="ignore"):
        return _plain(numpy.sqrt(total["error"] / total["energy"]))


def site_errors(measures) -> list:
    """One entry per site: where it is, and ``relativeError``."""
    found = sums(measures)
    order = sorted(found, key=lambda site: (site[0], site[1], _ROLES.find(site[2]), site[3], site[4]))
    return [{**dict(zip(_SITE, site)), "relativeError": relative_error(found[site])} for site in order]


def whole_error(measures) -> list:
    """The relative error of all sends together, per step; empty without sends."""
    found = sums(measures, key=lambda site: None)
    return relative_error(found[None]) if found else []


def changes(measures) -> list:
    """How activations change from step to step: all together, by role, and by role and layer; None names "all"."""
    curves = []
    for key in (lambda site: (None, None), lambda site: (site["role"], None), lambda site: (site["role"], site["layer"])):
        found = sums(measures, key)
        for role, layer in sorted(found, key=lambda at: (-1 if at[1] is None else at[1], _ROLES.find(at[0] or ""))):
            total = found[role, layer]
            energy = total["energy"]
            with numpy.errstate(all="ignore"):
                norm = numpy.sqrt(total["change"] / energy)
                cosine = total["dot"] / numpy.sqrt(energy * numpy.concatenate([energy[:1], energy[:-1]]))
            # the first step has no step before it
            curves.append({"role": role, "layer": layer, "relativeNorm": [None] + _plain(norm[1:]), "cosine": [None] + _plain(cosine[1:])})
    return curves


def trajectories(sketches) -> tuple:
    """Paths of several runs through the first two principal components of all of them together.

    ``sketches`` holds per run the activations per step, [steps, n]. Gives per run a list of (x, y), and the shares of
    variance that the two explain; empty paths and None where runs cannot be compared.
    """
    paths = [numpy.asarray(sketch, dtype=numpy.float64) for sketch in sketches]
    comparable = all(path.ndim == 2 and path.size and path.shape == paths[0].shape and numpy.isfinite(path).all() for path in paths)
    if not comparable or min(paths[0].shape) < 2:
        return [[] for _ in sketches], None
    points = numpy.concatenate(paths)
    centred = points - points.mean(axis=0)
    _, lengths, axes = numpy.linalg.svd(centred, full_matrices=False)
    total = float((lengths**2).sum())
    if total == 0.0:
        return [[] for _ in sketches], None
    projected = (centred @ axes[:2].T).reshape(len(paths), -1, 2)
    return projected.tolist(), [float(length) ** 2 / total for length in lengths[:2]]


def sketch_of(measures) -> list:
    """One sample's sketch, its ranks' beside each other, per step: [steps, n]; empty if it was not measured."""
    per_rank = [entry["sketch"] for entry in sorted(measures, key=lambda entry: entry["rank"])]
    return [sum(step, []) for step in zip(*per_rank)]


def _plain(values) -> list:
    return [float(value) if math.isfinite(value) else None for value in values]
