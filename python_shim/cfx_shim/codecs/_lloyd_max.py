"""Lloyd-Max quantisers for a Gaussian, on u·v scales: what lm1, lm2, lm3 and lm4 share.

x is coded as its sign and the nearest of 2^(bits-1) levels times s, with s = u·v of ``_log_scales`` (the mean
magnitude). Levels are those of least squared error for a Gaussian (Max 1960), given here over the mean magnitude,
which is 0.7979 of the standard deviation; a threshold lies half-way between two levels.

Payload of a block of N tokens by C channels: the scales (2·N + C bytes), one bit plane of signs (1 for x >= 0), then
``bits`` - 1 bit planes of the level's index, lowest bit first; each plane N · ceil(C / 8) bytes.
"""

import torch

from . import _bit_planes, _log_scales

_MEAN = 0.7978845608028654  # of |x| for a standard Gaussian
_GAUSSIAN = {
    1: (_MEAN,),
    2: (0.4528, 1.5104),
    3: (0.2451, 0.7560, 1.3439, 2.1520),
    4: (0.1284, 0.3881, 0.6568, 0.9424, 1.2562, 1.6181, 2.0690, 2.7326),
}


def levels(bits: int):
    """Magnitudes over s, rising."""
    return tuple(level / _MEAN for level in _GAUSSIAN[bits])


def thresholds(bits: int):
    known = levels(bits)
    return tuple((low + high) / 2 for low, high in zip(known, known[1:]))


def payload_bytes(bits: int, tokens: int, channels: int) -> int:
    return _log_scales.scale_bytes(tokens, channels) + bits * _bit_planes.plane_bytes(tokens, channels)


def encode(bits: int, x, payload, pack=_bit_planes.pack_at_least):
    """``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8; returns 0-d bool: NaN or Inf was seen."""
    tokens, channels = x.shape[1:]
    magnitude = x.abs()
    non_finite = _log_scales.write(magnitude, payload)
    planes = _planes(bits, payload, tokens, channels)
    planes[0].copy_(pack(x, 0.0))
    if bits > 1:
        scale = _log_scales.read(payload, tokens, channels)
        index = torch.zeros_like(x)
        for threshold in thresholds(bits):
            index += magnitude >= scale * threshold
        for plane, room in enumerate(planes[1:]):
            # bit ``plane`` of the index: what is left of it after the higher bits are taken off
            room.copy_(pack(torch.remainder(index, 2.0 ** (plane + 1)), 2.0**plane))
    return non_finite


def decode(bits: int, payload, tokens: int, channels: int, unpack=_bit_planes.unpack_as):
    """float32 [B, N, C]."""
    scale = _log_scales.read(payload, tokens, channels)
    signs, *rest = _planes(bits, payload, tokens, channels)
    values = unpack(signs, tokens, channels, -1.0, 1.0)
    if bits > 1:
        values.mul_(_levels_at(bits, rest, tokens, channels, unpack))
    return values.mul_(scale)


def _levels_at(bits, planes, tokens, channels, unpack):
    """The level that the planes of the index name, float32 [B, N, C]."""
    known = levels(bits)
    if bits == 2:
        return unpack(planes[0], tokens, channels, *known)
    index = sum(unpack(plane, tokens, channels, 0.0, 2.0**bit) for bit, plane in enumerate(planes))
    return torch.tensor(known, device=index.device)[index.int()]


def _planes(bits, payload, tokens, channels):
    start, size = _log_scales.scale_bytes(tokens, channels), _bit_planes.plane_bytes(tokens, channels)
    return [payload[:, start + plane * size : start + (plane + 1) * size] for plane in range(bits)]


def pack_reference(x, bound):
    return _bit_planes.pack_reference(x >= bound)


def unpack_reference(packed, tokens, channels, unset, set_):
    bits = _bit_planes.unpack_reference(packed, tokens, channels).float()
    return bits * set_ + (1 - bits) * unset
