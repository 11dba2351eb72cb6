"""What the kernels move through a GPU's memory, and in how many launches. Needs no Triton.

Bytes an element are those of the tensor and of the state, each counted once where a launch reads or writes it; test/python
counts the same in the emitted code. Apart from them are the payload, which encoding writes and decoding reads once, the
few bytes of channel scales, means and beta that the statistics launch leaves in it, and the scales of what a state keeps in 8
bits, 1/32 of its bytes; of low rank's, the factors and products with them; with statistics of the step before, what a sample's
128 tokens add to them, which the launch behind finds in cache. Caches may serve a part: what a launch reads, the one before has just
read.
"""

from ..codecs import _factor_fit, _sample
from .formats import Fitted, Largest, LowRank, PerToken

# the launches of one call for up to ``formats.MOST_SECTIONS`` tensors, blocks of all peers together
LAUNCHES = {"encode": ("statistics", "encode"), "decode": ("decode",)}
# of those that need no statistics, or only with order 2
_LONE_LAUNCHES = {"encode": ("encode",), "decode": ("decode",)}
# a path is a thread's and what comes before and after it an element's, so they are launches of their own
_ON_TRELLIS = ("scales", "paths", "levels")
# where the message's scales of channels are those of the step before; behind the send, what the step after takes
_WITH_HISTORY = {"encode": ("encode",), "keep": ("history",), "decode": ("decode",)}
# "search" finds factors for each other, U and V by turns, and "revise" the last of each
_LOW_RANK_LAUNCHES = {
    "encode": ("open", "largest", "residual", "search", "revise", "revise", "pack", "decode"),
    "decode": ("decode",),
}
_ORTHONORMAL = ("widen", "gram", "factor", "apply")
_SUBSPACE_LAUNCHES = {
    "encode": (
        *("open", "wide residual", "start"),
        *("projection", *_ORTHONORMAL) * 3,
        *_ORTHONORMAL,
        *("projection", "pack", "decode"),
    ),
    "decode": ("decode",),
}


def launches(form, order=1, statistics="exact"):
    """Those of "encode", of "decode", and with statistics of the step before of "keep", for a codec's format at residual order 0, 1
    or 2.

    ``statistics``: what they are of, as in ``cfx_shim.statistics``.
    """
    if isinstance(form, LowRank):
        known = _LOW_RANK_LAUNCHES if isinstance(form, Fitted) else _SUBSPACE_LAUNCHES
        first, *others = known["encode"]
        if order == 2:
            # which fits the prediction
            return known | {"encode": (first, "statistics", *others)}
        return known if order == 1 else known | {"encode": known["encode"][:-1]}
    elif isinstance(form, (PerToken, Largest)):
        return LAUNCHES if order == 2 else _LONE_LAUNCHES
    known = _WITH_HISTORY if statistics == "previous" else LAUNCHES
    if not form.trellis:
        return known
    # without a state there are levels to choose only where a path leaves more than one
    on_trellis = _ON_TRELLIS if form.bits > 1 or order > 0 else _ON_TRELLIS[:-1]
    return known | {"encode": (*known["encode"][:-1], *on_trellis)}


def bytes_an_element(launch: str, order: int, item_bytes: int, eight_bit: bool = False, passes: int = 1) -> int:
    """Of a launch at residual order 0, 1 or 2 with feedback, for tensors of ``item_bytes``.

    ``passes``: of the launch over its tensor, as of a Format.
    """
    # a trend takes a byte beside either base
    state = order if eight_bit else (0, item_bytes, item_bytes + 1)[order]
    if launch in ("statistics", "scales"):
        return passes * (item_bytes + state)
    if launch == "encode":
        return item_bytes + 2 * state
    if launch == "paths":
        # the ways to all states, of which the way back reads an eighth
        return item_bytes + state + 1
    if launch == "levels":
        return passes * item_bytes + 2 * state
    if launch in ("largest", "residual", "wide residual"):
        # the residual goes to the next launches in float16 or float32
        return item_bytes + state + {"largest": 0, "residual": 2, "wide residual": 4}[launch]
    if launch != "decode":
        # of products, low rank's residual; factors are small beside it
        return {"search": 2 * 2 * _factor_fit.ROUNDS, "revise": 2, "projection": 4}.get(launch, 0)
    # a native base is what was received; otherwise that is written beside the state
    received = item_bytes if eight_bit or order == 0 else 0
    return 2 * state + received


def barriers(form):
    """Among all programs of an encode launch: between any two factors that one launch finds."""
    return 2 * _factor_fit.ROUNDS - 1 if isinstance(form, Fitted) else 0


def of_call(form, order, item_bytes, statistics, tokens):
    """Of each of these: (bytes an element of all launches, how many there are), for a block of ``tokens``."""
    share = _sample.of_tokens(tokens)[0] / tokens if statistics == "sampled" else 1
    return {
        end: (
            sum(
                bytes_an_element(each, order, item_bytes, passes=form.passes(each, order)) * (share if each == "statistics" else 1)
                for each in names
            ),
            len(names),
        )
        for end, names in launches(form, order, statistics).items()
    }


def keyframe_bytes_an_element(
    launch: str, order: int, item_bytes: int, eight_bit: bool = False, centred: bool = False, continues: bool = True
) -> int:
    """The same of a keyframe that starts a state of residual ``order``. Where the base ``continues``, a trend is taken from
    the old one."""
    if order == 0 or launch == "statistics":
        return bytes_an_element(launch, 0, item_bytes, passes=2 if centred else 1)
    started = order if eight_bit else item_bytes + order - 1
    # in 8 bits base and trend share a word
    old = (2 if eight_bit else item_bytes) if continues and order == 2 else 0
    if launch == "encode":
        return item_bytes + started + old
    return started + old + (item_bytes if eight_bit else 0)
