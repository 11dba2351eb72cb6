"""The scales in 8 bits of ``codecs._log_scales``."""

import numpy as np
import torch

from cfx_shim.codecs import _log_scales


def test_channel_scales_are_of_roots_that_are_rounded_once():
    """Of energies around those at which a code changes, where a root that is an ulp off gives another one."""
    edges = np.arange(0x38080000, 0x44000000, 0x100000, dtype=np.int32).view(np.float32).astype(np.float64)
    squares = np.square(edges / _log_scales.MEAN_MAGNITUDE).astype(np.float32)
    energies = np.concatenate([(squares.view(np.int32) + step).view(np.float32) for step in range(-8, 9)])
    scales = np.sqrt(energies) * np.float32(_log_scales.MEAN_MAGNITUDE)
    found = _log_scales.of_channels(torch.empty(1, 1, len(energies)), torch.from_numpy(energies)[None])
    assert torch.equal(found, _log_scales._codes(torch.from_numpy(scales)[None], _log_scales.V_BIAS))
    assert len(found.unique()) > 90
