"""Codecs: encode a block of N tokens by C channels into a payload of fixed size, and back.

A codec is a module of this package, or one size of a family (``lowrank_r32``: ``lowrank.of_size("r32")``), with

- ``payload_bytes(tokens, channels, item_bytes) -> int``: the same figure as TypeScript's codec table.
- ``EXACT``: whether decoding gives back the input bit for bit (then the tensor itself is what travels).
- ``DELAYED`` (optional): true where what is decoded serves from the next step on; the base is used until then.
- ``encode(x, payload) -> Tensor``: ``x`` [B, N, C] float32, ``payload`` [B, payload_bytes] uint8, written whole.
  Returns a 0-d bool tensor, true where ``x`` held NaN or Inf.
- ``TAKES_ENERGY``, where true: ``encode`` has a third argument, the squares of ``x`` summed over tokens ([B, C] float32)
  as far as a predictor knows them, else None.
- ``CHANNEL_SCALES`` (optional): the module whose ``of_channels`` gives the channels' scales; then ``encode`` takes them
  as ``channel_scales`` where they are not to come from ``x``.
- ``TREND_GAIN`` (optional, else 1): with residual order 2, how much of what is decoded counts as the base's trend.
- ``decode(payload, tokens, channels) -> Tensor``: float32 [B, N, C], finite whatever the bytes.
- ``encode_reference`` and ``decode_reference``: the same in the plainest form, the truth that tests compare with.

``encode`` never calls ``decode``: whoever keeps a base decodes its own payload with the same code that the
receiver runs, so the two bases cannot part.
"""

import functools
import importlib
import re

from .._contract import CODECS

# a family of codecs is one module with ``of_size``, whose result is what a module is for the others
_SIZED = re.compile(r"(?P<family>\w+)_(?P<size>[rb]\d+)")


@functools.cache
def load(name: str):
    """The codec called ``name``. Raises ValueError for a name that is not in the codec table."""
    if name not in CODECS:
        raise ValueError(f"codec {name!r} is unknown; there are: {', '.join(CODECS)}")
    sized = _SIZED.fullmatch(name)
    if sized is None:
        return importlib.import_module(f"{__name__}.{name}")
    return importlib.import_module(f"{__name__}.{sized['family']}").of_size(sized["size"])


def is_delayed(name: str) -> bool:
    return getattr(load(name), "DELAYED", False)
