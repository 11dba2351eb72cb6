"""int8: eight bits an element with one scale per token; needs no base. Also the keyframe codec of the cfx presets.

Payload of a block of N tokens by C channels, in this order:

- scales: N little-endian bfloat16, the largest |x| of the token over 127,
- values: N · C signed bytes, x / scale rounded to the nearest even.

Decoded value: value · scale in float32. A token of zeros has scale 0.
"""

import torch

from . import _values

EXACT = False


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return 2 * tokens + tokens * channels


def encode(x, payload):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    tokens = x.shape[1]
    largest = x.abs().amax(dim=2)
    non_finite = ~(largest.amax() < torch.inf)
    stored = (largest / 127.0).to(torch.bfloat16)
    scale = stored.float().unsqueeze(2)
    codes = torch.where(scale > 0, x / scale, 0.0).nan_to_num_(0.0).round_().clamp_(-127, 127)
    payload[:, : 2 * tokens] = stored.view(torch.uint8)
    payload[:, 2 * tokens :] = codes.to(torch.int8).view(torch.uint8).reshape(x.shape[0], -1)
    return non_finite


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    scale = _values.from_bfloat16(payload[:, : 2 * tokens], 128.0, payload.shape[0], tokens)
    codes = payload[:, 2 * tokens :].contiguous().view(torch.int8).view(payload.shape[0], tokens, channels)
    return codes.float().mul_(scale.unsqueeze(2))


encode_reference, decode_reference = encode, decode
