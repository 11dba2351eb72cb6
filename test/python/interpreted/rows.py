"""The row kernels, of sends that stand alone: bit planes and digits, levels on a trellis, and centred ones."""

import torch
from case import DEVICE, DTYPES, VALUES, Case, Garbage, there

from cfx_shim import statistics
from cfx_shim.kernels import history_launch, ops, tiles

FORMATS = [("binary", 1), ("int2", 1), ("lm1", 2), ("lm2", 2), ("lm3", 2), ("lm4", 2), ("ternary", 2)]


class Operators(Case):
    """What the operators declare of themselves, and their fakes, against what they do."""

    def run(self):
        layout = statistics.layout(self.sections[0].codec, self.xs[0].shape[2])
        message, place = torch.zeros(self.shape, dtype=torch.uint8), (self.offsets, self.own, "lm2", self.order)
        histories = [torch.zeros(layout.shape(len(self.peers)), dtype=torch.uint8) for _ in self.xs]
        found = {}
        tokens, channels = self.xs[0].shape[1:]
        leaves = history_launch.room(len(self.peers) * len(self.xs), tokens, channels, "cpu").zero_()
        for taken, kept in (("exact", []), ("exact", histories), ("sampled", []), ("previous", histories)):
            arguments = (self.xs, self.states, message, *place, True, True, taken, kept, False, False, leaves if kept else None)
            found[f"encode, {taken}, {len(kept)} histories"] = self.checked(ops.encode, arguments)
        found["keep"] = self.checked(ops.keep, (leaves, histories, "lm2", self.order, channels))
        found["decode"] = self.checked(ops.decode, ([], self.states, message, *place, *self.xs[0].shape[1:], self.xs[0].dtype))
        return [f"{name}: {results}" for name, results in found.items() if set(results.values()) != {"SUCCESS"}]

    @staticmethod
    def checked(operator, arguments):
        checks = ("test_schema", "test_faketensor", "test_autograd_registration")
        return there(torch.library.opcheck, operator, arguments, test_utils=checks, raise_exception=False)


class FewThreads(Case):
    """Of programs that find a few paths of a trellis at once, fewer than they have to."""

    def run(self):
        before, tiles.PATHS = tiles.PATHS, 8
        try:
            return super().run()
        finally:
            tiles.PATHS = before


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
    for codec, order in (("lm1", 1), ("lm2", 2), ("ternary", 2)):
        # a token's second scale begins in the middle of a group of 32
        for channels in (20, 72, 288):
            case = Case(codec, order, "bfloat16", 2, None, channels=channels, base_dtype="int8")
            yield f"{codec}, order {order}, 8-bit state, {channels} channels", case
    for what, change in VALUES.items():
        yield f"lm2, 8-bit state, {what}", Case("lm2", 2, channels=64, change=change, base_dtype="int8")
    yield "binary, 8-bit state, 70 channels", Case("binary", 1, channels=70, base_dtype="int8")
    yield "no feedback, 8-bit state", Case("binary", 1, "float16", feedback=False, base_dtype="int8")
    yield "no feedback", Case("binary", 1, "float16", feedback=False)
    for order, base_dtype in ((0, "native"), (1, "native"), (2, "native"), (2, "int8")):
        case = Garbage("ternary", order, "bfloat16", tokens=9, channels=64, base_dtype=base_dtype)
        yield f"ternary, order {order}, {base_dtype}, any bytes", case
    for codec, order in (("binary", 0), ("int2", 1)):
        yield f"{codec}, order {order}, any bytes", Garbage(codec, order, "bfloat16", tokens=9, channels=64)
    yield "operators", Operators("lm2", 2, "bfloat16", tokens=5)
    for codec, order in FORMATS:
        yield f"{codec}, a sample of the tokens", Case(codec, order, "bfloat16", tokens=300, statistics="sampled")
    yield "lm2, a sample of few tokens", Case("lm2", 2, tokens=5, statistics="sampled", sections=3)


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
    for channels in (1, 8, 520):
        yield f"tcq2, {channels} channels", Case("tcq2", 2, "bfloat16", 1, None, tokens=2, channels=channels)
    # a launch on a GPU takes the threads of whole warps, and a power of two of these
    for case, tokens, channels in ((Case, 90, 520), *[(FewThreads, 9, 300)] * (DEVICE.type == "cpu")):
        name = f"tcq3, several programs, {case.__name__}"
        yield name, case("tcq3", 2, "bfloat16", 1, None, tokens=tokens, channels=channels)
    for what, change in VALUES.items():
        yield f"tcq2, {what}", Case("tcq2", 2, change=change)
        yield f"tcq3, order 0, {what}", Case("tcq3", 0, change=change)
    for order in (1, 2):
        yield f"tcq2, order {order}, 8-bit state", Case("tcq2", order, "float16", channels=128, base_dtype="int8")
        yield f"tcq2, order {order}, 8-bit state, 72 channels", Case("tcq2", order, "bfloat16", channels=72, base_dtype="int8")
    yield "tcq1, q, k, v of three ranks", Case("tcq1", 2, "bfloat16", 3, 1, sections=3)
    yield "tcq3, any bytes", Garbage("tcq3", 2, "bfloat16", tokens=9, channels=300)
    yield "tcq2, a sample of the tokens", Case("tcq2", 2, "bfloat16", tokens=300, channels=10, statistics="sampled")
