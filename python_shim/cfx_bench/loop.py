"""The closed loop's error on a signal: of the shipped codecs by the offline replay, of the paper's by its formulas alone."""

import torch

from cfx_eval.replay import replay
from cfx_shim.codecs import _low_rank

from . import paper


def shipped(signal, plan):
    """For each site ‖x‖² and ‖x - y‖² by step and the block's shape, from ``replay``, which runs the live path's code."""
    return [{key: row[key] for key in ("energy", "error", "tokens", "channels")} for row in replay(signal, plan)]


@torch.inference_mode()
def of_formulas(signal, name):
    """The same figures of the paper's codec ``name``: b += D(E(x - b)) behind one exact step, bases in the signal's type."""
    codec = paper.codec(name, lambda channels, rank: _low_rank.start(channels, rank, "cpu").numpy())
    rows = []
    for site in signal.sites:
        row, base = {"energy": [], "error": []}, None
        for _, x in signal.read(site):
            if base is None:
                base = x.clone()
            else:
                change = x.float() - base.float()
                decoded = torch.stack([torch.from_numpy(codec(block.numpy())[0]).float() for block in change])
                base = (base.float() + decoded).to(x.dtype)
            row["energy"].append(float(x.double().square().sum()))
            row["error"].append(float((x.double() - base.double()).square().sum()))
        rows.append({**row, "tokens": x.shape[1], "channels": x.shape[2]})
    return rows
