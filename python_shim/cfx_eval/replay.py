"""A plan on a recorded trace, without the model: the encoder, the payload and the decoder of the live path.

Open loop in the model's sense (activations are those of the uncompressed run), closed loop in the codec's: bases, error
feedback and predictions run as they do between ranks.
"""

import time
from dataclasses import asdict

import torch

from cfx_shim import messages, statistics
from cfx_shim._contract import SECTION_ALIGN
from cfx_shim.base_store import BaseKey, BaseStore
from cfx_shim.coding import Section
from cfx_shim.plan import Plan
from cfx_shim.state import aligned


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
    bases = BaseStore()
    sent_key, received_key, history_key = (
        BaseKey("replay", site.name, site.role, site.branch, end) for end in ("send", "receive", "send statistics")
    )
    for step, x in trace.read(site):
        section = Section(site.role, x, plan.treatment(step, site.layer, site.role, site.collective))
        if section.treatment.codec is None:
            bases.drop_all()
            received, name, sent = x, "off", section.block_bytes
        else:
            states, history = [None, None], None
            has_base = has_history = False
            if section.order:
                kept = [bases.get(key, section.layout, len(x), x.device) for key in (sent_key, received_key)]
                states, has_base = [state for state, _ in kept], kept[0][1]
            if section.treatment.statistics == statistics.PREVIOUS:
                layout = statistics.layout(section.codec, section.channels)
                history, has_history = bases.get(history_key, layout, len(x), x.device)
                has_history &= bases.age(history_key) >= section.order
            section.open(step < plan.warmup_steps, has_base, has_history)
            received = _exchange(section, x, states, history, seconds)
            if section.order and section.treatment.feedback and not torch.equal(*states):
                raise Disagreement(f"{site}, step {step}: the bases of sender and receiver differ")
            for key in (sent_key, received_key) if section.order else ():
                bases.set_valid(key, None, False)
            if section.keeps_history:
                bases.set_valid(history_key, None, False)
            else:
                bases.drop(history_key)
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


def _exchange(section, x, states, history, seconds):
    message = torch.zeros((len(x), aligned(section.bytes) + SECTION_ALIGN), dtype=torch.uint8)
    began = time.perf_counter()
    messages.write([section], [states[0]], message, None, [history])
    coded = time.perf_counter()
    received = messages.read([section], [states[1]], message, None)[0]
    seconds[0] += coded - began
    seconds[1] += time.perf_counter() - coded
    return torch.stack(received)


def _squared(x):
    x = x.float()
    return float((x * x).sum(dtype=torch.float64))
