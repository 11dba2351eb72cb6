"""A send as the kernels make it and as plain torch does: what the cases of this folder are made of."""

import contextlib
import os

import torch
from torch.utils import _pytree
from triton.runtime.interpreter import interpreter_builder

from cfx_shim import coding
from cfx_shim.kernels import formats, launch, ops
from cfx_shim.plan import Treatment
from cfx_shim.state import aligned

POISON = 0xAB
# what kernels run on; plain torch's side of a comparison is always a CPU's
DEVICE = torch.device(os.environ.get("CFX_KERNELS_ON", "cpu"))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def bits(x):
    return x.contiguous().view(torch.uint8)


def same(name, one, other):
    wrong = int((bits(one) != bits(other)).sum())
    return [f"{name}: {wrong} of {bits(one).numel()} bytes"] if wrong else []


def there(function, *arguments, **keywords):
    """``function`` on ``DEVICE``: all tensors go there with their strides and addresses' last bits, and come back in place."""
    if DEVICE.type == "cpu":
        return function(*arguments, **keywords)
    copies = []

    def copied(x):
        if not isinstance(x, torch.Tensor):
            return x
        if not x.numel():
            return x.to(DEVICE)
        whole = _whole(x).to(DEVICE)
        copies.append((x, whole))
        return torch.empty(0, dtype=x.dtype, device=DEVICE).set_(whole.untyped_storage(), x.storage_offset(), x.shape, x.stride())

    moved = _pytree.tree_map(copied, (arguments, keywords))
    result = function(*moved[0], **moved[1])
    for x, whole in copies:
        _whole(x).copy_(whole)
    return result


def _whole(x):
    storage = x.untyped_storage()
    return torch.empty(0, dtype=torch.uint8, device=x.device).set_(storage, 0, (len(storage),), (1,))


@contextlib.contextmanager
def backwards():
    """Programs of a launch go from the last one to the first: on a GPU they go in any order, and side by side."""
    forwards = interpreter_builder.set_grid_idx

    def turned(*place):
        forwards(*(count - 1 - at for count, at in zip(interpreter_builder.grid_dim, place)))

    interpreter_builder.set_grid_idx = turned
    try:
        yield
    finally:
        interpreter_builder.set_grid_idx = forwards


class Case:
    """``sections`` tensors [ranks, N, C] coded by rank ``own`` for the others (None: for all), with states of their own."""

    def __init__(
        self,
        codec,
        order,
        dtype="float32",
        ranks=2,
        own=1,
        tokens=6,
        channels=20,
        sections=1,
        feedback=True,
        change=None,
        base_dtype="native",
        statistics="exact",
        keyframe=False,
    ):
        generator = torch.Generator().manual_seed(tokens * 1000 + channels)
        # tokens are not side by side, as in a fused projection's output
        fused = torch.randn((ranks, tokens, sections, channels), generator=generator)
        fused *= 3 * torch.rand(channels, generator=generator)
        if change:
            change(fused)
        fused = fused.to(DTYPES[dtype])
        self.xs = [fused[:, :, index] for index in range(sections)]
        self.own = formats.NOBODY if own is None else own
        self.peers = [rank for rank in range(ranks) if rank != own]
        sends = {"codec": "lm1", "keyframe": codec} if keyframe else {"codec": codec}
        treatment = Treatment(order=order, feedback=feedback, base_dtype=base_dtype, statistics=statistics, **sends)
        self.sections = [coding.Section(role, x, treatment, keyframe, statistics=statistics) for role, x in zip("qkv", self.xs)]
        self.offsets, at = [], 0
        for section in self.sections:
            self.offsets.append(at)
            at += aligned(section.bytes)
        self.shape = (ranks, at + 16)
        self.states = []
        for x, section in zip(self.xs, self.sections) if order else ():
            base = x[self.peers].float().nan_to_num(0.0, 1.0, -1.0)
            base += torch.randn(base.shape, generator=generator) * 0.3
            state = torch.empty(section.layout.shape(len(self.peers)), dtype=section.layout.stored)
            section.layout.start(state, base.to(x.dtype), torch.randn(base.shape, generator=generator) * 0.3)
            self.states.append(state)
        self.order, self.in_place = order, bool(order) and base_dtype == "native"
        self.codec = formats.of(codec)
        self.generator = generator

    def eager(self, histories=None):
        message, states = torch.full(self.shape, POISON, dtype=torch.uint8), [state.clone() for state in self.states]
        flag = False
        for index, section in enumerate(self.sections):
            for compact, rank in enumerate(self.peers):
                room = message[rank : rank + 1, self.offsets[index] :][:, : section.bytes]
                kept = part(states, index, compact), part(histories, index, compact)
                flag |= bool(coding.encode(section, self.xs[index][rank : rank + 1], room, *kept))
        message[:, -16] = flag
        return message, states

    def run(self):
        message, states = self.eager()
        found, moved = torch.full(self.shape, POISON, dtype=torch.uint8), [state.clone() for state in self.states]
        feedback = self.sections[0].treatment.feedback
        taken = self.sections[0].statistics
        self.encode(self.xs, moved, found, feedback, True, taken)
        wrong = same("message", message, found)
        for one, other in zip(states, moved):
            wrong += same("sender's state", one, other)
        return wrong + self.decoded(message)

    def encode(self, xs, states, message, feedback, first, taken):
        there(launch.encode, self.codec, xs, states, message, self.offsets, self.own, self.order, feedback, first, taken)

    def decode(self, outs, states, message, *kind):
        there(launch.decode, self.codec, outs, states, message, self.offsets, self.own, self.order, *kind)

    def decoded(self, message):
        tokens, channels = self.xs[0].shape[1:]
        states, moved = [state.clone() for state in self.states], [state.clone() for state in self.states]
        outs = [] if self.in_place else [torch.empty((len(self.peers), tokens, channels), dtype=x.dtype) for x in self.xs]
        self.decode(outs, moved, message, tokens, channels, self.xs[0].dtype)
        wrong = []
        for index, section in enumerate(self.sections):
            for compact, rank in enumerate(self.peers):
                room = message[rank : rank + 1, self.offsets[index] :][:, : section.bytes]
                values = coding.decode(section, room, part(states, index, compact))
                found = section.layout.base(moved[index]) if self.in_place else outs[index]
                wrong += same("values", values, found[compact : compact + 1])
        for one, other in zip(states, moved):
            wrong += same("receiver's state", one, other)
        return wrong


class Garbage(Case):
    """What no encoder writes."""

    def run(self):
        garbage = torch.randint(0, 256, self.shape, generator=self.generator, dtype=torch.uint8)
        return [f"of garbage, {each}" for each in self.decoded(garbage)]


class Sent(Garbage):
    """Through the operators, which choose the launches: what is coded, what is decoded, and what no encoder writes."""

    def __init__(self, codec, *arguments, **others):
        super().__init__(codec, *arguments, **others)
        self.name = codec

    def encode(self, xs, states, message, feedback, first, taken):
        there(ops.encode, xs, states, message, self.offsets, self.own, self.name, self.order, feedback, first, taken, [])

    def decode(self, outs, states, message, *kind):
        there(ops.decode, outs, states, message, self.offsets, self.own, self.name, self.order, *kind)

    def run(self):
        wrong, flags = Case.run(self) + Garbage.run(self), []
        feedback = self.sections[0].treatment.feedback
        # another launch for these messages may have come before, and seen something
        for first in (True, False):
            message, states = torch.full(self.shape, 1, dtype=torch.uint8), [state.clone() for state in self.states]
            self.encode(self.xs, states, message, feedback, first, "exact")
            flags.append(message[:, -16].tolist())
        expected = [self.eager()[0][:, -16].tolist(), [1] * self.shape[0]]
        return wrong + ([] if flags == expected else [f"flags {flags}; expected {expected}"])


def part(states, index, compact):
    return states[index][compact : compact + 1] if states else None


def put(value, *where):
    def change(x):
        x[where] = value

    return change


def some_zero(x):
    x[:, 0] = 0
    x[..., 1] = 0


def uneven(x):
    x[..., ::2] *= 1e4
    x[:, ::3] *= 1e-3


VALUES = {
    "NaN": put(float("nan"), 0, 1, 0, 2),
    "Inf": put(float("-inf"), -1, 0, 0, 0),
    "all zero": lambda x: x.zero_(),
    "a row and a column of zeros": some_zero,
    "denormal": lambda x: x.mul_(1e-40),
    "beyond small floats": lambda x: x.mul_(1e-9),
    "beyond float16": lambda x: x.mul_(1e30),
    "sums beyond float32": lambda x: x.fill_(3e38),
    "a scale beyond float32": lambda x: x.fill_(3.389e38),
    "uneven": uneven,
}
