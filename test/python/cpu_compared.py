"""Sends as the compiled kernels make them and as plain torch does: what the tests of the CPU's kernels are made of."""

import torch

from cfx_shim import codecs, messages, statistics
from cfx_shim._contract import SECTION_ALIGN
from cfx_shim.coding import Section
from cfx_shim.cpu import launch, library
from cfx_shim.plan import Treatment
from cfx_shim.state import NATIVE, aligned

HARD = {
    "zeros": lambda x: x * 0,
    "negative zeros": lambda x: x * -0.0,
    "tiny": lambda x: x * 1e-40,
    "huge": lambda x: x * 1e38,
    "past a float16's scales": lambda x: x * 1e6,
    "a huge channel": lambda x: x * torch.tensor([1e30] + [1.0] * (x.shape[2] - 1)),
    "a tiny channel and token": lambda x: x * torch.tensor([1e-30] + [1.0] * (x.shape[2] - 1)) * (x[:, :, :1] > 0),
}


def noise(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def section_of(blocks, codec, order, feedback=True, base_dtype=NATIVE, taken="exact"):
    treatment = Treatment(codec, order, feedback, base_dtype=base_dtype, statistics=taken)
    return Section("k", blocks, treatment, statistics=taken)


def run(steps, codec, order, feedback=True, sections=1, keyframe=None, base_dtype=NATIVE, taken="exact"):
    """Every message, state and value of a sender and a receiver over ``steps``, a list of blocks [P, N, C].

    Block 0 of several is the sender's own; further sections hold the same blocks, later ones scaled. With ``keyframe``, a
    codec, every second send is one in it, the first of which finds a state that nobody has written to. ``taken``: what statistics
    are of; of the step before, what a sender keeps for the next one is seen too, and the first send's are exact.
    """
    seen = []
    shape, layout = steps[0].shape, section_of(steps[0], codec, order, base_dtype=base_dtype).layout
    own = 0 if shape[0] > 1 else None
    count = shape[0] - (own is not None)
    kept = [
        [torch.zeros(layout.shape(count), dtype=layout.stored) if order else None for _ in range(sections)] for _ in "sr"
    ]
    if keyframe:
        for index, state in enumerate(each for end in kept for each in end if each is not None):
            bits_of(state).fill_(0xFF - index)
    histories = [None] * sections
    if taken == statistics.PREVIOUS:
        kind = statistics.layout(codecs.load(codec), shape[2])
        histories = [torch.full(kind.shape(count), 0xAB, dtype=torch.uint8) for _ in range(sections)]
    for number, blocks in enumerate(steps):
        scaled = [blocks if index == 0 else blocks * 0.5**index for index in range(sections)]
        alike = [section_of(each, codec, order, feedback, base_dtype, taken) for each in scaled]
        for section in alike if keyframe else ():
            section.treatment = Treatment(codec, order, feedback, keyframe, base_dtype)
            section.keyframe, section.continues = number % 2 == 0, number > 0 and order > 0
        if taken == statistics.PREVIOUS and number == 0:
            for section in alike:
                section.statistics = statistics.EXACT
        size = 0
        for section in alike:
            section.offset = size
            size += aligned(section.bytes)
        # messages lie in a buffer of more than one step's: rows are apart
        message = torch.full((shape[0], size + SECTION_ALIGN + 48), 0xAB, dtype=torch.uint8)[:, : size + SECTION_ALIGN]
        messages.write(alike, kept[0], message, own, histories)
        values = messages.read(alike, kept[1], message, own)
        seen += [message.clone(), torch.stack([torch.stack(each) for each in values])]
        seen += [each.clone() for each in (*kept[0], *kept[1], *histories) if each is not None]
        if order and feedback:
            assert all(torch.equal(bits_of(sender), bits_of(receiver)) for sender, receiver in zip(*kept))
    return seen


def bits_of(tensor):
    return tensor.contiguous().view(torch.uint8)


def compare(steps, codec, order, feedback=True, sections=1, keyframe=None, base_dtype=NATIVE, taken="exact"):
    assert launch.takes(keyframe or codec, order, steps[0], keyframe is not None)
    compiled = run(steps, codec, order, feedback, sections, keyframe, base_dtype, taken)
    with library.set_aside():
        plain = run(steps, codec, order, feedback, sections, keyframe, base_dtype, taken)
    assert len(compiled) == len(plain)
    for index, (left, right) in enumerate(zip(compiled, plain)):
        assert left.dtype == right.dtype and left.shape == right.shape
        what = f"item {index} of {codec}, order {order}, {list(steps[0].shape)}, keyframes {keyframe}, {base_dtype} bases"
        assert torch.equal(bits_of(left), bits_of(right)), what


def counted_launches(monkeypatch):
    """A list that grows by (name, how many states) with every launch that is made."""
    calls = []
    for kept, states_at in ((launch.Encoding, 1), (launch.Decoding, 0)):

        def counted(*given, kept=kept, states_at=states_at, **named):
            calls.append((kept.__name__, len(given[states_at])))
            return kept(*given, **named)

        monkeypatch.setattr(launch, kept.__name__, counted)
    return calls
