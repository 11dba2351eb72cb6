"""State of a residual section: what both of its ends keep between steps, the base and with residual order 2 its trend.

Native state keeps the base in the tensor's own dtype: what a receiver uses and what it keeps are the same numbers. The
trend only feeds a prediction, so it takes a byte an element: rounded so, it changes the loop's error by less than a
hundredth (FINDINGS.md). A block of N tokens by C channels is, order 1: [N, C] of that dtype; order 2: bytes,

- N·C numbers of the base,
- zeros up to the next multiple of 16 bytes,
- N·C int8 codes of at most ±127 of the trend, token by token, then N·G bytes of scales,
- zeros up to the next multiple of 16 bytes.

State in 8 bits holds an integer code per element and a scale per token and 32 channels; a receiver uses the new base as
it was before this rounding. Both ends round the same numbers by the same code, and the sender's next residual is taken
from the rounded base, so what rounding loses is sent with the next step. It takes 8 1/4 bits an element and tensor of
state. On activations of shapes-pixart int8 with these scales is .0056 of the norm off, float8 e4m3 with a scale for 64
channels .025. A block as [B, N·C + N·G] elements:

- order 1: int8. N·C codes of at most ±127, token by token, then N·G bytes of scales.
- order 2: int16, base and trend in one word: code of the base in ±511 · 64 + code of the trend in ±31 modulo 64; then for
  each scale a word, the base's byte + 256 · the trend's. The base's rounding enters a prediction twice, by itself and
  through the trend that is taken from it, the trend's own only as a small part of a small number: with 8 bits each the
  loop errs 3 to 7 % more at 28 steps of scenes-flux, with 10 and 6 less than 1 %.

Groups are 32 channels, from the first one on; beside a native base they begin anew with the second of the two parts that
``codecs._log_scales`` gives a token, so that who codes a part holds whole groups. G is the number of groups of a token.

A scale is a float of 5 bits of exponent and 3 of mantissa, the least c of 0..255 with
(1 + (c mod 8) / 8) · 2^(floor(c / 8) - 20) >= the group's largest magnitude · float32(1 / the largest code), else 255; NaN
counts as the largest of magnitudes. A code is value · (1 / scale), each operation in float32, rounded to the nearest even
and clamped to the largest code; 0 for NaN. So magnitudes up to 487,680 are kept (order 2 in 8 bits: 1,962,240; trend
119,040), larger ones and Inf become these, and groups below 2^-21 become 0. Code · scale is exact in float32.
"""

import functools
from dataclasses import dataclass

import torch

from ._contract import SECTION_ALIGN
from .codecs import _log_scales

NATIVE, INT8 = "native", "int8"
GROUP = 32
# the largest codes: of one number a byte; of a base and its trend, that share a word
BYTE_CODE = 127
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
    """Order 1."""

    # whether the base, as it is kept, is what a receiver uses
    in_place = True

    @property
    def stored(self):
        return self.dtype

    def shape(self, blocks):
        return (blocks, self.tokens, self.channels)

    def base(self, state):
        """A view of the base [B, N, C]."""
        return state

    def read(self, state):
        """(base, trend or None), each [B, N, C]: the base as a view of ``state``, the trend in float32."""
        return self.base(state), None

    def start(self, state, values, trend):
        """Set the base to ``values`` [B, N, C] and the trend to ``trend`` float32, zero if None; returns what to use now."""
        base = self.base(state)
        return base.copy_(values) if values.dtype == base.dtype else round_into_(base, values)

    def move(self, state, base, change, trend):
        """Move the base, as ``read`` gave it, by ``change`` float32, which is overwritten; returns what to use now."""
        return add_decoded_(base, change)


class NativeStateWithTrend(NativeState):
    """Order 2."""

    @property
    def stored(self):
        return torch.uint8

    @property
    def trend_at(self):
        """Where a block's trend begins, in bytes."""
        return aligned(self.tokens * self.channels * self.dtype.itemsize)

    def shape(self, blocks):
        return (blocks, self.trend_at + aligned(self._trend_bytes))

    def base(self, state):
        kept = state[:, : self.tokens * self.channels * self.dtype.itemsize].view(self.dtype)
        return kept.unflatten(1, (self.tokens, self.channels))

    def read(self, state):
        codes, scales = self._trend_parts(state)
        return self.base(state), _dequantised(codes.float(), scales.to(torch.int32), self._middle)

    def start(self, state, values, trend):
        state[:, self.tokens * self.channels * self.dtype.itemsize :].zero_()
        if trend is not None:
            self._write_trend(state, trend)
        return super().start(state, values, None)

    def move(self, state, base, change, trend):
        self._write_trend(state, trend)
        return super().move(state, base, change, None)

    @property
    def _middle(self):
        return min(self.channels, _log_scales.group_channels(self.channels))

    @property
    def _trend_bytes(self):
        groups = sum(-(-part // GROUP) for part in (self._middle, self.channels - self._middle))
        return self.tokens * (self.channels + groups)

    def _write_trend(self, state, trend):
        codes, scales = self._trend_parts(state)
        new_codes, new_scales = _quantised(trend, BYTE_CODE, self._middle)
        codes.copy_(new_codes)
        scales.copy_(new_scales)

    def _trend_parts(self, state):
        """Views: codes [B, N, C] int8 and scales [B, N, G] uint8."""
        kept = state[:, self.trend_at : self.trend_at + self._trend_bytes]
        codes, scales = kept.split([self.tokens * self.channels, self._trend_bytes - self.tokens * self.channels], dim=1)
        return codes.view(torch.int8).unflatten(1, (self.tokens, self.channels)), scales.unflatten(1, (self.tokens, -1))


class EightBitState(_Layout):
    in_place = False

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
            return _dequantised(codes.float(), scales & 0xFF, self.channels), None
        trend = ((codes & 63) ^ 32) - 32
        return (
            _dequantised((codes >> _TREND_BITS).float(), scales & 0xFF, self.channels),
            _dequantised(trend.float(), (scales >> 8) & 0xFF, self.channels),
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
            base_codes, base_scales = _quantised(base, BYTE_CODE, self.channels)
            codes.copy_(base_codes)
            scales.copy_(base_scales.to(torch.uint8).view(torch.int8))
            return
        (base_codes, base_scales), (trend_codes, trend_scales) = (
            _quantised(values, most, self.channels) for values, most in zip((base, trend), PAIR_CODES)
        )
        torch.bitwise_or(base_codes.to(torch.int16) << _TREND_BITS, trend_codes.to(torch.int16) & 63, out=codes)
        scales.copy_(((trend_scales << 8) | base_scales).to(torch.int16))

    def _parts(self, state):
        """Views: codes [B, N, C] and scales [B, N, G]."""
        codes = state[:, : self.tokens * self.channels].unflatten(1, (self.tokens, self.channels))
        return codes, state[:, self.tokens * self.channels :].unflatten(1, (self.tokens, -1))


@functools.cache
def layout(base_dtype: str, order: int, tokens: int, channels: int, dtype: torch.dtype):
    """How the state of sections of this kind is kept: in the tensor's own ``dtype`` ("native") or in 8 bits ("int8")."""
    native = NativeStateWithTrend if order == 2 else NativeState
    return (EightBitState if base_dtype == INT8 else native)(order, tokens, channels, dtype)


def in_eight_bits(states):
    """Whether ``states``, alike sections' or none, are as ``EightBitState`` keeps them."""
    return bool(states) and states[0].dtype in (torch.int8, torch.int16)


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


def _quantised(values, most, middle):
    """Codes [B, N, C], whole float32 numbers up to ``most``, and scale bytes [B, N, G] int32 of ``values`` float32."""
    # of magnitudes, the bits rise with the value, NaN above all
    largest = torch.cat([part.abs().view(torch.int32).amax(dim=3) for part, _ in _by_group(values, middle)], dim=2)
    bits = largest.view(torch.float32).mul(1.0 / most).view(torch.int32)
    up = (bits >> _SHIFT) + (bits & ((1 << _SHIFT) - 1) > 0)
    scales = up.sub_((_FLOAT_BIAS - _SCALE_BIAS) * 8).clamp_(0, 255)
    codes = values.clone(memory_format=torch.contiguous_format)
    for part, inverse in _by_group(codes, middle, 1.0 / _scale_values(scales)):
        part.mul_(inverse)
    return codes.nan_to_num_(0.0).round_().clamp_(-most, most), scales


def _dequantised(codes, scales, middle):
    """``codes`` float32, in place, times their scales."""
    for part, scale in _by_group(codes, middle, _scale_values(scales)):
        part.mul_(scale)
    return codes


def _scale_values(scales):
    return ((scales + (_FLOAT_BIAS - _SCALE_BIAS) * 8) << _SHIFT).view(torch.float32)


def _by_group(values, middle, per_group=None):
    """Views [B, N, g, channels of a group] of ``values`` [B, N, C], each beside its [B, N, g, 1] of ``per_group`` [B, N, G].

    Groups begin with the first channel and with channel ``middle``; of either part come whole groups and then the rest.
    """
    done = 0
    for part in values[:, :, :middle], values[:, :, middle:]:
        whole = part.shape[2] // GROUP
        for groups, channels in ((whole, GROUP), (1, part.shape[2] % GROUP)):
            if groups * channels:
                taken = part[:, :, whole * GROUP :] if channels < GROUP else part[:, :, : whole * GROUP]
                yield taken.unflatten(2, (groups, channels)), None if per_group is None else per_group[:, :, done : done + groups, None]
                done += groups


def aligned(size):
    """The next multiple of 16 bytes: where sections of a message begin, and parts of a state."""
    return -(-size // SECTION_ALIGN) * SECTION_ALIGN
