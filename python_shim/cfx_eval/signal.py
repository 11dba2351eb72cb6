"""What a trace's activations are like: how much they change from step to step, whether changes go on, how heavy the
tails of the loop's input are (the paper's Fig. 5 and section 3; kurtosis as E[x⁴] / E[x²]², 3 for a Gaussian).
"""

from dataclasses import asdict

import torch

from cfx_shim import codecs

_ROTATION = 128


@torch.inference_mode()
def signal(trace) -> list:
    """One row per site: lists over steps, None where a step has no predecessor.

    ``relativeChange`` ‖x_t - x_{t-1}‖ / ‖x_t‖, ``cosine`` of x_t and x_{t-1}, ``continuation`` the correlation of the
    last two changes; ``kurtosis`` and ``rotatedKurtosis`` of the residual that paper-1bit codes, before and after a
    randomised Hadamard over blocks of 128 channels (of the largest power of two that divides C, if that is less).
    """
    return [_signal(trace, site) for site in trace.sites]


def _signal(trace, site):
    names = ("relativeChange", "cosine", "continuation", "kurtosis", "rotatedKurtosis")
    rows = {name: [] for name in names}
    before = change_before = base = None
    for _, x in trace.read(site):
        x = x.float()
        change = None if before is None else x - before
        rows["relativeChange"].append(None if change is None else _ratio(change.norm(), x.norm()))
        rows["cosine"].append(None if change is None else _cosine(x, before))
        rows["continuation"].append(None if change_before is None else _cosine(change, change_before))
        if base is None:
            base = x.clone()
            rows["kurtosis"].append(None)
            rows["rotatedKurtosis"].append(None)
        else:
            residual = x - base
            rows["kurtosis"].append(_kurtosis(residual))
            rows["rotatedKurtosis"].append(_kurtosis(_rotate(residual)))
            base += _through_one_bit(residual)
        before, change_before = x, change
    return {**asdict(site), **rows}


def _through_one_bit(x):
    codec = codecs.load("binary")
    payload = torch.empty((x.shape[0], codec.payload_bytes(x.shape[1], x.shape[2], 2)), dtype=torch.uint8)
    codec.encode(x, payload)
    return codec.decode(payload, x.shape[1], x.shape[2])


def _rotate(x):
    width = min(_ROTATION, x.shape[2] & -x.shape[2])
    signs = torch.randint(0, 2, (x.shape[2],), generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    blocks = (x * signs).unflatten(2, (-1, width))
    return (blocks @ _hadamard(width)).flatten(2)


def _hadamard(width):
    matrix = torch.ones(1, 1)
    while len(matrix) < width:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / width**0.5


def _kurtosis(x):
    squares = x.double().square()
    return _ratio(squares.square().mean(), squares.mean().square())


def _cosine(x, y):
    return _ratio((x * y).sum(dtype=torch.float64), x.norm().double() * y.norm().double())


def _ratio(over, under):
    under = float(under)
    return float(over) / under if under > 0 else None
