"""What is measured: functions that encode, decode and copy, with inputs that change as a model's do.

Each function works on all sets of inputs twice, on their first tensors and then on their second: a residual that dies out
could be cheaper than a real one, and one set could stay in a cache that is faster than memory.
"""

import functools

import torch

from .call import Call

# of the model that ``cfx demo`` runs: 5 attention calls a step, each with q, k, v in one message and o in another
_DEMO_LAYERS, _DEMO_CALLS = 5, (3, 1)
_LARGE_CHANNELS = 3072


class Inputs:
    """``sets`` pairs of successive blocks [1, N, C]: both a little off ``begin``, which bases start from."""

    def __init__(self, tokens, channels, dtype, device, sets=1, seed=0):
        def noise(seed):
            return torch.randn((1, tokens, channels), generator=torch.Generator().manual_seed(seed))

        begin = noise(seed)
        self.begin = begin.to(dtype).to(device)
        self.pairs = [
            [(begin + 0.2 * noise(seed + 2 * index + place)).to(dtype).to(device) for place in (1, 2)] for index in range(sets)
        ]

    @property
    def calls(self):
        """How many blocks one function works on."""
        return 2 * len(self.pairs)


def copying(inputs):
    targets = [torch.empty_like(pair[0]) for pair in inputs.pairs]

    def copy():
        for place in (0, 1):
            for pair, target in zip(inputs.pairs, targets):
                target.copy_(pair[place])

    return copy


def coding(treatment, inputs, peers):
    """(path, {"encode", "decode", and where that leaves something to do "encode and keep"}): our block for all; the blocks of
    ``peers`` other ranks."""
    calls, readers = [], []
    for pair in inputs.pairs:
        call = Call(pair[:1], treatment, peers)
        call.start([inputs.begin])
        messages = []
        # until first steps are behind us
        for place in (0, 1, 0, 1):
            call.encode([pair[place]])
            call.keep()
            call.deliver()
            call.decode()
            messages.append(call.receive.clone())
        calls.append(call)
        readers.append([call.reader(message) for message in messages[-2:]])

    def encode(keeps=False):
        for place in (0, 1):
            for call, pair in zip(calls, inputs.pairs):
                call.encode([pair[place]])
                if keeps:
                    call.keep()

    def decode():
        for place in (0, 1):
            for of_call in readers:
                of_call[place].read()

    operations = {"encode": encode, "decode": decode}
    if calls[0].keeps_behind:
        operations["encode and keep"] = functools.partial(encode, True)
    return calls[0].path, operations


def step_of_demo(treatment, tokens, channels, dtype):
    """All that one of the demo's two ranks codes in two of its steps: sends for its peer, and what the peer sent."""
    work = []
    for layer in range(_DEMO_LAYERS):
        for tensors in _DEMO_CALLS:
            inputs = [Inputs(tokens, channels, dtype, "cpu", seed=100 * layer + 10 * index) for index in range(tensors)]
            call = Call([each.pairs[0][0] for each in inputs], treatment, 1)
            call.start([each.begin for each in inputs])
            work.append((call, [[each.pairs[0][place] for each in inputs] for place in (0, 1)]))

    def two_steps():
        for place in (0, 1):
            for call, blocks in work:
                call.encode(blocks[place])
                call.keep()
                call.decode()

    return two_steps


def large(treatment, mib, dtype):
    """(copy, encode and decode) of one block of ``mib`` MiB for one peer."""
    tokens = mib * 2**20 // (_LARGE_CHANNELS * dtype.itemsize)
    x = torch.randn((1, tokens, _LARGE_CHANNELS), dtype=dtype)
    target, call = torch.empty_like(x), Call([x], treatment, 1)

    def code():
        call.encode([x])
        call.keep()
        call.decode()

    return lambda: target.copy_(x), code
