"""The plan as a rank reads it: one look-up per section, no choice.

Cells are tried in order and the first that matches wins (src/plan.ts). Results are remembered per
(step, layer, role, collective), so that the hot path is one dictionary look-up.
"""

from dataclasses import dataclass

from ._contract import CODECS


@dataclass(frozen=True)
class Treatment:
    """What happens to one section.

    ``codec`` is a codec's name, or None to leave the tensor to the framework. ``order``: 0 codes the tensor itself, 1
    its difference to the base, 2 its difference to a prediction from the base and its trend. ``keyframe`` is the
    codec of keyframes, ``base_dtype`` what bases are kept in: "native" is the tensor's own type, "int8" 8 bits.
    ``statistics``: what channel scales and the predictor's beta are taken from, see ``statistics``.
    """

    codec: str | None
    order: int
    feedback: bool
    keyframe: str = "identity"
    base_dtype: str = "native"
    statistics: str = "exact"


UNTOUCHED = Treatment(None, 0, False)


class Plan:
    def __init__(self, raw):
        self.plan_id = raw["planId"]
        self.warmup_steps = raw["warmupSteps"]
        self._cells = [_cell(cell) for cell in raw["cells"]]
        self._known = {}

    def treatment(self, step: int, layer: int, role: str, collective: str) -> Treatment:
        key = (step, layer, role, collective)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._find(*key)
        return found

    def _find(self, step, layer, role, collective):
        for steps, layers, roles, collectives, treatment in self._cells:
            if within(step, steps) and within(layer, layers) and role in roles and collective in collectives:
                return treatment
        return UNTOUCHED

    def compresses(self) -> bool:
        """Whether any cell has a codec at all."""
        return any(treatment.codec for *_, treatment in self._cells)


def within(value, bounds):
    """Whether ``value`` is in the half-open range ``bounds``; None as its end means "to the last"."""
    start, end = bounds
    return value >= start and (end is None or value < end)


def _cell(raw):
    codec = raw["codec"]
    if codec != "off" and codec not in CODECS:
        raise ValueError(f"codec {codec!r} is unknown; there are: {', '.join(CODECS)}")
    treatment = UNTOUCHED
    if codec != "off":
        kept = raw["keyframeCodec"], raw["baseDtype"], raw["statistics"]
        treatment = Treatment(codec, raw["residualOrder"], raw["feedback"], *kept)
    return tuple(raw["steps"]), tuple(raw["layers"]), frozenset(raw["roles"]), frozenset(raw["collectives"]), treatment
