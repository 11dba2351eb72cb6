"""The kernels in Triton's interpreter against plain torch, bit for bit; a script, because the interpreter is chosen by
the environment before Triton is imported. Prints one JSON object: case -> what differs (an empty text: nothing).
"""

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(HERE)), "python_shim"), HERE]

import torch  # noqa: E402

from cfx_shim import coding, statistics  # noqa: E402
from cfx_shim.kernels import formats, launch, ops, per_token_launch, topk_launch  # noqa: E402
from cfx_shim.plan import Treatment  # noqa: E402
from cfx_shim.state import aligned  # noqa: E402

POISON = 0xAB
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def bits(x):
    return x.contiguous().view(torch.uint8)


def same(name, one, other):
    wrong = int((bits(one) != bits(other)).sum())
    return [f"{name}: {wrong} of {bits(one).numel()} bytes"] if wrong else []


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
        launch.encode(self.codec, xs, states, message, self.offsets, self.own, self.order, feedback, first, taken)

    def decode(self, outs, states, message, *kind):
        launch.decode(self.codec, outs, states, message, self.offsets, self.own, self.order, *kind)

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


class PerToken(Case):
    """A byte an element and a scale a token, without a state; two launches in a row into the same messages."""

    def run(self):
        message, _ = self.eager()
        found = torch.full(self.shape, POISON, dtype=torch.uint8)
        wrong = []
        # the first of two launches for other tensors saw something, or nothing: the flag must not depend on what was there
        for before in (0, 1):
            found[:, -16] = before
            per_token_launch.encode(self.codec, self.xs, [], found, self.offsets, self.own, 0, True, True)
            wrong += same("message", message, found)
        per_token_launch.encode(self.codec, [torch.zeros_like(x) for x in self.xs], [], found, self.offsets, self.own, 0, True, False)
        wrong += same("flags behind another launch", message[:, -16], found[:, -16])
        if bool(message[0, -16]) != any(not bool(x[self.peers].isfinite().all()) for x in self.xs):
            wrong.append("flag")
        # any byte beside any scale
        garbage = torch.randint(0, 256, self.shape, generator=self.generator, dtype=torch.uint8)
        for name, sent in (("values", message), ("values of garbage", garbage)):
            wrong += self.decoded_alike(name, sent)
        return wrong

    def decoded_alike(self, name, message):
        tokens, channels = self.xs[0].shape[1:]
        outs = [torch.empty((len(self.peers), tokens, channels), dtype=x.dtype) for x in self.xs]
        per_token_launch.decode(self.codec, outs, [], message, self.offsets, self.own, 0, tokens, channels, self.xs[0].dtype)
        wrong = []
        for section, offset, out in zip(self.sections, self.offsets, outs):
            values = coding.decode(section, message[self.peers, offset : offset + section.bytes], None)
            wrong += same(name, values, out)
        return wrong


class Garbage(Case):
    """What no encoder writes."""

    def run(self):
        garbage = torch.randint(0, 256, self.shape, generator=self.generator, dtype=torch.uint8)
        return [f"of garbage, {each}" for each in self.decoded(garbage)]


class Largest(Garbage):
    """One launch each way, into messages that another launch may have coded into, and out of ones that nobody has."""

    def encode(self, xs, states, message, feedback, first, taken):
        topk_launch.encode(xs, states, message, self.offsets, self.own, self.order, feedback, first)

    def decode(self, outs, states, message, *kind):
        topk_launch.decode(outs, states, message, self.offsets, self.own, self.order, *kind)

    def run(self):
        wrong, flags = Case.run(self) + Garbage.run(self), []
        for first in (True, False):
            message, states = torch.full(self.shape, 1, dtype=torch.uint8), [state.clone() for state in self.states]
            self.encode(self.xs, states, message, True, first, None)
            flags.append(message[:, -16].tolist())
        expected = self.eager()[0][:, -16].tolist()
        if flags != [expected, [1] * len(expected)]:
            wrong.append(f"flags {flags}; expected {expected}")
        return wrong


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
            ops.encode(self.xs, moved, *arguments, keyframe=True, continues=self.continues)
            wrong += same("message", message, found)
            for one, other in zip(states, moved):
                wrong += same("sender's state", one, other)
        garbage = torch.randint(0, 256, self.shape, generator=self.generator, dtype=torch.uint8)
        for name, sent in (("message", message), ("garbage", garbage)):
            outs = [] if self.in_place else [torch.empty((len(self.peers), *shape), dtype=dtype) for _ in self.xs]
            expected, moved = [state.clone() for state in self.states], [state.clone() for state in self.states]
            arguments = sent, self.offsets, self.own, self.name, self.order, *shape, dtype, True, self.continues
            ops.decode(outs, moved, *arguments)
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


class EveryQuotient(PerToken):
    """A token for each scale, of 8 bits, over numbers of all mantissas: from the largest down to less than any code."""

    def __init__(self, codec, dtype, bits):
        mantissas = torch.arange(2 ** (bits - 1), 2**bits) * 2.0**-bits
        sizes = torch.cat([mantissas * 2.0**-power for power in range(19 if codec == "fp8" else 9)])
        super().__init__(codec, 0, dtype, 1, None, tokens=128, channels=len(sizes))
        largest = torch.arange(128, 256)[:, None] * self.codec.most / 256
        x = torch.minimum(sizes * 2.0 ** largest.log2().ceil(), largest)
        x[:, 1::2] *= -1
        x[:, :1] = largest
        self.xs[0].copy_(x)

    def run(self):
        message, found = self.eager()[0], torch.full(self.shape, POISON, dtype=torch.uint8)
        per_token_launch.encode(self.codec, self.xs, [], found, self.offsets, self.own, 0, True, True)
        return same("message", message, found)


class Steps(Case):
    """Sends after a keyframe with statistics of the step before: the first ones have none."""

    def run(self):
        layout = statistics.layout(self.sections[0].codec, self.xs[0].shape[2])
        histories = [torch.full(layout.shape(len(self.peers)), POISON, dtype=torch.uint8) for _ in self.xs]
        kept, received, wrong = [history.clone() for history in histories], [state.clone() for state in self.states], []
        for step in range(self.order + 2):
            for section in self.sections:
                section.open(False, True, step >= self.order)
                section.blocks.add_(torch.randn(section.blocks.shape, generator=self.generator).to(section.blocks.dtype) * 0.2)
            taken = self.sections[0].statistics
            assert taken == ("exact" if step < self.order else "previous")
            before = [state.clone() for state in self.states]
            message, states = self.eager(histories)
            found = torch.full(self.shape, POISON, dtype=torch.uint8)
            launch.encode(self.codec, self.xs, self.states, found, self.offsets, self.own, self.order, True, True, taken, kept)
            pairs = [("message", message, found), *zip(["sender's state"] * 3, states, self.states)]
            used = layout.scale_bytes + 1
            for name, one, other in [*pairs, *(("history", one[:, :used], other[:, :used]) for one, other in zip(histories, kept))]:
                wrong += same(f"step {step}, {name}", one, other)
            tokens, channels = self.xs[0].shape[1:]
            outs = [] if self.in_place else [torch.empty((len(self.peers), tokens, channels), dtype=x.dtype) for x in self.xs]
            launch.decode(self.codec, outs, before, found, self.offsets, self.own, self.order, tokens, channels, self.xs[0].dtype)
            for one, other in zip(self.states, before):
                wrong += same(f"step {step}, receiver's state", one, other)
        return wrong


class Operators(Case):
    """What the operators declare of themselves, and their fakes, against what they do."""

    def run(self):
        layout = statistics.layout(self.sections[0].codec, self.xs[0].shape[2])
        message, place = torch.zeros(self.shape, dtype=torch.uint8), (self.offsets, self.own, "lm2", self.order)
        histories = [torch.zeros(layout.shape(len(self.peers)), dtype=torch.uint8) for _ in self.xs]
        found = {}
        for taken, kept in (("exact", []), ("exact", histories), ("sampled", []), ("previous", histories)):
            arguments = (self.xs, self.states, message, *place, True, True, taken, kept)
            found[f"encode, {taken}, {len(kept)} histories"] = self.checked(ops.encode, arguments)
        found["decode"] = self.checked(ops.decode, ([], self.states, message, *place, *self.xs[0].shape[1:], self.xs[0].dtype))
        return [f"{name}: {results}" for name, results in found.items() if set(results.values()) != {"SUCCESS"}]

    @staticmethod
    def checked(operator, arguments):
        checks = ("test_schema", "test_faketensor", "test_autograd_registration")
        return torch.library.opcheck(operator, arguments, test_utils=checks, raise_exception=False)


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
KEYFRAMES = ("centred4", "centred5", "int8", "fp8")
# residual order, type of the state, whether a base was there before
STARTS = [
    (0, "native", False), (1, "native", False), (1, "native", True), (2, "native", False), (2, "native", True),
    (1, "int8", False), (2, "int8", False), (2, "int8", True),
]  # fmt: skip
FORMATS = [("binary", 1), ("int2", 1), ("lm1", 2), ("lm2", 2), ("lm3", 2), ("lm4", 2), ("ternary", 2)]


def cases(which):
    """(name, case) of the sends that stand alone, of those with statistics of the step before, of keyframes or of low rank."""
    import interpreted_int4
    import interpreted_low_rank
    import interpreted_orders as orders
    import interpreted_subspace

    kinds = {
        "alone": (alone, orders.alone, interpreted_int4.alone),
        "steps": (steps, orders.steps),
        "keyframes": (keyframes, interpreted_int4.keyframes),
        "low rank": (interpreted_low_rank.cases, interpreted_subspace.cases),
    }
    for each in kinds[which]:
        yield from each()


def alone():
    for codec, order in [*FORMATS, ("binary", 0), ("lm1", 1), ("lm3", 0), ("ternary", 0), ("ternary", 1)]:
        for dtype in DTYPES:
            yield f"{codec}, order {order}, {dtype}", Case(codec, order, dtype, tokens=66)
    for channels in (1, 7, 64, 130, 768):
        for codec, order in (("binary", 1), ("lm2", 2), ("ternary", 2)):
            yield f"{codec}, {channels} channels", Case(codec, order, "bfloat16", tokens=3, channels=channels, own=None)
    for codec in ("lm1", "ternary"):
        yield f"{codec}, 3072 channels", Case(codec, 2, "bfloat16", 1, None, tokens=2, channels=3072)
    for what, change in VALUES.items():
        for codec, order in (("int2", 1), ("lm2", 2), ("lm4", 0), ("ternary", 2)):
            yield f"{codec}, {what}", Case(codec, order, change=change)
    yield "many tokens", Case("lm2", 2, "bfloat16", tokens=200, channels=9)
    for codec, order in (("int2", 1), ("lm1", 2), ("ternary", 2)):
        yield f"{codec}, q, k, v of three ranks", Case(codec, order, "bfloat16", 3, 1, sections=3)
    for codec, order in (("int2", 1), ("lm1", 1), ("lm2", 2), ("lm1", 2), ("ternary", 2)):
        for dtype in ("bfloat16", "float16"):
            yield f"{codec}, order {order}, 8-bit state, {dtype}", Case(codec, order, dtype, channels=128, base_dtype="int8")
    for what, change in VALUES.items():
        yield f"lm2, 8-bit state, {what}", Case("lm2", 2, channels=64, change=change, base_dtype="int8")
    yield "binary, 8-bit state, 70 channels", Case("binary", 1, channels=70, base_dtype="int8")
    yield "no feedback, 8-bit state", Case("binary", 1, "float16", feedback=False, base_dtype="int8")
    yield "no feedback", Case("binary", 1, "float16", feedback=False)
    for order, base_dtype in ((0, "native"), (1, "native"), (2, "native"), (2, "int8")):
        case = Garbage("ternary", order, "bfloat16", tokens=9, channels=64, base_dtype=base_dtype)
        yield f"ternary, order {order}, {base_dtype}, any bytes", case
    yield from per_token()
    yield from largest()
    yield from trellis()
    yield from centred()
    yield "operators", Operators("lm2", 2, "bfloat16", tokens=5)
    for codec, order in FORMATS:
        yield f"{codec}, a sample of the tokens", Case(codec, order, "bfloat16", tokens=300, statistics="sampled")
    yield "lm2, a sample of few tokens", Case("lm2", 2, tokens=5, statistics="sampled", sections=3)


def keyframes():
    for codec in KEYFRAMES:
        for order, base_dtype, continues in STARTS:
            kind = f"order {order}, {base_dtype}, {'continues' if continues else 'starts'}"
            for dtype in DTYPES:
                # a state in 8 bits takes whole groups of a part's channels
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
    for codec in ("fp8", "int8"):
        for order in (1, 2):
            case = Keyframe(codec, order, channels=70, base_dtype="int8", continues=True)
            yield f"{codec}, keyframe, order {order}, 8-bit state, 70 channels", case


def centred():
    for codec in ("centred4", "centred5"):
        for dtype in DTYPES:
            yield f"{codec}, {dtype}", Case(codec, 0, dtype, tokens=66)
        for what, change in VALUES.items():
            yield f"{codec}, {what}", Case(codec, 0, change=change)
        for tokens, channels in ((1, 1), (3, 7), (64, 9), (5, 130), (2, 3072)):
            case = Case(codec, 0, "bfloat16", own=None, tokens=tokens, channels=channels, sections=2)
            yield f"{codec}, {tokens} tokens, {channels} channels", case
        yield f"{codec}, zeros of both signs", Case(codec, 0, tokens=64, change=lambda x: x.zero_().neg_())


def trellis():
    for codec, order in (("tcq1", 2), ("tcq2", 2), ("tcq3", 2), ("tcq2", 0), ("tcq1", 1)):
        yield f"{codec}, order {order}", Case(codec, order, "bfloat16", tokens=7, channels=42)
    for channels in (1, 8, 300, 520):
        yield f"tcq2, {channels} channels", Case("tcq2", 2, "bfloat16", tokens=2, channels=channels, own=None)
    for what, change in VALUES.items():
        yield f"tcq2, {what}", Case("tcq2", 2, change=change)
        yield f"tcq3, order 0, {what}", Case("tcq3", 0, change=change)
    for order in (1, 2):
        yield f"tcq2, order {order}, 8-bit state", Case("tcq2", order, "float16", channels=128, base_dtype="int8")
    yield "tcq1, q, k, v of three ranks", Case("tcq1", 2, "bfloat16", 3, 1, sections=3)
    yield "tcq3, any bytes", Garbage("tcq3", 2, "bfloat16", tokens=9, channels=300)
    yield "tcq2, a sample of the tokens", Case("tcq2", 2, "bfloat16", tokens=300, channels=10, statistics="sampled")


def per_token():
    for codec in ("fp8", "int8"):
        for dtype in DTYPES:
            yield f"{codec}, {dtype}", PerToken(codec, 0, dtype, tokens=66)
            for what, change in VALUES.items():
                # what a float16 can hold
                if dtype != "float16" or what in ("NaN", "Inf", "a row and a column of zeros"):
                    yield f"{codec}, {dtype}, {what}", PerToken(codec, 0, dtype, change=change)
        for channels in (1, 7, 64, 130, 768, 5120):
            yield f"{codec}, {channels} channels", PerToken(codec, 0, "bfloat16", tokens=3, channels=channels, own=None)
        yield f"{codec}, 13824 channels", PerToken(codec, 0, "bfloat16", 1, None, tokens=2, channels=13824)
        yield f"{codec}, many tokens", PerToken(codec, 0, "bfloat16", tokens=200, channels=9)
        yield f"{codec}, q, k, v of three ranks", PerToken(codec, 0, "bfloat16", 3, 1, sections=3)
        for dtype, bits in (("bfloat16", 8), ("float16", 11)):
            yield f"{codec}, every quotient in {dtype}", EveryQuotient(codec, dtype, bits)


def some_alike(x):
    x.round_()
    x[:, 1] = -0.0


def largest():
    for base_dtype, order in (("native", 0), ("native", 1), ("int8", 1)):
        of = {"order": order, "base_dtype": base_dtype}
        name = f"topk, order {order}, {base_dtype}"
        for dtype in DTYPES:
            yield f"{name}, {dtype}", Largest("topk", dtype=dtype, tokens=66, **of)
            yield f"{name}, {dtype}, equals and zeros", Largest("topk", dtype=dtype, tokens=9, channels=70, change=some_alike, **of)
        for what, change in VALUES.items():
            yield f"{name}, {what}", Largest("topk", channels=49, change=change, **of)
        for channels in (1, 7, 16, 64, 130, 768, 3072):
            yield f"{name}, {channels} channels", Largest("topk", dtype="bfloat16", tokens=3, channels=channels, own=None, **of)
        yield f"{name}, q, k, v of three ranks", Largest("topk", dtype="bfloat16", ranks=3, sections=3, tokens=130, **of)
        if order:
            yield f"{name}, no feedback", Largest("topk", dtype="float16", feedback=False, **of)


def steps():
    for codec, order in (*FORMATS, ("lm1", 1)):
        for tokens, channels in ((66, 9), (5, 130), (1, 7)) if codec == "lm2" else ((5, 130),):
            name = f"{codec}, order {order}, the step before, {tokens} tokens, {channels} channels"
            yield name, Steps(codec, order, "bfloat16", tokens=tokens, channels=channels, statistics="previous")
    for codec, order in (("tcq1", 1), ("tcq2", 2), ("tcq3", 2)):
        name = f"{codec}, order {order}, the step before"
        yield name, Steps(codec, order, "bfloat16", tokens=5, channels=24, statistics="previous")
    yield "int2, the step before, q, k, v of three ranks", Steps("int2", 1, "float16", 3, 1, tokens=9, sections=3, statistics="previous")
    yield "lm2, the step before, own block of two", Steps("lm2", 2, "bfloat16", 1, None, tokens=10, sections=2, statistics="previous")
    for order in (1, 2):
        eight = {"tokens": 11, "channels": 128, "base_dtype": "int8", "statistics": "previous"}
        yield f"lm1, order {order}, the step before, 8-bit state", Steps("lm1", order, "bfloat16", **eight)
    for what, change in VALUES.items():
        for codec, order in (("int2", 1), ("lm2", 2)):
            yield f"{codec}, the step before, {what}", Steps(codec, order, tokens=7, change=change, statistics="previous")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({name: "; ".join(case.run()) for name, case in cases(sys.argv[1])}))
