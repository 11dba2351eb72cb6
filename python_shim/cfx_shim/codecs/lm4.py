"""lm4: 4 bits an element, the sign and 8 levels of a Lloyd-Max quantiser, times 8-bit token × channel scales.

Payload layout: see ``_lloyd_max``, with 4 planes. 2·N + C + 4·N·ceil(C / 8) bytes.
"""

from . import _lloyd_max

EXACT = False
BITS = 4


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return _lloyd_max.payload_bytes(BITS, tokens, channels)


def encode(x, payload):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    return _lloyd_max.encode(BITS, x, payload)


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    return _lloyd_max.decode(BITS, payload, tokens, channels)


def encode_reference(x, payload):
    return _lloyd_max.encode_reference(BITS, x, payload)


def decode_reference(payload, tokens: int, channels: int):
    return _lloyd_max.decode_reference(BITS, payload, tokens, channels)
