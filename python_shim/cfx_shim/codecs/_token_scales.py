"""One bfloat16 scale a token, for codecs that store a byte an element: the largest |x| of the token over the largest code.

A token of zeros, or with NaN or Inf in it, has scale 0 and nothing but zeros.
"""

import torch

from . import _sums, _values


def relative(x, most: float, bound: float, payload):
    """``x`` [B, N, C] float32 over the scales of its tokens, which go to the front of ``payload`` [B, ..] uint8.

    Returns that, -0 where x < 0 is far below its scale, and a 0-d bool tensor: NaN or Inf was seen. ``most``: the largest
    code; ``bound`` as in ``stored``.
    """
    largest = x.abs().amax(dim=2)
    non_finite = ~(largest.amax() < torch.inf)
    scales = _sums.divided(largest.nan_to_num_(0.0, 0.0, 0.0), most)
    payload[:, : 2 * x.shape[1]] = _values.to_bfloat16(scales)
    scale = stored(payload, bound, x.shape[1])
    return torch.where(scale > 0, x / scale, 0.0), non_finite


def stored(payload, bound: float, tokens: int):
    """Scales [B, N, 1] float32 of the payload, such that ``bound`` times one is finite whatever the bytes."""
    return _values.from_bfloat16(payload[:, : 2 * tokens], bound, payload.shape[0], tokens, 1)
