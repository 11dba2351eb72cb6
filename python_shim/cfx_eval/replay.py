"""A plan on a recorded trace, without the model: the encoder, the payload and the decoder of the live path.

Open loop in the model's sense (activations are those of the uncompressed run), closed loop in the codec's: bases, error
feedback and predictions run as they do between ranks.
"""

import time
from dataclasses import asdict

import torch

from cfx_shim import coding
from cfx_shim.coding import Section, aligned
from cfx_shim.plan import Plan


class Disagreement(RuntimeError):
    """Sender and receiver of one site part: a defect of the codec."""


@torch.inference_mode()
def replay(trace, plan: Plan, sites=None) -> list:
    """One row per site of ``trace``: plain data, sums over its blocks per step.

    ``energy`` ‖x‖², ``error`` ‖x - y‖² with y the receiver's value, ``codec`` per step; ``rawBytes`` and ``wireBytes``
    to one peer over all steps, flag blocks apart; ``encodeSeconds`` and ``decodeSeconds`` over all steps.
    """
    return [_replay(trace, plan, site) for site in (sites or trace.sites)]


def _replay(trace, plan, site):
    row = {**asdict(site), "codec": [], "energy": [], "error": []}
    raw = wire = 0
    seconds = [0.0, 0.0]
    states = None
    for step, x in trace.read(site):
        section = Section(site.role, x, plan.treatment(step, site.layer, site.role, site.collective))
        if section.treatment.codec is None:
            states, received, name, sent = None, x, "off", section.block_bytes
        else:
            section.open(step < plan.warmup_steps, _fits(states, section))
            if section.order and not _fits(states, section):
                layout = section.layout
                states = [torch.zeros(layout.shape(len(x)), dtype=layout.stored) for _ in range(2)]
            received = _exchange(section, x, states if section.order else (None, None), seconds)
            if section.order and section.treatment.feedback and not torch.equal(*states):
                raise Disagreement(f"{site}, step {step}: the bases of sender and receiver differ")
            name = section.treatment.keyframe if section.keyframe else section.treatment.codec
            sent = aligned(section.bytes)
        row["codec"].append(name)
        row["energy"].append(_squared(x))
        row["error"].append(_squared(x.float() - received.float()))
        raw, wire = raw + section.block_bytes, wire + sent
    blocks, tokens, channels = x.shape
    return {
        **row,
        "blocks": blocks,
        "tokens": tokens,
        "channels": channels,
        "rawBytes": raw,
        "wireBytes": wire,
        "encodeSeconds": seconds[0],
        "decodeSeconds": seconds[1],
    }


def _exchange(section, x, states, seconds):
    room = torch.zeros((len(x), section.bytes), dtype=torch.uint8)
    began = time.perf_counter()
    coding.encode(section, x, room, states[0])
    coded = time.perf_counter()
    received = coding.decode(section, room, states[1])
    seconds[0] += coded - began
    seconds[1] += time.perf_counter() - coded
    return received


def _fits(states, section):
    layout = section.layout
    return states is not None and (states[0].shape, states[0].dtype) == (layout.shape(len(section.blocks)), layout.stored)


def _squared(x):
    x = x.float()
    return float((x * x).sum(dtype=torch.float64))
