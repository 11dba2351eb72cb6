"""The launches as operators of torch: what they change is declared, so that compilers may trace and order them.

``cfx::encode`` and ``cfx::decode`` have ``launch.encode``'s and ``launch.decode``'s arguments, the codec by name. They
change tensors in place and return nothing.
"""

import functools

import torch

from . import formats, int4_launch, launch, low_rank_launch, per_token_launch, subspace_launch, topk_launch
from .repeat import Repeated

_library = torch.library.Library("cfx", "FRAGMENT")
_library.define(
    "encode(Tensor[] xs, Tensor(a!)[] states, Tensor(b!) message, int[] offsets, int own, str codec, int order,"
    " bool feedback, bool first, str statistics, Tensor(c!)[] histories, bool keyframe=False, bool continues=False) -> ()"
)
_library.define(
    "decode(Tensor(a!)[] outs, Tensor(b!)[] states, Tensor message, int[] offsets, int own, str codec, int order,"
    " int tokens, int channels, ScalarType dtype, bool keyframe=False, bool continues=False) -> ()"
)


def _encode(
    xs, states, message, offsets, own, codec, order, feedback, first, statistics, histories, keyframe=False, continues=False
):
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
    launch.encode(form, xs, states, message, offsets, own, order, feedback, first, statistics, histories, keyframe, continues)


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


for _device in ("CPU", "CUDA"):
    _library.impl("encode", _encode, _device)
    _library.impl("decode", _decode, _device)
torch.library.register_fake("cfx::encode", lambda *_: None, lib=_library)
torch.library.register_fake("cfx::decode", lambda *_: None, lib=_library)

encode, decode = torch.ops.cfx.encode.default, torch.ops.cfx.decode.default


class Encoding:
    """``encode`` into ``message`` with all arguments but ``xs`` bound. The first ``xs`` only say of what kind the others are."""

    def __init__(self, xs, states, message, codec, **how):
        call = functools.partial(encode, states=states, message=message, codec=codec, **how)
        self._call = Repeated(call) if formats.of(codec).only_launches else call

    def __call__(self, xs):
        self._call(xs)


class Decoding:
    """``decode`` out of ``message`` with all arguments but ``outs`` bound."""

    def __init__(self, states, message, **how):
        self._call = Repeated(functools.partial(decode, states=states, message=message, **how))

    def __call__(self, outs):
        self._call(outs)
