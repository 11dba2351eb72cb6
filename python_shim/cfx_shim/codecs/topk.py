"""topk: the largest of every 16 channels and where it stands (CompactFusion's top-k).

A group is 16 consecutive channels of one token; the last group of a token may be narrower. With G = ceil(C / 16)
groups a token, the payload of a block of N tokens by C channels is, in this order:

- values: N · G little-endian float16, token by token: of each group the x of largest magnitude, the first of equals;
  finite values beyond float16's range are stored as its largest,
- positions: N rows of ceil(G / 2) bytes, the position in the group in 4 bits, the even group in the low ones.

Decoded value: the value at its position, 0 elsewhere; a position beyond a narrower group's width decodes to nothing.
"""

import torch

from . import _fields, _values

EXACT = False
_GROUP = 16


def _groups(channels):
    return (channels + _GROUP - 1) // _GROUP


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    groups = _groups(channels)
    return tokens * (2 * groups + _fields.row_bytes(groups, 4))


def encode(x, payload):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    batch, tokens, channels = x.shape
    groups = _groups(channels)
    x, non_finite = _values.finite(x)
    grouped = torch.nn.functional.pad(x, (0, groups * _GROUP - channels)).reshape(batch, tokens, groups, _GROUP)
    position = grouped.abs().argmax(dim=3, keepdim=True)
    values = _values.to_half(grouped.gather(3, position).reshape(batch, tokens * groups))
    payload[:, : 2 * tokens * groups] = values
    payload[:, 2 * tokens * groups :] = _fields.pack(position.squeeze(3), 4)
    return non_finite


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    batch, groups = payload.shape[0], _groups(channels)
    values = _values.from_half(payload[:, : 2 * tokens * groups], batch, tokens, groups, 1)
    position = _fields.unpack(payload[:, 2 * tokens * groups :], tokens, groups, 4).long().unsqueeze(3)
    spread = torch.zeros((batch, tokens, groups, _GROUP), device=payload.device).scatter_(3, position, values)
    return spread.flatten(2)[:, :, :channels].contiguous()


encode_reference, decode_reference = encode, decode
