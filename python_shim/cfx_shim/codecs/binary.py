"""binary: one bit an element, the sign, times a rank-one scale (CompactFusion's 1-bit codec).

Payload of a block of N tokens by C channels, in this order:

- u, v: scales of ``_scales`` (2·N + 2·C bytes),
- signs: one bit plane of ``_bit_planes`` (N · ceil(C / 8) bytes), 1 for x >= 0, 0 for x < 0.

Decoded value: +u·v or -u·v, the product in float32.
"""

from . import _bit_planes, _scales

EXACT = False
# where its channels' scales come from
CHANNEL_SCALES = _scales


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return _scales.scale_bytes(tokens, channels) + _bit_planes.plane_bytes(tokens, channels)


def encode(x, payload, channel_scales=None):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    tokens, channels = x.shape[1:]
    _, _, non_finite = _scales.write_scales(x.abs(), payload, channel_scales)
    payload[:, _scales.scale_bytes(tokens, channels) :] = _bit_planes.pack_at_least(x, 0.0)
    return non_finite


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    u, v = _scales.read_scales(payload, tokens, channels)
    signs = _bit_planes.unpack_as(payload[:, _scales.scale_bytes(tokens, channels) :], tokens, channels, -1.0, 1.0)
    # in place; ±u·v rounds once, as u·v does, so the order does not show
    return signs.mul_(u.unsqueeze(2)).mul_(v.unsqueeze(1))


def encode_reference(x, payload):
    tokens, channels = x.shape[1:]
    _, _, non_finite = _scales.write_scales(x.abs(), payload)
    payload[:, _scales.scale_bytes(tokens, channels) :] = _bit_planes.pack_reference(x >= 0)
    return non_finite


def decode_reference(payload, tokens: int, channels: int):
    u, v = _scales.read_scales(payload, tokens, channels)
    positive = _bit_planes.unpack_reference(payload[:, _scales.scale_bytes(tokens, channels) :], tokens, channels)
    sign = positive.float() * 2 - 1
    return sign * (u.unsqueeze(2) * v.unsqueeze(1))
