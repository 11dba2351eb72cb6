"""ternary: 1.6 bits an element, one of -1, 0 and 1 times one level, times 8-bit token × channel scales. Five elements a byte.

x becomes 0 where |x| is below a threshold, else its sign times a level, both times s = u·v of ``_log_scales`` (the mean
magnitude). Level and threshold are those of least squared error for a Gaussian (Max 1960: 1.2240 and half as much of the
standard deviation, which errs by .190 of the squares; two levels err by .363, four by .118), given over the mean magnitude.

Payload of a block of N tokens by C channels: the scales (2·N + C bytes), then a row of S = ceil(C / 5) bytes for each
token. Byte j of a row is the sum over i = 0 … 4 of 3^i · t, with t of channel i·S + j: 0 for -1, 1 for 0, 2 for 1, and 1
where there is no such channel. Bytes above 242, which no encoder writes, are read digit by digit all the same. So channels
next to each other are in bytes next to each other, and a row is read as five stretches.

Decoded value: (t - 1) · level · s in float32. Plain torch, which any device can do; it has no kernels.
"""

import torch

from . import _log_scales

EXACT = False
TAKES_ENERGY = True
# best between .75 and 1, which are within 1 % of each other (FINDINGS.md)
TREND_GAIN = 0.875

_DIGITS = 5
_LEVEL = 1.2240 / _log_scales.MEAN_MAGNITUDE
_THRESHOLD = _LEVEL / 2


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return _log_scales.scale_bytes(tokens, channels) + tokens * _row_bytes(channels)


def encode(x, payload, energy=None):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    batch, tokens, channels = x.shape
    magnitude = x.abs()
    non_finite = _log_scales.write(magnitude, payload, energy)
    # a scale of 0 is reached by all: whatever the digit, it decodes to 0
    reached = (magnitude >= _log_scales.read(payload, tokens, channels) * _THRESHOLD).to(torch.uint8)
    digits = torch.where(x >= 0, 1 + reached, 1 - reached)
    row = _row_bytes(channels)
    digits = torch.nn.functional.pad(digits, (0, _DIGITS * row - channels), value=1).view(batch, tokens, _DIGITS, row)
    packed = digits[:, :, 0].clone()
    for place in range(1, _DIGITS):
        packed.add_(digits[:, :, place], alpha=3**place)
    payload[:, _log_scales.scale_bytes(tokens, channels) :] = packed.reshape(batch, -1)
    return non_finite


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    packed = payload[:, _log_scales.scale_bytes(tokens, channels) :].reshape(payload.shape[0], tokens, -1)
    digits = torch.cat([packed // 3**place % 3 for place in range(_DIGITS)], dim=2)[:, :, :channels]
    return digits.float().sub_(1.0).mul_(_LEVEL).mul_(_log_scales.read(payload, tokens, channels))


encode_reference, decode_reference = encode, decode


def _row_bytes(channels):
    return (channels + _DIGITS - 1) // _DIGITS
