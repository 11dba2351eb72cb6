"""What must hold of a codec before a figure of it is worth printing. Every check compares bits, but for the one with ``paper``."""

import torch

from cfx_shim import codecs, coding
from cfx_shim.codecs import _low_rank
from cfx_shim.cpu import library
from cfx_shim.kernels import formats

from . import paper
from .call import Call

_POISON = 0xAB
# a search stops at one of many points that are alike; from plain torch's it may be off by so much of the error
_WORSE = 1.02


def failures(name, treatment, payload_bytes, steps):
    """What is wrong with the codec called ``name``: one text each, none if all is well.

    ``steps``: blocks [1, N, C] of successive steps, in the tensors' own type and on the device that is measured.
    ``payload_bytes``: what TypeScript says a section of such a block takes, the predictor's bytes included.
    """
    codec = codecs.load(name)
    changes = [steps[0].float(), *(new.float() - old.float() for old, new in zip(steps, steps[1:]))]
    found = []
    found += _size(treatment, payload_bytes, steps[0])
    for x in changes[-1:] if treatment.order else steps[-1:]:
        found += _references(codec, x.float())
    if found:
        # a loop of wrong sizes or wrong values has nothing to add
        return found
    found += _papers(name, codec, changes[-1])
    return found + _loop(treatment, steps)


def _size(treatment, expected, block):
    found = Call([block], treatment, 1).payload_bytes
    return [] if found == expected else [f"its payload takes {found} bytes; {expected} are planned"]


def _references(codec, x):
    """Fast and plain forms on one block: the same bytes, and from these the same values."""
    tokens, channels = x.shape[1:]
    payload = torch.full((1, codec.payload_bytes(tokens, channels, 4)), _POISON, dtype=torch.uint8, device=x.device)
    plain = payload.clone()
    codec.encode(x, payload)
    codec.encode_reference(x, plain)
    found = [] if torch.equal(payload, plain) else ["encode and encode_reference write different bytes"]
    values, plainly = codec.decode(payload, tokens, channels), codec.decode_reference(payload, tokens, channels)
    return found if _same(values, plainly) else [*found, "decode and decode_reference give different values"]


def _papers(name, codec, x):
    """The paper's codecs decode to what its formulas give, as near as the rounding of what is sent allows."""
    formula = paper.codec(name, lambda channels, rank: _low_rank.start(channels, rank, "cpu").numpy())
    if formula is None:
        return []
    tokens, channels = x.shape[1:]
    payload = torch.zeros((1, codec.payload_bytes(tokens, channels, 4)), dtype=torch.uint8, device=x.device)
    codec.encode(x, payload)
    decoded = codec.decode(payload, tokens, channels)[0].double().cpu()
    values, within = (torch.from_numpy(each).double() for each in formula(x[0].cpu().numpy()))
    off = (decoded - values).abs() > within
    if not off.any():
        return []
    worst = float(((decoded - values).abs() - within).max())
    return [f"{int(off.sum())} of {off.numel()} values are not the paper's, by up to {worst:.3g} more than rounding allows"]


def _loop(treatment, steps):
    """Over ``steps``: every receiver keeps the sender's state, and whatever does the work writes plain torch's bytes.

    What is searched for may be something else, if that errs no more: then plain torch decodes the bytes that were found.
    """
    peers = 2
    call, plain = Call(steps[:1], treatment, peers), Call(steps[:1], treatment, 1)
    call.start(steps[:1])
    plain.start(steps[:1])
    found = []
    for step, x in enumerate(steps):
        plain.sections[0].statistics = call.sections[0].statistics
        call.encode([x])
        call.keep()
        call.deliver()
        received = call.decode()[0]
        with library.set_aside():
            section = plain.sections[0]
            section.blocks = x
            room = plain.send[:, : section.bytes]
            before = None if plain.received[0] is None else plain.received[0].clone()
            coding.encode(section, x, room, plain.sent[0], plain.histories[0])
            sent = call.send[:, : section.bytes]
            plainly = coding.decode(section, sent if _searched(section) else room, plain.received[0])
            if _searched(section):
                worse = _error(x, plainly) / _error(x, coding.decode(section, room, before))
                if treatment.order:
                    plain.sent[0].copy_(plain.received[0])
        if _searched(section):
            if not worse <= _WORSE:
                found.append(f"step {step}: what {call.path} found errs {worse:.4g} times as much as what plain torch found")
        elif not torch.equal(sent, room):
            found.append(f"step {step}: {call.path} and plain torch write different bytes")
        if not all(_same(each, plainly[0]) for each in received):
            found.append(f"step {step}: {call.path} and plain torch decode to different values")
        if treatment.order:
            sender, receivers = call.sent[0], call.received[0]
            if not all(_same(sender[0], state) for state in receivers):
                found.append(f"step {step}: the states of sender and receivers differ")
            if not _same(sender, plain.sent[0]):
                found.append(f"step {step}: {call.path} and plain torch leave different states")
            if call.histories[0] is not None and not _same(call.histories[0], plain.histories[0]):
                found.append(f"step {step}: {call.path} and plain torch keep different statistics for the next step")
        if found:
            break
    return found


def _searched(section):
    form = formats.of(section.codec_name)
    return form is not None and form.searched


def _error(x, values):
    # 0 over 0 is no worse
    return (x.double() - values.double()).square().sum().item() + 1e-300


def _same(one, other):
    """To the last bit: -0.0 is not 0.0."""
    return one.shape == other.shape and torch.equal(_bits(one), _bits(other))


def _bits(x):
    return x.contiguous().view(torch.uint8)
