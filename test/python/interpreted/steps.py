"""Sends with statistics of the step before."""

import torch
from case import POISON, VALUES, Case, same, there
from rows import FORMATS

from cfx_shim import statistics
from cfx_shim.kernels import history_launch, launch


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
            place = found, self.offsets, self.own, self.order
            tokens, channels = self.xs[0].shape[1:]
            leaves = history_launch.room(len(self.peers) * len(self.xs), tokens, channels, "cpu")
            there(launch.encode, self.codec, self.xs, self.states, *place, True, True, taken, kept, leaves=leaves)
            there(history_launch.keep, self.codec, leaves, kept, self.order, channels)
            pairs = [("message", message, found), *zip(["sender's state"] * 3, states, self.states)]
            used = layout.scale_bytes + 1
            for name, one, other in [*pairs, *(("history", one[:, :used], other[:, :used]) for one, other in zip(histories, kept))]:
                wrong += same(f"step {step}, {name}", one, other)
            outs = [] if self.in_place else [torch.empty((len(self.peers), tokens, channels), dtype=x.dtype) for x in self.xs]
            there(launch.decode, self.codec, outs, before, *place, tokens, channels, self.xs[0].dtype)
            for one, other in zip(self.states, before):
                wrong += same(f"step {step}, receiver's state", one, other)
        return wrong


def steps():
    for codec, order in (*FORMATS, ("lm1", 1)):
        for tokens, channels in ((18, 9), (5, 130), (1, 7)) if codec == "lm2" else ((5, 130),):
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
        yield f"lm2, the step before, {what}", Steps("lm2", 2, tokens=4, change=change, statistics="previous")
    yield "int2, the step before, NaN", Steps("int2", 1, tokens=4, change=VALUES["NaN"], statistics="previous")
