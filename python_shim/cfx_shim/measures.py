"""Figures of a sample's sends, per site and step: how large, how wrong, how much changed since the step before.

All are sums over the blocks of this rank's send, so that shares of several ranks and samples can be added up:
``energy`` is ‖x‖², ``error`` ‖x - y‖² with y what receivers use, ``change`` ‖x_t - x_{t-1}‖², ``dot`` x_t·x_{t-1}.
"""

import torch

_SKETCH = 8  # activations kept of each send, evenly spread


class Measures:
    def __init__(self):
        self._sites = {}
        self._before = {}
        self._sketch = {}

    def add(self, place, section, collective, exact, received):
        """``exact`` and ``received`` [B, N, C] of one send."""
        key = (place.transformer, place.layer, section.role, collective, place.branch)
        site = self._sites.setdefault(key, {name: [] for name in ("codec", "energy", "error", "change", "dot")})
        exact = exact.detach().float()
        step, before = self._before.get(key, (None, None))
        if before is None or step != place.step - 1 or before.shape != exact.shape:
            before = exact
        site["codec"].append((section.treatment.keyframe if section.keyframe else section.treatment.codec) or "off")
        site["energy"].append(_dot(exact, exact))
        site["error"].append(_squared(exact - received.detach().float()))
        site["change"].append(_squared(exact - before))
        site["dot"].append(_dot(exact, before))
        self._before[key] = (place.step, exact.clone())
        flat = exact.reshape(-1)
        picked = flat[:: max(1, flat.numel() // _SKETCH)][:_SKETCH]
        self._sketch.setdefault(place.step, []).extend(picked.tolist())

    def content(self) -> dict:
        """Plain data: ``sites`` with a list per step each, ``sketch`` with a list of activations per step."""
        return {
            "sites": [
                {"transformer": transformer, "layer": layer, "role": role, "collective": collective, "branch": branch, **site}
                for (transformer, layer, role, collective, branch), site in self._sites.items()
            ],
            "sketch": [self._sketch[step] for step in sorted(self._sketch)],
        }


def _squared(x):
    return _dot(x, x)


def _dot(x, y):
    # float32 products, summed in double: a figure of a large tensor keeps its digits
    return float((x * y).sum(dtype=torch.float64))
