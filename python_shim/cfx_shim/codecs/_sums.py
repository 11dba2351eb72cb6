"""Sums whose bits do not depend on the device, the number of threads or the tiling: what scales are made of.

Over tokens: token n goes to lane n mod 64, a lane adds its tokens in rising order, and the 64 lanes are folded in
halves (lane i and lane i + 32, then i and i + 16, down to one), all in float32.

Over channels: each magnitude is first rounded to a grid so coarse that float32 sums of them are exact, and so may be
taken in any order. Where C magnitudes below 2^e are summed, the grid is 2^(e + p - 24) with p = max(2, ceil(log2 C)):
against the sum of magnitudes of one order that rounding is below a thousandth of a float16's.
"""

import numpy as np
import torch

LANES = 64
_SMALLEST_SHIFT = 2


def over_tokens(x):
    """``x`` [B, N, C] float32 -> [B, C] float32. NaN and Inf stay what they are."""
    batch, tokens, channels = x.shape
    if tokens % LANES:
        x = torch.nn.functional.pad(x, (0, 0, 0, -tokens % LANES))
    x = x.reshape(batch, -1, LANES, channels)
    if x.device.type == "cpu":
        # over an axis that is not the innermost, NumPy adds slice after slice
        lanes = torch.from_numpy(np.add.reduce(x.detach().numpy(), axis=1))
    else:
        lanes = x[:, 0].clone()
        for index in range(1, x.shape[1]):
            lanes.add_(x[:, index])
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]


def divided(values, number):
    """``values`` over a ``number``, rounded once: on a GPU torch multiplies by the reciprocal of what is no tensor."""
    return values / values.new_full((), number)


def over_channels(magnitude):
    """``magnitude`` [..., C] float32 >= 0 -> [...] float32: NaN where one is NaN or Inf, or the sum may pass float32."""
    return _on_grid(magnitude, magnitude)


def over_channels_signed(x):
    """The same of ``x`` float32 of either sign."""
    return _on_grid(x, x.abs())


def _on_grid(x, magnitude):
    # of magnitudes, the bits rise with the value, NaN above all
    largest = magnitude.view(torch.int32).amax(dim=-1, keepdim=True)
    shift = max(_SMALLEST_SHIFT, (magnitude.shape[-1] - 1).bit_length())
    # 1.5 · 2^(e - 1 + p): adding it rounds to the grid, which is its last place. Past float32 the exponent 255 makes a NaN.
    exponent = (largest >> 23).bitwise_and_(0xFF).add_(shift).clamp_(max=0xFF)
    rounder = exponent.bitwise_left_shift_(23).bitwise_or_(1 << 22).view(torch.float32)
    return (x + rounder).sub_(rounder).sum(dim=-1)
