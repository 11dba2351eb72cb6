"""What channel scales and the predictor's beta are taken from. A payload holds them, so receivers need not know.

- ``exact``: all tokens of what is coded. A pass over the inputs before the one that codes them.
- ``sampled``: the sample of ``codecs._sample``, likewise: a pass over 128 tokens.
- ``previous``: that sample, one step before, so that one pass does everything. Channel scales are those of what the
  prediction left then. There is one beta a block, for a channel's own ages badly: the sums of ``predictor`` over the
  sample and all channels. The first sends from a base, one or with a predictor two, take exact ones.

A sender keeps for ``previous``, for each block of C channels, a history [16·ceil((S + 1) / 16)] uint8: S bytes of
channel scales as the payload holds them, then beta's byte, 0 without a predictor. What follows is not used.
"""

from dataclasses import dataclass

import torch

from . import predictor
from ._contract import SECTION_ALIGN
from .codecs import _sample

EXACT, SAMPLED, PREVIOUS = "exact", "sampled", "previous"


@dataclass(frozen=True)
class HistoryLayout:
    """Equal layouts can go on with each other's history. ``scale_bytes``: S, of all channels."""

    scale_bytes: int

    stored = torch.uint8

    def shape(self, blocks):
        return blocks, -(-(self.scale_bytes + 1) // SECTION_ALIGN) * SECTION_ALIGN


def layout(codec, channels):
    """Of the history that a sender keeps for the codec module ``codec``."""
    return HistoryLayout(codec.CHANNEL_SCALES.CHANNEL_BYTES * channels)


def scales_of(history, codec, channels):
    """The channel scales [B, S] uint8 of the step before."""
    return history[:, : codec.CHANNEL_SCALES.CHANNEL_BYTES * channels]


def beta_of(history, codec, channels):
    """The byte of the block's beta [B, 1] uint8: a view."""
    place = codec.CHANNEL_SCALES.CHANNEL_BYTES * channels
    return history[:, place : place + 1]


def block_beta(delta, trend):
    """The one beta of a block [B, 1] uint8, from ``delta`` = x - b [B, N, C] float32 and ``trend`` [B, N, C]."""
    return predictor.fit_block(_sample.taken(delta), _sample.taken(trend).float())


def keep(history, codec, left, beta):
    """Make ``history`` that of this step: ``left`` [B, N, C] float32 by the prediction, if any; ``beta`` as ``block_beta``'s."""
    channels = left.shape[2]
    scales_of(history, codec, channels).copy_(codec.CHANNEL_SCALES.of_channels(_sample.taken(left).abs()))
    if beta is None:
        beta_of(history, codec, channels).zero_()
    else:
        beta_of(history, codec, channels).copy_(beta)
