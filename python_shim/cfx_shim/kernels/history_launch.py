"""The launch of ``history``, and what the encode launch leaves for it."""

import torch
import triton

from ..codecs import _log_scales, _sample
from .history import history_kernel
from .repeat import run, three

# channels of a program, and its warps
_STRIP, WARPS = 32, 4


def room(blocks, tokens, channels, device):
    """For the leaves of so many ``blocks`` of all sections, [blocks, sample, numbers of a leaf] float32."""
    return torch.empty((blocks, _sample.of_tokens(tokens)[0], (channels + 3) // 4 * 4 + 8), dtype=torch.float32, device=device)


def constants(form, channels, order):
    return {
        "CHANNELS": channels,
        "STRIP": _STRIP,
        "GROUPS": form.groups,
        "ORDER": order,
        "HALF_SCALES": form.half_scales,
        "HISTORY": form.history_bytes(channels),
        "V_BIAS": _log_scales.V_BIAS,
        "MEAN_MAGNITUDE": _log_scales.MEAN_MAGNITUDE,
    }


def keep(form, leaves, histories, order, channels):
    """``histories``, [B, H] uint8 each, become what the ``leaves`` of residual order ``order`` add up to, as in ``cfx_shim.statistics``."""
    known = constants(form, channels, order)
    grid = (triton.cdiv(channels, _STRIP), len(histories[0]), len(histories))
    run(history_kernel, grid, *three(histories), leaves, leaves.shape[1], **known, num_warps=WARPS)
