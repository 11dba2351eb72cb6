"""int8: eight bits an element with one scale per token; needs no base. Also the keyframe codec of the cfx presets.

Payload of a block of N tokens by C channels, in this order:

- scales: N little-endian bfloat16, the largest |x| of the token over 127,
- values: N · C signed bytes, x / scale rounded to the nearest even.

Decoded value: value · scale in float32. A token of zeros, or with NaN or Inf in it, has scale 0.
"""

import torch

from . import _token_scales

EXACT = False
# the largest code, and of what a decoder may find the largest in magnitude
MOST, BOUND = 127.0, 128.0


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return 2 * tokens + tokens * channels


def encode(x, payload):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    relative, non_finite = _token_scales.relative(x, MOST, BOUND, payload)
    codes = relative.round_().clamp_(-MOST, MOST).to(torch.int8)
    payload[:, 2 * x.shape[1] :] = codes.view(torch.uint8).reshape(x.shape[0], -1)
    return non_finite


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    codes = payload[:, 2 * tokens :].contiguous().view(torch.int8).view(payload.shape[0], tokens, channels)
    return codes.float().mul_(_token_scales.stored(payload, BOUND, tokens))


encode_reference, decode_reference = encode, decode
