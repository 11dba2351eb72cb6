"""How one section of a message is written and read in plain torch: raw, coded as it is, or coded against a base.

A residual section keeps a state tensor: the base, and for order 2 its trend (see ``state`` and ``predictor``). Both ends
move it by the same change through ``_move``, or set it to the same keyframe through ``_start``.
"""

import functools
from dataclasses import dataclass

import torch

from . import codecs, predictor, state as states, statistics
from .codecs import _sample
from .plan import Treatment


@dataclass
class Section:
    """One tensor of a message. ``blocks`` [P, N, C] for all_to_all (block p goes to rank p), [1, N, C] for all_gather."""

    role: str
    blocks: torch.Tensor
    treatment: Treatment
    keyframe: bool = False
    # whether a base was there before this call: only then a keyframe tells how it changes
    continues: bool = False
    offset: int = 0
    # what this send takes its channel scales and beta from
    statistics: str = statistics.EXACT

    @property
    def tokens(self):
        return self.blocks.shape[1]

    @property
    def channels(self):
        return self.blocks.shape[2]

    @property
    def block_bytes(self):
        return self.tokens * self.channels * self.blocks.element_size()

    @functools.cached_property
    def delayed(self):
        """Whether what arrives serves from the next step on, and the base until then."""
        return self.treatment.codec is not None and codecs.is_delayed(self.treatment.codec)

    @functools.cached_property
    def lossy(self):
        """Whether what a receiver uses may differ from what was sent to it."""
        return self.treatment.codec is not None and (self.delayed or not codecs.load(self.treatment.codec).EXACT)

    @functools.cached_property
    def order(self):
        """How many tensors of state are kept: none for exact codecs, the base alone for delayed ones."""
        if self.delayed:
            return 1
        return self.treatment.order if self.lossy else 0

    @property
    def codec_name(self):
        """What this send is coded with, or None where the plan says nothing."""
        return self.treatment.keyframe if self.keyframe else self.treatment.codec

    @property
    def codec(self):
        """The codec module of this send, or None where raw bytes travel."""
        name = self.codec_name
        module = None if name is None else codecs.load(name)
        return None if module is None or module.EXACT else module

    @property
    def payload_bytes(self):
        codec = self.codec
        if codec is None:
            return self.block_bytes
        return codec.payload_bytes(self.tokens, self.channels, self.blocks.element_size())

    @property
    def layout(self):
        """How the state is kept, where there is one. What is used late is used exactly."""
        base_dtype = states.NATIVE if self.delayed else self.treatment.base_dtype
        return states.layout(base_dtype, self.order, self.tokens, self.channels, self.blocks.dtype)

    @property
    def keeps_history(self):
        """Whether the sender keeps statistics of this send for the next one."""
        return self.treatment.statistics == statistics.PREVIOUS and not self.keyframe

    def open(self, warm, has_base, has_history=False):
        """Decide what this send is: a keyframe in the warm-up and where a base is needed and not there."""
        self.continues = self.order > 0 and has_base
        self.keyframe = self.lossy and (warm or (self.order > 0 and not self.continues))
        self.statistics = self.treatment.statistics
        if self.keyframe or (self.statistics == statistics.PREVIOUS and not has_history):
            self.statistics = statistics.EXACT

    @property
    def predicts(self):
        return self.order == 2 and not self.keyframe

    @property
    def bytes(self):
        """The payload and, behind it, the predictor's."""
        return self.payload_bytes + (self.channels if self.predicts else 0)


def encode(section, blocks, room, state, history=None):
    """Write ``blocks`` [B, N, C] into ``room`` [B, bytes] and move ``state``; returns 0-d bool: NaN or Inf was seen.

    ``history``: the sender's, where the section keeps one.
    """
    codec = section.codec
    if codec is None:
        room.view(blocks.dtype).copy_(blocks.reshape(blocks.shape[0], -1))
        if state is None:
            return torch.zeros((), dtype=torch.bool, device=blocks.device)
        _start(section, state, blocks)
        return ~torch.isfinite(blocks.sum(dtype=torch.float32))
    if state is None:
        return codec.encode(blocks.float(), room)
    payload = room[:, : section.payload_bytes]
    if section.keyframe:
        non_finite = codec.encode(blocks.float(), payload)
        _start(section, state, codec.decode(payload, section.tokens, section.channels))
        return non_finite
    base, trend = section.layout.read(state)
    delta = torch.sub(blocks.float(), base)
    energy = predicted = next_beta = None
    if section.predicts:
        betas = room[:, section.payload_bytes :]
        if section.keeps_history:
            next_beta = statistics.block_beta(delta, trend)
        if section.statistics == statistics.PREVIOUS:
            betas.copy_(statistics.beta_of(history, codec, section.channels).expand_as(betas))
        elif section.statistics == statistics.SAMPLED:
            energy = predictor.fit(_sample.taken(delta), _sample.taken(trend), betas)
        else:
            energy = predictor.fit(delta, trend, betas)
        predicted = predictor.predicted_change(trend, betas)
        delta.sub_(predicted)
    if section.statistics == statistics.PREVIOUS:
        known = {"channel_scales": statistics.scales_of(history, codec, section.channels)}
    elif section.statistics == statistics.SAMPLED:
        known = {"channel_scales": codec.CHANNEL_SCALES.of_channels(_sample.taken(delta).abs(), energy)}
    else:
        known = {"energy": energy} if energy is not None and getattr(codec, "TAKES_ENERGY", False) else {}
    non_finite = codec.encode(delta, payload, **known)
    if section.keeps_history:
        statistics.keep(history, codec, delta, next_beta)
    if section.treatment.feedback:
        _move(section, state, base, codec.decode(payload, section.tokens, section.channels), predicted)
    else:
        section.layout.start(state, blocks, None)
    return non_finite


def decode(section, room, state):
    """Values [B, N, C] in the section's dtype from ``room`` [B, bytes]; moves ``state`` where there is one."""
    codec = section.codec
    if codec is None:
        values = room.view(section.blocks.dtype).reshape(room.shape[0], section.tokens, section.channels)
        if state is None:
            return values
        # the base is about to be replaced: what is used now must outlive it
        late = section.delayed and not section.keyframe
        used = section.layout.read(state)[0].to(section.blocks.dtype, copy=True) if late else None
        started = _start(section, state, values)
        return started if used is None else used
    decoded = codec.decode(room[:, : section.payload_bytes], section.tokens, section.channels)
    if state is None:
        return decoded.to(section.blocks.dtype)
    if section.keyframe:
        return _start(section, state, decoded)
    base, trend = section.layout.read(state)
    predicted = None
    if section.predicts:
        predicted = predictor.predicted_change(trend, room[:, section.payload_bytes :])
    return _move(section, state, base, decoded, predicted)


def _start(section, state, values):
    """A keyframe: the base becomes ``values``; its trend is how it changes, known if there was a base before."""
    trend = None
    if section.order == 2 and section.continues:
        trend = values.float() - section.layout.read(state)[0]
    return section.layout.start(state, values, trend)


def _move(section, state, base, decoded, predicted):
    """The base changes by what was predicted and what was decoded, its trend follows by the codec's gain."""
    trend = None
    if predicted is not None:
        gain = getattr(section.codec, "TREND_GAIN", 1.0)
        trend = decoded if gain == 1.0 else (decoded * gain).add_(predicted)
        decoded.add_(predicted)
    return section.layout.move(state, base, decoded, trend)
