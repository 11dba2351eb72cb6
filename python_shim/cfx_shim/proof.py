"""What kernels just built must show before they are kept: bit for bit what plain torch gives, for every codec they take.

Each CPU gets code of its own, from compilers that have bugs of their own: a sender's base was seen to stand still because a
branch was left out (``codecs/FINDINGS.md``, Compilers). No test that ran elsewhere would notice; a rank's peers would.

``python -m cfx_shim.proof FOLDER`` builds this machine's kernels there, unless it has been done, and says what
``cpu.library.prepare`` says. A build takes so long that its beginning is said too, on standard error.
"""

import itertools
import sys

import torch

from . import codecs, messages, statistics
from ._contract import CODECS, SECTION_ALIGN
from .coding import Section
from .cpu import arguments, launch, library
from .plan import Treatment
from .state import INT8, NATIVE, aligned

# (tokens, channels): more than a batch of tokens in rows that are whole vectors, and in rows that are not
_SHAPES = (21, 64), (18, 41)
_DTYPES = torch.float32, torch.float16, torch.bfloat16
_STEPS = 3
# what a keyframe starts
_STARTED = "lm1", 2
# codecs, one with scales of either kind, that are shown to go on with statistics of the step before
_WITH_HISTORY = "int2", "lm2"


def failures():
    """One text for each way of coding that is not plain torch's. Takes seconds."""
    found = []
    # one thread goes block by block, several kernel by kernel
    for threads, shape, dtype in itertools.product((1, 2), _SHAPES, _DTYPES):
        steps = [step.to(dtype) for step in _steps(shape)]
        for treatment in _treatments(steps[0]):
            with launch.shared_by(threads):
                what = _difference(treatment, steps)
            if what:
                found.append(f"{_name(treatment)}, {list(shape)} of {dtype}, {threads} threads: {what}")
    return found


def _steps(shape):
    noise = torch.Generator().manual_seed(0)
    first = torch.randn((1, *shape), generator=noise)
    return [first + 0.2 * step * torch.randn(first.shape, generator=noise) for step in range(_STEPS)]


def _treatments(x):
    for codec, base_dtype in itertools.product(CODECS, (NATIVE, INT8)):
        if launch.takes(codec, 0, x, keyframe=True):
            yield Treatment(*_STARTED, True, codec, base_dtype)
        # without a state there is none in 8 bits
        for order in range(int(base_dtype == INT8), 3):
            if launch.takes(codec, order, x):
                yield Treatment(codec, order, True, base_dtype=base_dtype)
    for codec, order in itertools.product(_WITH_HISTORY, (1, 2)):
        yield Treatment(codec, order, True, statistics=statistics.PREVIOUS)


def _name(treatment):
    beside = " with bases in 8 bits" if treatment.base_dtype == INT8 else ""
    if treatment.keyframe != "identity":
        return f"keyframes of {treatment.keyframe}{beside}"
    if treatment.statistics != statistics.EXACT:
        beside = f" with statistics of a step before{beside}"
    return f"{treatment.codec} of order {treatment.order}{beside}"


def _difference(treatment, steps):
    """What differs first, or None."""
    layout = Section("q", steps[0], treatment).layout
    # of a sender and of a receiver, as kernels and as plain torch leave it
    sender, receiver, plain_sender, plain_receiver = (
        torch.zeros(layout.shape(1), dtype=layout.stored) if treatment.order else None for _ in range(4)
    )  # fmt: skip
    history, plain_history = _histories(treatment, steps[0])
    for number, x in enumerate(steps):
        section = Section("q", x, treatment)
        section.keyframe, section.continues = treatment.keyframe != "identity" and number % 2 == 0, number > 0
        section.statistics = treatment.statistics if number > 0 else statistics.EXACT
        # what is searched for may be something else; then plain torch has to decode it to the same
        searched = arguments.factor_bits(section.codec_name) > 0
        message = torch.zeros((1, aligned(section.bytes) + SECTION_ALIGN), dtype=torch.uint8)
        messages.write([section], [sender], message, None, [history])
        values = messages.read([section], [receiver], message, None)[0]
        with library.set_aside():
            plain = message.clone() if searched else torch.zeros_like(message)
            if not searched:
                messages.write([section], [plain_sender], plain, None, [plain_history])
            plain_values = messages.read([section], [plain_receiver], plain, None)[0]
        if not torch.equal(message, plain):
            return f"other bytes in step {number}"
        if not all(_same(*pair) for pair in zip(values, plain_values)):
            return f"other values in step {number}"
        if treatment.order and not (_same(sender, receiver) and _same(receiver, plain_receiver)):
            return f"another base in step {number}"
        if history is not None and not torch.equal(history, plain_history):
            return f"other statistics for the step after step {number}"
    return None


def _histories(treatment, x):
    if treatment.statistics != statistics.PREVIOUS:
        return None, None
    kept = statistics.layout(codecs.load(treatment.codec), x.shape[2])
    return tuple(torch.zeros(kept.shape(1), dtype=kept.stored) for _ in range(2))


def _same(one, other):
    """To the last bit: -0.0 is not 0.0."""
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


if __name__ == "__main__":
    print(library.prepare(sys.argv[1], failures, lambda: print("building", file=sys.stderr, flush=True)))
