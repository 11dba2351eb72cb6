"""fp8: eight bits an element, a small float (e4m3) with one scale per token; needs no base. Also for keyframes.

Payload of a block of N tokens by C channels, in this order:

- scales: N little-endian bfloat16, the largest |x| of the token over 448, e4m3's largest value,
- values: N · C bytes, x / scale as e4m3 (OCP 8-bit floating point, "fn": no infinities), rounded to the nearest even.

Decoded value: value · scale in float32. A token of zeros, or with NaN or Inf in it, has scale 0. A byte
that is no number decodes to 0.
"""

import torch

from . import _token_scales

EXACT = False
# e4m3's largest value
MOST = BOUND = 448.0


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return 2 * tokens + tokens * channels


def encode(x, payload):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    relative, non_finite = _token_scales.relative(x, MOST, BOUND, payload)
    values = relative.clamp_(-MOST, MOST).to(torch.float8_e4m3fn)
    payload[:, 2 * x.shape[1] :] = values.view(torch.uint8).reshape(x.shape[0], -1)
    return non_finite


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    values = payload[:, 2 * tokens :].contiguous().view(torch.float8_e4m3fn).float().nan_to_num_(0.0)
    return values.view(payload.shape[0], tokens, channels).mul_(_token_scales.stored(payload, BOUND, tokens))


encode_reference, decode_reference = encode, decode
