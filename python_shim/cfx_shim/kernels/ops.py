"""The launches as operators of torch: what they change is declared, so that compilers may trace and order them.

``cfx::encode``, ``cfx::keep`` and ``cfx::decode`` have the arguments of ``launch.encode``, ``history_launch.keep`` and
``launch.decode``, the codec by name. They change tensors in place and return nothing.
"""

import functools

import torch

from . import formats, history_launch, int4_launch, launch, low_rank_launch, per_token_launch, subspace_launch, topk_launch
from .repeat import Repeated

_library = torch.library.Library("cfx", "FRAGMENT")
_library.define(
    "encode(Tensor[] xs, Tensor(a!)[] states, Tensor(b!) message, int[] offsets, int own, str codec, int order,"
    " bool feedback, bool first, str statistics, Tensor[] histories, bool keyframe=False, bool continues=False, Tensor(c!)? leaves=None)"
    " -> ()"
)
_library.define("keep(Tensor leaves, Tensor(a!)[] histories, str codec, int order, int channels) -> ()")
_library.define(
    "decode(Tensor(a!)[] outs, Tensor(b!)[] states, Tensor message, int[] offsets, int own, str codec, int order,"
    " int tokens, int channels, ScalarType dtype, bool keyframe=False, bool continues=False) -> ()"
)


def _encode(
    xs, states, message, offsets, own, codec, order, feedback, first, statistics, histories, keyframe=False, continues=False,
    leaves=None,
):  # fmt: skip
    form = formats.of(codec)
    if isinstance(form, formats.PerToken):
        return per_token_launch.encode(form, xs, states, message, offsets, own, order, feedback, first, keyframe, continues)
    if isinstance(form, formats.Subspace):
        return subspace_launch.encode(form, xs, states, message, offsets, own, order, feedback, first)
    if isinstance(form, formats.Fitted):
        return low_rank_launch.encode(form, xs, states, message, offsets, own, order, feedback, first)
    if isinstance(form, formats.Largest):
        return topk_launch.encode(xs, states, message, offsets, own, order, feedback, first)
    if isinstance(form, formats.GroupScales):
        return int4_launch.encode(xs, states, message, offsets, own, order, first, continues)
    starts = keyframe, continues
    launch.encode(form, xs, states, message, offsets, own, order, feedback, first, statistics, histories, *starts, leaves)


def _keep(leaves, histories, codec, order, channels):
    history_launch.keep(formats.of(codec), leaves, histories, order, channels)


def _decode(
    outs, states, message, offsets, own, codec, order, tokens, channels, dtype, keyframe=False, continues=False
):
    form = formats.of(codec)
    if isinstance(form, formats.PerToken):
        kind = order, tokens, channels, dtype, keyframe, continues
        return per_token_launch.decode(form, outs, states, message, offsets, own, *kind)
    if isinstance(form, formats.Subspace):
        return subspace_launch.decode(form, outs, states, message, offsets, own, order, tokens, channels, dtype)
    if isinstance(form, formats.Fitted):
        return low_rank_launch.decode(form, outs, states, message, offsets, own, order, tokens, channels, dtype)
    if isinstance(form, formats.Largest):
        return topk_launch.decode(outs, states, message, offsets, own, order, tokens, channels, dtype)
    if isinstance(form, formats.GroupScales):
        return int4_launch.decode(outs, states, message, offsets, own, order, tokens, channels, dtype, continues)
    launch.decode(form, outs, states, message, offsets, own, order, tokens, channels, dtype, keyframe, continues)


for _name, _launches in (("encode", _encode), ("keep", _keep), ("decode", _decode)):
    for _device in ("CPU", "CUDA"):
        _library.impl(_name, _launches, _device)
    torch.library.register_fake(f"cfx::{_name}", lambda *_: None, lib=_library)

encode, keep, decode = (getattr(torch.ops.cfx, name).default for name in ("encode", "keep", "decode"))


class Encoding:
    """``encode`` into ``message`` with all arguments but ``xs`` bound. The first ``xs`` only say of what kind the others are."""

    def __init__(self, xs, states, message, own, codec, order, histories=(), **how):
        peers, tokens, channels = xs[0].shape
        sections = len(xs)
        how |= {"states": states, "message": message, "own": own, "codec": codec, "order": order, "histories": histories}

        def call(given):
            encode(given[:sections], leaves=given[-1] if histories else None, **how)

        self._call = Repeated(call) if formats.of(codec).only_launches else call
        self._leaves, self._keep = None, None
        if histories:
            self._room = (peers - (own < peers)) * sections, tokens, channels, message.device
            known = {"histories": histories, "codec": codec, "order": order, "channels": channels}
            self._keep = Repeated(lambda given: keep(*given, **known))

    def __call__(self, xs):
        if self._keep is None:
            self._call(xs)
        else:
            self._leaves = history_launch.room(*self._room)
            self._call([*xs, self._leaves])

    @property
    def keeps_behind(self):
        """Whether ``keep`` has work."""
        return self._keep is not None

    def keep(self):
        """Once after each call: ``histories``, if any, become those of its step. Nothing that is sent waits for it."""
        if self._keep is not None:
            self._keep([self._leaves])
            self._leaves = None


class Decoding:
    """``decode`` out of ``message`` with all arguments but ``outs`` bound."""

    def __init__(self, states, message, **how):
        self._call = Repeated(functools.partial(decode, states=states, message=message, **how))

    def __call__(self, outs):
        self._call(outs)
