"""The low-rank kernels in Triton's interpreter against plain torch: what is decoded bit for bit, and how well factors fit, since
a search may sum in any order.
"""

import contextlib
import copy

import side_by_side
import torch
from case import DEVICE, DTYPES, POISON, VALUES, Case, backwards, same, there

from cfx_shim import coding, messages, predictor
from cfx_shim.codecs import _factor_fit
from cfx_shim.kernels import barrier, low_rank_launch

# a fit stops at one of many points that are alike; from the eager one it may be off by so much of the error
_WORSE = 1.02


class LowRank(Case):
    """``rounds``: of the fit, in both; a few, for the interpreter is slow."""

    launch, worse = low_rank_launch, _WORSE

    def __init__(self, *arguments, rounds=1, **keywords):
        super().__init__(*arguments, **keywords)
        self.rounds = rounds

    def run(self):
        _factor_fit.ROUNDS = self.rounds
        message, followed = self.eager()
        found, sent = torch.full(self.shape, POISON, dtype=torch.uint8), [state.clone() for state in self.states]
        feedback = self.sections[0].treatment.feedback
        there(self.launch.encode, self.codec, self.xs, sent, found, self.offsets, self.own, self.order, feedback, True)
        received, wrong = self.decoded_alike("values", found)
        for one, other in zip(sent, received if feedback else followed):
            wrong += same("the sender's state", one, other)
        for section, offset in zip(self.sections, self.offsets):
            betas = slice(offset + section.payload_bytes, offset + section.bytes)
            wrong += same("betas", message[self.peers, betas], found[self.peers, betas])
        garbage = torch.randint(0, 256, self.shape, generator=self.generator, dtype=torch.uint8)
        wrong += self.decoded_alike("values of other bytes", garbage)[1]
        return wrong + same("flags", message[:, -16], found[:, -16]) + self.fits_alike(message, found)

    def decoded_alike(self, name, message):
        tokens, channels = self.xs[0].shape[1:]
        states = [state.clone() for state in self.states]
        outs = [torch.empty((len(self.peers), tokens, channels), dtype=x.dtype) for x in self.xs]
        how = message, self.offsets, self.own, self.order, tokens, channels, self.xs[0].dtype
        there(self.launch.decode, self.codec, [] if self.in_place else outs, states, *how)
        wrong = []
        for index, (section, offset) in enumerate(zip(self.sections, self.offsets)):
            state = self.states[index].clone() if self.order else None
            values = coding.decode(section, message[self.peers, offset : offset + section.bytes], state)
            wrong += same(name, values, section.layout.base(states[index]) if self.in_place else outs[index])
            wrong += same(f"state of {name}", state, states[index]) if self.order else []
        return states, wrong

    def fits_alike(self, *messages):
        wrong = []
        for index, (section, offset) in enumerate(zip(self.sections, self.offsets)):
            x, missed = self.xs[index][self.peers].float(), []
            for message in messages:
                payload = message[self.peers, offset : offset + section.bytes]
                left = x
                if self.order:
                    base, trend = section.layout.read(self.states[index])
                    left = x - base
                    if self.order == 2:
                        left = left - predictor.predicted_change(trend, payload[:, section.payload_bytes :])
                decoded = section.codec.decode(payload[:, : section.payload_bytes], section.tokens, section.channels)
                missed.append(float((left.nan_to_num(0.0, 0.0, 0.0).double() - decoded.double()).square().sum()))
            eager, kernels = missed
            if not kernels <= self.worse * eager:
                wrong.append(f"error {kernels:.4g} for {eager:.4g}")
        return wrong


class AnyOrder(LowRank):
    """The order in which programs go, and so add to sums, changes no byte that is sent."""

    def run(self):
        _factor_fit.ROUNDS, found = self.rounds, []
        for order in (contextlib.nullcontext, backwards):
            message, states = torch.full(self.shape, POISON, dtype=torch.uint8), [state.clone() for state in self.states]
            with order():
                there(self.launch.encode, self.codec, self.xs, states, message, self.offsets, self.own, self.order, True, True)
            found.append((message, states))
        (message, states), (other, others) = found
        return same("bytes", message, other) + [each for pair in zip(states, others) for each in same("states", *pair)]


class Together(LowRank):
    """One launch whose programs wait for each other sends the bytes of launches one after the other, whoever goes first."""

    def run(self):
        _factor_fit.ROUNDS, found = self.rounds, []
        turns = [side_by_side.programs(3, seed=1), side_by_side.programs(7, seed=2)]
        if DEVICE.type == "cuda":
            # as many as it has multiprocessors
            turns = [contextlib.nullcontext()] * 3
        for order in (side_by_side.none(), *turns):
            message, states = torch.full(self.shape, POISON, dtype=torch.uint8), [state.clone() for state in self.states]
            with order:
                there(self.launch.encode, self.codec, self.xs, states, message, self.offsets, self.own, self.order, True, True)
            found.append(message)
        alone, *together = found
        wrong = [each for message in together for each in same("bytes", alone, message)]
        return wrong if DEVICE.type == "cuda" else wrong + self.in_vain()

    def in_vain(self):
        """Who gives up waiting says so: the exchange then goes uncompressed."""
        message, states = torch.full(self.shape, POISON, dtype=torch.uint8), [state.clone() for state in self.states]
        with side_by_side.programs(3, seed=3, patience=1):
            there(self.launch.encode, self.codec, self.xs, states, message, self.offsets, self.own, self.order, True, True)
        return [] if message[:, -16].tolist() == [1] * self.shape[0] else ["no flag of who waited in vain"]


class Trial(Together):
    """What tells whether programs can wait for each other says yes where they do, and no where one goes after the other."""

    def run(self):
        if DEVICE.type == "cuda":
            # one program after the other is what no GPU does
            return [] if low_rank_launch.side_by_side.programs(DEVICE) else ["said no"]
        found = []
        for count, patience, options in ((5, 10_000, low_rank_launch.side_by_side.OPTIONS), (5, 20, {})):
            arrived, numbers, seen = (torch.zeros(size, dtype=torch.int32) for size in (1, count, count))
            with side_by_side.programs(count, seed=4, patience=patience):
                barrier.trial_kernel[(count,)](arrived, numbers, seen, PROGRAMS=8, **options)
            found.append(bool(seen.all()))
        return [] if found == [True, False] else [f"said {found}"]


class Messages(Case):
    """Whole messages, step after step: kernels code them, and a receiver that decodes in plain torch keeps the sender's base."""

    def run(self):
        _factor_fit.ROUNDS = 1
        received, wrong = [state.clone() for state in self.states], []
        for section, offset in zip(self.sections, self.offsets):
            section.offset = offset
        for step in range(3):
            sent = torch.full(self.shape, POISON, dtype=torch.uint8)
            there(self.write, [section.blocks for section in self.sections], self.states, sent)
            for section, offset, state, own in zip(self.sections, self.offsets, received, self.states):
                coding.decode(section, sent[self.peers, offset : offset + section.bytes], state)
                wrong += same(f"step {step}, the two states", own, state)
                section.blocks.add_(torch.randn(section.blocks.shape, generator=self.generator).to(section.blocks.dtype) * 0.2)
        return wrong

    def write(self, blocks, states, sent):
        sections = [copy.copy(section) for section in self.sections]
        for section, x in zip(sections, blocks):
            section.blocks = x
        if messages.kernel_kind(sections[0])[0] != messages.TRITON:
            raise AssertionError("not by kernels")
        messages.write(sections, states, sent, self.own)


def cases():
    yield "lowrank_fit_b31, messages", Messages("lowrank_fit_b31", 1, "bfloat16", 3, 1, tokens=40, channels=96, sections=2)
    for dtype in DTYPES:
        for order in (0, 1):
            yield f"lowrank_fit_b31, order {order}, {dtype}", LowRank("lowrank_fit_b31", order, dtype, tokens=70, channels=96)
    for channels in (1, 7, 130, 768):
        yield f"lowrank_fit_r8, {channels} channels", LowRank("lowrank_fit_r8", 1, "bfloat16", 1, None, tokens=37, channels=channels)
        yield (
            f"lowrank_fit_r8, {channels} channels, bases in 8 bits",
            LowRank("lowrank_fit_r8", 1, "float16", 3, 1, tokens=37, channels=channels, sections=2, base_dtype="int8"),
        )
    yield (
        "lowrank_fit_b31, messages, bases in 8 bits",
        Messages("lowrank_fit_b31", 1, "bfloat16", 3, 1, tokens=40, channels=100, sections=2, base_dtype="int8"),
    )
    yield "lowrank_fit_b31, all rounds", LowRank("lowrank_fit_b31", 1, "bfloat16", 1, None, tokens=70, channels=96, rounds=9)
    yield "lowrank_fit_b31, any order", AnyOrder("lowrank_fit_b31", 1, "bfloat16", 3, 1, tokens=70, channels=96, sections=2, rounds=2)
    for rounds in (1, 3):
        of = {"tokens": 70, "channels": 96, "sections": 2, "rounds": rounds}
        yield f"lowrank_fit_b31, {rounds} rounds in one launch", Together("lowrank_fit_b31", 1, "bfloat16", 3, 1, **of)
    yield "lowrank_fit_r8, whether programs can wait", Trial("lowrank_fit_r8", 1)
    yield "lowrank_fit_b15, order 1", LowRank("lowrank_fit_b15", 1, "bfloat16", tokens=70, channels=96)
    yield "lowrank_fit_b31, rank 20", LowRank("lowrank_fit_b31", 1, "bfloat16", 1, None, tokens=290, channels=260)
    yield "lowrank_fit_r8, q, k, v of three ranks", LowRank("lowrank_fit_r8", 1, "float16", 3, 1, tokens=20, channels=40, sections=3)
    for channels in (20, 96, 130, 288):
        # of 288, the trend's second part begins in the middle of a tile
        yield f"lowrank_fit_r8, order 2, {channels} channels", LowRank("lowrank_fit_r8", 2, "bfloat16", tokens=70, channels=channels)
    eight = {"tokens": 37, "channels": 100, "sections": 2, "base_dtype": "int8"}
    yield "lowrank_fit_r8, order 2, bases in 8 bits", LowRank("lowrank_fit_r8", 2, "float16", 3, 1, **eight)
    yield "lowrank_fit_b31, order 2, messages", Messages("lowrank_fit_b31", 2, "bfloat16", 3, 1, tokens=40, channels=96, sections=2)
    for order in (1, 2):
        of = {"tokens": 37, "channels": 40, "feedback": False}
        yield f"lowrank_fit_r8, order {order}, no feedback", LowRank("lowrank_fit_r8", order, "bfloat16", **of)
    yield "lowrank_fit_r8, no feedback, bases in 8 bits", LowRank("lowrank_fit_r8", 2, feedback=False, **eight)
    for what, change in VALUES.items():
        yield f"lowrank_fit_r8, order 2, {what}", LowRank("lowrank_fit_r8", 2, tokens=40, channels=50, change=change)
        yield f"lowrank_fit_r8, {what}", LowRank("lowrank_fit_r8", 1, tokens=40, channels=50, change=change)
        yield f"lowrank_fit_b16, order 0, {what}", LowRank("lowrank_fit_b16", 0, change=change)
