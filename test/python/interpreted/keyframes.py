"""What starts a state: keyframes, through the operators."""

import torch
from case import DTYPES, POISON, VALUES, Case, bits, same, there

from cfx_shim import coding
from cfx_shim.kernels import ops

KEYFRAMES = ("centred4", "centred5", "int8", "fp8")
# residual order, type of the state, whether a base was there before
STARTS = [
    (0, "native", False), (1, "native", False), (1, "native", True), (2, "native", False), (2, "native", True),
    (1, "int8", False), (2, "int8", False), (2, "int8", True),
]  # fmt: skip


class Keyframe(Case):
    """What starts a state of order ``order``, or with 0 is a keyframe of what keeps none: through the operators, which choose
    the launches. What is there before is read only where the base ``continues``, and nothing of it stays.
    """

    def __init__(self, codec, order, *arguments, continues=False, **others):
        super().__init__(codec, order, *arguments, keyframe=True, **others)
        self.name, self.continues = codec, continues
        for section in self.sections:
            section.continues = continues
        if not continues:
            for state in self.states:
                bits(state).fill_(POISON)

    def run(self):
        message, states = self.eager()
        shape, dtype = self.xs[0].shape[1:], self.xs[0].dtype
        wrong = []
        for before in (0, 1):
            found, moved = torch.full(self.shape, POISON, dtype=torch.uint8), [state.clone() for state in self.states]
            found[:, -16] = before
            arguments = found, self.offsets, self.own, self.name, self.order, True, True, "exact", []
            there(ops.encode, self.xs, moved, *arguments, keyframe=True, continues=self.continues)
            wrong += same("message", message, found)
            for one, other in zip(states, moved):
                wrong += same("sender's state", one, other)
        garbage = torch.randint(0, 256, self.shape, generator=self.generator, dtype=torch.uint8)
        for name, sent in (("message", message), ("garbage", garbage)):
            outs = [] if self.in_place else [torch.empty((len(self.peers), *shape), dtype=dtype) for _ in self.xs]
            expected, moved = [state.clone() for state in self.states], [state.clone() for state in self.states]
            arguments = sent, self.offsets, self.own, self.name, self.order, *shape, dtype, True, self.continues
            there(ops.decode, outs, moved, *arguments)
            for index, section in enumerate(self.sections):
                room = sent[self.peers, self.offsets[index] :][:, : section.bytes]
                values = coding.decode(section, room, expected[index] if expected else None)
                wrong += same(f"values of {name}", values, section.layout.base(moved[index]) if self.in_place else outs[index])
            for one, other in zip(expected, moved):
                wrong += same(f"receiver's state of {name}", one, other)
            if name == "message":
                for one, other in zip(states, moved):
                    wrong += same("states of both ends", one, other)
        return wrong


def keyframes():
    for codec in KEYFRAMES:
        for order, base_dtype, continues in STARTS:
            kind = f"order {order}, {base_dtype}, {'continues' if continues else 'starts'}"
            for dtype in DTYPES:
                channels = 128 if base_dtype == "int8" else 40
                case = Keyframe(codec, order, dtype, channels=channels, base_dtype=base_dtype, continues=continues)
                yield f"{codec}, keyframe, {kind}, {dtype}", case
        for tokens, channels in ((66, 1), (3, 7), (66, 9), (66, 64), (66, 130), (3, 768)):
            what = f"{tokens} tokens, {channels} channels"
            yield f"{codec}, keyframe, {what}", Keyframe(codec, 2, "bfloat16", tokens=tokens, channels=channels, continues=True)
        for what, change in VALUES.items():
            for base_dtype in ("native", "int8"):
                case = Keyframe(codec, 2, channels=64, change=change, base_dtype=base_dtype, continues=True)
                yield f"{codec}, keyframe, {base_dtype}, {what}", case
        case = Keyframe(codec, 2, "float16", change=lambda x: x.mul_(1e5), channels=40, continues=True)
        yield f"{codec}, keyframe, beyond what a float16 base holds", case
        three = {"ranks": 3, "own": 1, "sections": 3, "continues": True}
        yield f"{codec}, keyframe, q, k, v of three ranks", Keyframe(codec, 2, "bfloat16", **three)
    for codec in (*KEYFRAMES, "int4"):
        for order in (1, 2):
            for channels in (70, 288):
                case = Keyframe(codec, order, channels=channels, base_dtype="int8", continues=True)
                yield f"{codec}, keyframe, order {order}, 8-bit state, {channels} channels", case
