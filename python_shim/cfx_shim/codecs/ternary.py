"""ternary: 1.6 bits an element, one of -1, 0 and 1 times one level, times 8-bit token × channel scales.

x becomes 0 where |x| is below a threshold, else its sign times a level, both times s = u·v of ``_log_scales`` (the mean
magnitude). Level and threshold are those of least squared error for a Gaussian (Max 1960: 1.2240 and half as much of the
standard deviation, which errs by .190 of the squares; two levels err by .363, four by .118), given over the mean magnitude.

Digits t, 0 for -1, 1 for 0, 2 for 1, are packed by eights and by 32 channels, for 3^32 is little below 2^51, in each of the
two parts that ``_log_scales`` gives a token, which is filled up with ones. Of eight channels q = sum of 3^i · t_i, i = 0 … 7,
is below 26 · 256; of 32, the four q / 256, rounded down, are a sum m of 26^i · (q_i / 256), below 2^19. With L = ceil(C / 8),
U the number of such 32 in both parts and F that in the first, the payload of a block of N tokens by C channels is:

- scales: 2·N + C bytes, as in ``_log_scales``,
- the lowest 8 bits of q: N rows of L bytes,
- bits 0 to 7 of m, N rows of U bytes, the first part's before the second's, then bits 8 to 15, likewise,
- bits 16 to 18 of m: N rows of ceil(3 · F / 4) bytes. Bit 3·k of a row, counted from its first byte's lowest, is the lowest of
  them of number k / 2 of the first part (k even) or of the second.

That is 1.594 bits an element and scales on 3072 channels, 1.625 on 64. Nothing is packed across threads or vectors but sums.
What no encoder writes is read digit by digit all the same.

Decoded value: (t - 1) · level · s in float32.
"""

import torch

from . import _log_scales

EXACT = False
TAKES_ENERGY = True
CHANNEL_SCALES = _log_scales
# best between .75 and 1, which are within 1 % of each other (FINDINGS.md)
TREND_GAIN = 0.875

LEVEL = 1.2240 / _log_scales.MEAN_MAGNITUDE
THRESHOLD = LEVEL / 2
_EIGHT, _FOUR = 8, 4
_POWERS = tuple(3**place for place in range(_EIGHT))
_HIGH = 26
_HIGH_POWERS = tuple(_HIGH**place for place in range(_FOUR))


def units(channels: int):
    """(F, U - F): how many 32 channels there are in either part."""
    first = min(channels, _log_scales.group_channels(channels))
    return (first + 31) // 32, (channels - first + 31) // 32


def row_bytes(channels: int):
    """Bytes a token, beside its scales: (L, U, that of the last bits)."""
    first, second = units(channels)
    return (channels + 7) // 8, first + second, (3 * first + 3) // 4


def code_bytes(channels: int) -> int:
    """Of a token, beside its scales."""
    low, middle, top = row_bytes(channels)
    return low + 2 * middle + top


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return _log_scales.scale_bytes(tokens, channels) + tokens * code_bytes(channels)


def encode(x, payload, energy=None, channel_scales=None):
    """See ``codecs``: ``x`` [B, N, C] float32 into ``payload`` [B, payload_bytes] uint8."""
    batch, tokens, channels = x.shape
    magnitude = x.abs()
    non_finite = _log_scales.write(magnitude, payload, energy, channel_scales)
    # a scale of 0 is reached by all: whatever the digit, it decodes to 0
    reached = (magnitude >= _log_scales.read(payload, tokens, channels) * THRESHOLD).int()
    digits = torch.where(x >= 0, 1 + reached, 1 - reached)
    rows = _rows(payload, tokens, channels)
    eights, wholes = zip(*(_packed(part) for part in _parts(digits, channels)))
    rows[0].copy_(torch.cat(eights, dim=2))
    whole = torch.cat(wholes, dim=2)
    rows[1].copy_(whole & 0xFF)
    rows[2].copy_((whole >> 8) & 0xFF)
    first = wholes[0].shape[2]
    tops = torch.zeros((batch, tokens, -(-first // _FOUR) * _FOUR, 2), dtype=torch.int32, device=x.device)
    for part, numbers in enumerate(wholes):
        tops[:, :, : numbers.shape[2], part] = numbers >> 16
    shifts = torch.arange(0, 24, 3, dtype=torch.int32, device=x.device)
    words = (tops.view(batch, tokens, -1, 8) << shifts).sum(dim=3, dtype=torch.int32)
    last = torch.stack([(words >> shift) & 0xFF for shift in (0, 8, 16)], dim=3).flatten(2)
    rows[3].copy_(last[:, :, : rows[3].shape[2]])
    return non_finite


def decode(payload, tokens: int, channels: int):
    """See ``codecs``: float32 [B, N, C]."""
    low, middle, high, last = (row.int() for row in _rows(payload, tokens, channels))
    first, second = units(channels)
    pad = -last.shape[2] % 3
    bytes_of_word = torch.nn.functional.pad(last, (0, pad)).unflatten(2, (-1, 3))
    words = bytes_of_word[..., 0] | (bytes_of_word[..., 1] << 8) | (bytes_of_word[..., 2] << 16)
    shifts = torch.arange(0, 24, 3, dtype=torch.int32, device=payload.device)
    tops = ((words.unsqueeze(3) >> shifts) & 7).flatten(2).unflatten(2, (-1, 2))
    whole = middle | (high << 8) | (torch.cat([tops[:, :, :first, 0], tops[:, :, :second, 1]], dim=2) << 16)
    eights_of_first = (min(channels, _log_scales.group_channels(channels)) + 7) // 8
    parts = []
    for eights, numbers in ((low[:, :, :eights_of_first], whole[:, :, :first]), (low[:, :, eights_of_first:], whole[:, :, first:])):
        places = torch.stack([numbers // power % _HIGH for power in _HIGH_POWERS], dim=3).flatten(2)
        q = eights | (places[:, :, : eights.shape[2]] << 8)
        parts.append(torch.stack([q // power % 3 for power in _POWERS], dim=3).flatten(2))
    digits = torch.cat(parts, dim=2)[:, :, :channels]
    return digits.float().sub_(1.0).mul_(LEVEL).mul_(_log_scales.read(payload, tokens, channels))


encode_reference, decode_reference = encode, decode


def _rows(payload, tokens, channels):
    """Views [B, N, bytes of a row] of the payload behind its scales: of q, of m's lowest and next 8 bits, of its last ones."""
    low, middle, top = row_bytes(channels)
    sizes = low, middle, middle, top
    rows = payload[:, _log_scales.scale_bytes(tokens, channels) :].split([tokens * size for size in sizes], dim=1)
    return [row.unflatten(1, (tokens, size)) for row, size in zip(rows, sizes)]


def _parts(digits, channels):
    """``digits`` [B, N, C] of the first part and of the second, if there is one."""
    first = min(channels, _log_scales.group_channels(channels))
    return [part for part in (digits[:, :, :first], digits[:, :, first:]) if part.shape[2]]


def _packed(part):
    """(the lowest 8 bits of q [B, N, ceil(c / 8)], m [B, N, ceil(c / 32)]) int32 of a part's digits [B, N, c]."""
    channels = part.shape[2]
    q = _weighed(torch.nn.functional.pad(part, (0, -channels % 32), value=1), _POWERS)
    return q[:, :, : (channels + 7) // 8] & 0xFF, _weighed(q >> 8, _HIGH_POWERS)


def _weighed(numbers, weights):
    weights = torch.tensor(weights, dtype=torch.int32, device=numbers.device)
    return (numbers.unflatten(2, (-1, len(weights))) * weights).sum(dim=3, dtype=torch.int32)
