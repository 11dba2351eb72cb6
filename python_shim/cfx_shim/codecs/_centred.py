"""A Lloyd-Max quantiser of what is left of a block without its channels' means: what centred4 and centred5 share.

Activations, unlike their changes, have channels that stand far from zero (on scenes-flux the means are more than half
of the norm of k and v): with the means apart, 4 bits err by .076 of the norm instead of .096, 5 bits by .039 instead of
.049; one scale per token and evenly spaced levels would err by .147 and .069.

Payload of a block of N tokens by C channels: the payload of ``_lloyd_max`` for x - m, then the means m as C
little-endian float16, see ``_means``.
"""

from . import _means
from ._lloyd_max import LloydMax


class Centred:
    """The codec of ``bits`` bits an element; its methods are what ``codecs`` asks of a codec's module."""

    def __init__(self, bits: int):
        self._rest = LloydMax(bits)

    def payload_bytes(self, tokens: int, channels: int, item_bytes: int) -> int:
        return self._rest.payload_bytes(tokens, channels, item_bytes) + 2 * channels

    def encode(self, x, payload):
        return self._encode(x, payload, self._rest.encode)

    def encode_reference(self, x, payload):
        return self._encode(x, payload, self._rest.encode_reference)

    def decode(self, payload, tokens: int, channels: int):
        return self._decode(payload, tokens, channels, self._rest.decode)

    def decode_reference(self, payload, tokens: int, channels: int):
        return self._decode(payload, tokens, channels, self._rest.decode_reference)

    def _encode(self, x, payload, encode_rest):
        channels = x.shape[2]
        means = payload[:, -2 * channels :]
        _means.write(x, means)
        return encode_rest(x - _means.read(means), payload[:, : -2 * channels])

    def _decode(self, payload, tokens, channels, decode_rest):
        rest = decode_rest(payload[:, : -2 * channels], tokens, channels)
        return rest.add_(_means.read(payload[:, -2 * channels :]))
