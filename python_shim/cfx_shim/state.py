"""State of a residual section: what both of its ends keep between steps, the base and with residual order 2 its trend.

Native state is [B, order, N, C] in the tensor's own dtype: what a receiver uses and what it keeps are the same numbers.

State in 8 bits holds an integer code per element and a scale per token and 32 channels; a receiver uses the new base as
it was before this rounding. Both ends round the same numbers by the same code, and the sender's next residual is taken
from the rounded base, so what rounding loses is sent with the next step. It takes 8 1/4 bits an element and tensor of
state. On activations of shapes-pixart int8 with these scales is .0056 of the norm off, float8 e4m3 with a scale for 64
channels .025. Layout of a block of N tokens by C channels, G = ceil(C / 32), as [B, N·C + N·G] elements:

- order 1: int8. N·C codes of at most ±127, token by token, then N·G bytes of scales.
- order 2: int16, base and trend in one word: code of the base in ±511 · 64 + code of the trend in ±31 modulo 64; then for
  each scale a word, the base's byte + 256 · the trend's. The base's rounding enters a prediction twice, by itself and
  through the trend that is taken from it, the trend's own only as a small part of a small number: with 8 bits each the
  loop errs 3 to 7 % more at 28 steps of scenes-flux, with 10 and 6 less than 1 %.

A scale is a float of 5 bits of exponent and 3 of mantissa, the least c of 0..255 with
(1 + (c mod 8) / 8) · 2^(floor(c / 8) - 20) >= the group's largest magnitude · float32(1 / the largest code), else 255; NaN
counts as the largest of magnitudes. A code is value · (1 / scale), each operation in float32, rounded to the nearest even
and clamped to the largest code; 0 for NaN. So magnitudes up to 487,680 are kept (order 2: 1,962,240; trend 119,040),
larger ones and Inf become these, and groups below 2^-21 become 0. Code · scale is exact in float32.
"""

import functools
from dataclasses import dataclass

import torch

NATIVE, INT8 = "native", "int8"
GROUP = 32
# the largest codes: of a base alone; of a base and its trend, that share a word
BASE_CODE = 127
PAIR_CODES = (511, 31)
_TREND_BITS = 6
_SCALE_BIAS = 20
# float32 has 20 more bits of mantissa than a scale, and a bias of its own
_SHIFT, _FLOAT_BIAS = 20, 127
_HALF_MAX = 65504.0


@dataclass(frozen=True)
class _Layout:
    """Of what kind a section's state is; equal layouts can go on with each other's state. ``dtype``: the tensor's own."""

    order: int
    tokens: int
    channels: int
    dtype: torch.dtype


class NativeState(_Layout):
    @property
    def stored(self):
        return self.dtype

    def shape(self, blocks):
        return (blocks, self.order, self.tokens, self.channels)

    def read(self, state):
        """(base, trend or None), each [B, N, C]: here views of ``state`` in its dtype."""
        return state[:, 0], state[:, 1] if self.order == 2 else None

    def start(self, state, values, trend):
        """Set the base to ``values`` [B, N, C] and the trend to ``trend`` float32, zero if None; returns what to use now."""
        if self.order == 2:
            state[:, 1].zero_() if trend is None else round_into_(state[:, 1], trend)
        base = state[:, 0]
        return base.copy_(values) if values.dtype == base.dtype else round_into_(base, values)

    def move(self, state, base, change, trend):
        """Move the base, as ``read`` gave it, by ``change`` float32, which is overwritten; returns what to use now."""
        if trend is not None:
            round_into_(state[:, 1], trend)
        return add_decoded_(base, change)


class EightBitState(_Layout):
    @property
    def stored(self):
        return torch.int16 if self.order == 2 else torch.int8

    def shape(self, blocks):
        return (blocks, self.tokens * (self.channels + -(-self.channels // GROUP)))

    def read(self, state):
        """As ``NativeState.read``, in float32 of its own."""
        codes, scales = self._parts(state)
        scales = scales.to(torch.int32)
        if self.order == 1:
            return _dequantised(codes.float(), scales & 0xFF), None
        trend = ((codes & 63) ^ 32) - 32
        return (
            _dequantised((codes >> _TREND_BITS).float(), scales & 0xFF),
            _dequantised(trend.float(), (scales >> 8) & 0xFF),
        )

    def start(self, state, values, trend):
        used = values if values.dtype == self.dtype else saturated(values, self.dtype).to(self.dtype)
        values = values.float() if values.dtype == self.dtype else saturated(values, self.dtype)
        self._write(state, values, torch.zeros_like(values) if trend is None else trend)
        return used

    def move(self, state, base, change, trend):
        base = saturated(base.add_(change), self.dtype)
        self._write(state, base, trend)
        return base.to(self.dtype)

    def _write(self, state, base, trend):
        codes, scales = self._parts(state)
        if self.order == 1:
            base_codes, base_scales = _quantised(base, BASE_CODE)
            codes.copy_(base_codes)
            scales.copy_(base_scales.to(torch.uint8).view(torch.int8))
            return
        (base_codes, base_scales), (trend_codes, trend_scales) = map(_quantised, (base, trend), PAIR_CODES)
        torch.bitwise_or(base_codes.to(torch.int16) << _TREND_BITS, trend_codes.to(torch.int16) & 63, out=codes)
        scales.copy_(((trend_scales << 8) | base_scales).to(torch.int16))

    def _parts(self, state):
        """Views: codes [B, N, C] and scales [B, N, G]."""
        codes = state[:, : self.tokens * self.channels].unflatten(1, (self.tokens, self.channels))
        return codes, state[:, self.tokens * self.channels :].unflatten(1, (self.tokens, -1))


@functools.cache
def layout(base_dtype: str, order: int, tokens: int, channels: int, dtype: torch.dtype):
    """How the state of sections of this kind is kept: in the tensor's own ``dtype`` ("native") or in 8 bits ("int8")."""
    return (EightBitState if base_dtype == INT8 else NativeState)(order, tokens, channels, dtype)


def add_decoded_(base, values):
    """``base`` += ``values`` in place: the one way a native base moves, on the sender and on every receiver.

    ``base`` [..., N, C] in its own dtype, ``values`` float32 of the same shape. The sum is formed in float32 and
    rounded once to the base's dtype; float16 saturates instead of overflowing.
    """
    if base.dtype == torch.float32:
        return base.add_(values)
    return round_into_(base, values.add_(base))


def round_into_(state, values):
    """``state`` = ``values``, float32, rounded to its dtype; float16 saturates."""
    return state.copy_(saturated(values, state.dtype))


def saturated(values, dtype):
    """``values`` float32 within what ``dtype`` can hold, where that is float16."""
    return values.clamp(-_HALF_MAX, _HALF_MAX) if dtype == torch.float16 else values


def _quantised(values, most):
    """Codes [B, N, C], whole float32 numbers up to ``most``, and scale bytes [B, N, G] int32 of ``values`` float32."""
    # of magnitudes, the bits rise with the value, NaN above all
    largest = torch.cat([part.abs().view(torch.int32).amax(dim=3) for part, _ in _by_group(values)], dim=2)
    bits = largest.view(torch.float32).mul(1.0 / most).view(torch.int32)
    up = (bits >> _SHIFT) + (bits & ((1 << _SHIFT) - 1) > 0)
    scales = up.sub_((_FLOAT_BIAS - _SCALE_BIAS) * 8).clamp_(0, 255)
    codes = values.clone(memory_format=torch.contiguous_format)
    for part, inverse in _by_group(codes, 1.0 / _scale_values(scales)):
        part.mul_(inverse)
    return codes.nan_to_num_(0.0).round_().clamp_(-most, most), scales


def _dequantised(codes, scales):
    """``codes`` float32, in place, times their scales."""
    for part, scale in _by_group(codes, _scale_values(scales)):
        part.mul_(scale)
    return codes


def _scale_values(scales):
    return ((scales + (_FLOAT_BIAS - _SCALE_BIAS) * 8) << _SHIFT).view(torch.float32)


def _by_group(values, per_group=None):
    """Views [B, N, g, channels of a group] of ``values`` [B, N, C], whole groups and the rest, each beside its [B, N, g, 1]."""
    whole = values.shape[2] // GROUP
    if whole:
        part = values[:, :, : whole * GROUP].unflatten(2, (whole, GROUP))
        yield part, None if per_group is None else per_group[:, :, :whole, None]
    if values.shape[2] % GROUP:
        yield values[:, :, None, whole * GROUP :], None if per_group is None else per_group[:, :, whole:, None]
