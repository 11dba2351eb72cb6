"""What the kernels move through a GPU's memory, and in how many launches. Needs no Triton.

Bytes an element are those of the tensor and of the state, each counted once where a launch reads or writes it; test/python
counts the same in the emitted code. Apart from them are the payload, which encoding writes and decoding reads once, the
few bytes of channel scales, means and beta that the statistics launch leaves in it, and the scales of what a state keeps in 8
bits, 1/32 of its bytes. Caches may serve a part: what the encode launch reads, the statistics launch has just read.
"""

from .formats import PerToken

# the launches of one call for up to ``formats.MOST_SECTIONS`` tensors, blocks of all peers together
LAUNCHES = {"encode": ("statistics", "encode"), "decode": ("decode",)}
_PER_TOKEN_LAUNCHES = {"encode": ("encode",), "decode": ("decode",)}


def launches(form):
    """Those of "encode" and of "decode" for a codec's format."""
    return _PER_TOKEN_LAUNCHES if isinstance(form, PerToken) else LAUNCHES


def bytes_an_element(launch: str, order: int, item_bytes: int, eight_bit: bool = False, centred: bool = False) -> int:
    """Of "statistics", "encode" or "decode" at residual order 0, 1 or 2 with feedback, for tensors of ``item_bytes``.

    ``centred``: as a Format's, which takes two passes for its statistics.
    """
    if launch == "statistics" and centred:
        return 2 * item_bytes
    # a trend takes a byte beside either base
    state = order if eight_bit else (0, item_bytes, item_bytes + 1)[order]
    if launch == "statistics":
        return item_bytes + state
    if launch == "encode":
        return item_bytes + 2 * state
    # a native base is what was received; otherwise that is written beside the state
    received = item_bytes if eight_bit or order == 0 else 0
    return 2 * state + received


def keyframe_bytes_an_element(
    launch: str, order: int, item_bytes: int, eight_bit: bool = False, centred: bool = False, continues: bool = True
) -> int:
    """The same of a keyframe that starts a state of residual ``order``. Where the base ``continues``, a trend is taken from
    the old one."""
    if order == 0 or launch == "statistics":
        return bytes_an_element(launch, 0, item_bytes, centred=centred)
    started = order if eight_bit else item_bytes + order - 1
    # in 8 bits base and trend share a word
    old = (2 if eight_bit else item_bytes) if continues and order == 2 else 0
    if launch == "encode":
        return item_bytes + started + old
    return started + old + (item_bytes if eight_bit else 0)
