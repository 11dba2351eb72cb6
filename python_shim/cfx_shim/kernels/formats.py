"""What a kernel must know of a codec, as compile-time constants, taken from the codec's own module; and what its callers
must know of a launch. Needs no Triton."""

import functools
from dataclasses import dataclass

from .. import codecs
from .._contract import SECTION_ALIGN
from ..codecs import _lloyd_max, _log_scales, _trellis, _values, int2, int4, lowrank_fit, ternary, topk

# tensors that one launch takes
MOST_SECTIONS = 3
# the rank that is left out, where none is
NOBODY = 1 << 30


class _Kind:
    """What most kinds of codecs are not."""

    centred = trellis = False
    # a payload is what a search found, whose sums only the sender takes, in an order of its own
    searched = False
    # to encode takes launches of kernels, and no operation of torch's
    only_launches = True
    # of a channel's scale in a payload
    channel_bytes = 0

    def part_channels(self, channels, eight_bit):
        """Channels of the first of two parts, or of all, with which strips of the statistics launch begin: a trend's, or a state's
        in 8 bits."""
        return channels if eight_bit else min(channels, _log_scales.group_channels(channels))

    def passes(self, launch, order):
        """Over its tensor, of a launch as in ``traffic``."""
        return 1


@dataclass(frozen=True)
class Format(_Kind):
    """``half_scales``: scales as in ``codecs._scales`` (float16, one u a token); else as in ``_log_scales`` (bytes, two u).

    ``bits``: how many bit planes there are; 0: digits as in ``codecs.ternary``. ``trellis``: the lowest plane and those before it
    in a row say which of twice as many levels an element may have, as in ``codecs._trellis``; ``levels`` are the upper half.
    ``centred``: of what is left without the means of channels, as in ``codecs._centred``.
    """

    bits: int
    levels: tuple
    thresholds: tuple
    half_scales: bool
    gain: float = 1.0
    trellis: bool = False
    centred: bool = False

    @property
    def groups(self):
        return 1 if self.half_scales else 2

    @property
    def channel_bytes(self):
        """Of a channel's scale."""
        return 2 if self.half_scales else 1

    def token_bytes(self, channels):
        """Of a token, its scales and codes."""
        return 2 + self.code_bytes(channels)

    def code_bytes(self, channels):
        """Of a token, beside its scales."""
        return self.bits * ((channels + 7) // 8) if self.bits else ternary.code_bytes(channels)

    def history_bytes(self, channels):
        """Of a sender's history, see ``cfx_shim.statistics``."""
        return -(-(self.channel_bytes * channels + 1) // SECTION_ALIGN) * SECTION_ALIGN

    def group_channels(self, channels):
        """Channels that one u covers, in whole bytes of a bit plane."""
        return 8 * ((channels + 7) // 8) if self.half_scales else _log_scales.group_channels(channels)

    def group_sizes(self, channels):
        """How many channels each group really has."""
        if self.half_scales:
            return (channels,)
        first = min(channels, self.group_channels(channels))
        return first, channels - first

    def passes(self, launch, order):
        if launch == "levels":
            # where a path leaves one level to an element, there is nothing to compare
            return 1 if self.bits > 1 else 0
        return 2 if launch == "statistics" and (self.centred or (self.half_scales and order == 2)) else 1

    def codes(self, order, keyframe=False):
        """Whether kernels serve residual order ``order``, or a ``keyframe`` of it."""
        return keyframe or order == 0 if self.centred else not keyframe


@dataclass(frozen=True)
class PerToken(_Kind):
    """One scale a token and a byte an element, as in ``codecs._token_scales``; ``floats``: e4m3, else a whole number."""

    most: float
    largest_scale: float
    floats: bool

    def token_bytes(self, channels):
        """As a Format's."""
        return 2 + channels

    def codes(self, order, keyframe=False):
        """As a Format's."""
        return True


@dataclass(frozen=True)
class LowRank(_Kind):
    """A product of two thin matrices; ``codec``: of a size."""

    searched = True
    codec: object

    def rank(self, tokens, channels):
        return self.codec.rank(tokens, channels)

    def token_bytes(self, channels):
        """As a Format's: nothing, for what a launch is told of a payload is where it ends."""
        return 0

    def codes(self, order, keyframe=False):
        """As a Format's."""
        return not keyframe


@dataclass(frozen=True)
class Fitted(LowRank):
    """Factors as in ``codecs.lowrank_fit``."""

    most_weight: float
    # of what a decoder may find, and of what an encoder may send
    most_unit: float
    most_sent_unit: float


@dataclass(frozen=True)
class Subspace(LowRank):
    """Factors as in ``codecs.lowrank``; ``four_bits``: as in ``codecs.lowrank_int4``."""

    only_launches = False
    four_bits: bool


@dataclass(frozen=True)
class Largest(_Kind):
    """The largest of every 16 channels, as in ``codecs.topk``: without scales."""

    def token_bytes(self, channels):
        """As a Format's."""
        return topk.payload_bytes(1, channels, 0)

    def codes(self, order, keyframe=False):
        """As a Format's."""
        return not keyframe


@dataclass(frozen=True)
class GroupScales(_Kind):
    """Scales of tokens and of 32 channels of each, and 4 bits an element beside the means of channels, as in ``codecs.int4``."""

    def token_bytes(self, channels):
        """As a Format's."""
        return int4.payload_bytes(1, channels, 0) - 2 * channels

    def codes(self, order, keyframe=False):
        """As a Format's: what goes without a base."""
        return keyframe or order == 0


@functools.cache
def of(name):
    """The Format, PerToken, Fitted, Subspace, Largest or GroupScales of the codec called ``name``, or None where there are no kernels for it."""
    if name == "binary":
        return Format(1, (1.0,), (), True)
    if name == "int2":
        return Format(2, (int2.LOW, int2.HIGH), (1.0,), True)
    if name in ("lm1", "lm2", "lm3", "lm4"):
        bits = int(name[2:])
        gain = getattr(codecs.load(name), "TREND_GAIN", 1.0)
        return Format(bits, _lloyd_max.levels(bits), _lloyd_max.thresholds(bits), False, gain)
    if name in ("tcq1", "tcq2", "tcq3"):
        bits, gain = int(name[3:]), getattr(codecs.load(name), "TREND_GAIN", 1.0)
        return Format(bits, _trellis.levels(bits)[2**bits :], (), False, gain, trellis=True)
    if name == "ternary":
        # the lower level is 0
        return Format(0, (0.0, ternary.LEVEL), (ternary.THRESHOLD,), False, ternary.TREND_GAIN)
    if name in ("centred4", "centred5"):
        bits = int(name[7:])
        return Format(bits, _lloyd_max.levels(bits), _lloyd_max.thresholds(bits), False, centred=True)
    if name in ("fp8", "int8"):
        codec = codecs.load(name)
        return PerToken(codec.MOST, _values.largest_bfloat16(codec.BOUND), name == "fp8")
    if name.startswith("lowrank_fit"):
        most = lowrank_fit.MOST_SUM
        return Fitted(codecs.load(name), lowrank_fit.MOST_WEIGHT, _values.largest_bfloat16(most), lowrank_fit.MOST_UNIT)
    if name.startswith("lowrank_"):
        return Subspace(codecs.load(name), name.startswith("lowrank_int4"))
    if name == "topk":
        return Largest()
    if name == "int4":
        return GroupScales()
    return None
