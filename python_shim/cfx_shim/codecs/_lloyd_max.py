"""Lloyd-Max quantisers for a Gaussian, on u·v scales: what lm1 to lm4 and the centred codecs share.

x is coded as its sign and the nearest of 2^(bits-1) levels times s, with s = u·v of ``_log_scales`` (the mean
magnitude). Levels are those of least squared error for a Gaussian (Max 1960), given here over the mean magnitude,
which is 0.7979 of the standard deviation; a threshold lies half-way between two levels.

Payload of a block of N tokens by C channels: the scales (2·N + C bytes), one bit plane of signs (1 for x >= 0), then
``bits`` - 1 bit planes of the level's index, lowest bit first; each plane N · ceil(C / 8) bytes.
"""

import functools

import torch

from . import _bit_planes, _log_scales

_MEAN = 0.7978845608028654  # of |x| for a standard Gaussian
_GAUSSIAN = {
    1: (_MEAN,),
    2: (0.4528, 1.5104),
    3: (0.2451, 0.7560, 1.3439, 2.1520),
    4: (0.1284, 0.3881, 0.6568, 0.9424, 1.2562, 1.6181, 2.0690, 2.7326),
    5: (
        *(0.0659, 0.1981, 0.3314, 0.4667, 0.6049, 0.7471, 0.8946, 1.0488),
        *(1.2118, 1.3863, 1.5762, 1.7872, 2.0287, 2.3177, 2.6911, 3.2607),
    ),
}


def levels(bits: int):
    """Magnitudes over s, rising."""
    return tuple(level / _MEAN for level in _GAUSSIAN[bits])


def thresholds(bits: int):
    known = levels(bits)
    return tuple((low + high) / 2 for low, high in zip(known, known[1:]))


class LloydMax:
    """The codec of ``bits`` bits an element; its methods are what ``codecs`` asks of a codec's module."""

    def __init__(self, bits: int):
        self._bits = bits
        self._thresholds = thresholds(bits)
        # of each index whose lowest bit is the sign's
        self._signed_levels = tuple(sign * level for level in levels(bits) for sign in (-1.0, 1.0))

    def payload_bytes(self, tokens: int, channels: int, item_bytes: int) -> int:
        return _log_scales.scale_bytes(tokens, channels) + self._bits * _bit_planes.plane_bytes(tokens, channels)

    def encode(self, x, payload, energy=None, channel_scales=None):
        return self._encode(x, payload, energy, _bit_planes.pack, channel_scales)

    def encode_reference(self, x, payload, energy=None):
        return self._encode(x, payload, energy, _bit_planes.pack_reference)

    def decode(self, payload, tokens: int, channels: int):
        return self._decode(payload, tokens, channels, _bit_planes.look_up)

    def decode_reference(self, payload, tokens: int, channels: int):
        return self._decode(payload, tokens, channels, _bit_planes.look_up_reference)

    def _encode(self, x, payload, energy, pack, channel_scales=None):
        tokens, channels = x.shape[1:]
        magnitude = x.abs()
        non_finite = _log_scales.write(magnitude, payload, energy, channel_scales)
        signs, *index = self._planes(payload, tokens, channels)
        signs.copy_(pack(x >= 0))
        if index:
            # a scale of 0 is reached by all: whatever its index, it decodes to 0
            scale = _log_scales.read(payload, tokens, channels)
            reached = [magnitude >= scale * threshold for threshold in self._thresholds]
        for plane, room in enumerate(index):
            # the index is how many thresholds were reached; its bit p is the parity of how many multiples of 2^p are in it
            step = 2**plane
            room.copy_(pack(functools.reduce(torch.logical_xor, reached[step - 1 :: step])))
        return non_finite

    def _decode(self, payload, tokens, channels, look_up):
        values = look_up(self._planes(payload, tokens, channels), tokens, channels, self._signed_levels)
        return values.mul_(_log_scales.read(payload, tokens, channels))

    def _planes(self, payload, tokens, channels):
        start, size = _log_scales.scale_bytes(tokens, channels), _bit_planes.plane_bytes(tokens, channels)
        return [payload[:, start + plane * size : start + (plane + 1) * size] for plane in range(self._bits)]
