"""int2: two bits an element, sign and one of two levels, times a rank-one scale (CompactFusion's 2-bit codec).

Payload of a block of N tokens by C channels, in this order:

- u, v: scales of ``_scales`` (2·N + 2·C bytes),
- signs: one bit plane of ``_bit_planes`` (N · ceil(C / 8) bytes), 1 for x >= 0,
- levels: one bit plane (N · ceil(C / 8) bytes), 1 where |x| >= s, with s = u·v from the *stored* scales in float32.

Decoded value: sign · 2.0 · s where the level bit is set, sign · 0.5 · s elsewhere.
"""

from . import _bit_planes, _scales

EXACT = False
# where its channels' scales come from
CHANNEL_SCALES = _scales
LOW, HIGH = 0.5, 2.0


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return _scales.scale_bytes(tokens, channels) + 2 * _bit_planes.plane_bytes(tokens, channels)


def _split(payload, tokens: int, channels: int):
    start = _scales.scale_bytes(tokens, channels)
    middle = start + _bit_planes.plane_bytes(tokens, channels)
    return payload[:, start:middle], payload[:, middle:]


def encode(x, payload, channel_scales=None):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    tokens, channels = x.shape[1:]
    magnitude = x.abs()
    u, v, non_finite = _scales.write_scales(magnitude, payload, channel_scales)
    signs, levels = _split(payload, tokens, channels)
    signs.copy_(_bit_planes.pack_at_least(x, 0.0))
    levels.copy_(_bit_planes.pack_at_least(magnitude, u.unsqueeze(2) * v.unsqueeze(1)))
    return non_finite


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    u, v = _scales.read_scales(payload, tokens, channels)
    signs, levels = _split(payload, tokens, channels)
    values = _bit_planes.unpack_as(levels, tokens, channels, LOW, HIGH)
    # in place; only u·v rounds, for levels are powers of two, so the order does not show
    values.mul_(u.unsqueeze(2)).mul_(v.unsqueeze(1))
    return values.mul_(_bit_planes.unpack_as(signs, tokens, channels, -1.0, 1.0))


def encode_reference(x, payload):
    tokens, channels = x.shape[1:]
    magnitude = x.abs()
    u, v, non_finite = _scales.write_scales(magnitude, payload)
    signs, levels = _split(payload, tokens, channels)
    signs.copy_(_bit_planes.pack_reference(x >= 0))
    levels.copy_(_bit_planes.pack_reference(magnitude >= u.unsqueeze(2) * v.unsqueeze(1)))
    return non_finite


def decode_reference(payload, tokens: int, channels: int):
    u, v = _scales.read_scales(payload, tokens, channels)
    signs, levels = _split(payload, tokens, channels)
    high = _bit_planes.unpack_reference(levels, tokens, channels).float()
    sign = _bit_planes.unpack_reference(signs, tokens, channels).float() * 2 - 1
    return sign * (u.unsqueeze(2) * v.unsqueeze(1)) * (high * HIGH + (1 - high) * LOW)
