"""Tables that kernels read, in memory that ``launch`` keeps; made without numba, which a rank need not have."""

import functools

import numpy as np


@functools.cache
def digits():
    """Of ``digits``, 16 bits each: for every byte the sum of 3^i over its bits i; then for every q of ``codecs.ternary``
    which of its digits are 2, in the lower byte, and which are 0, in the higher one."""
    powers, bits = 3 ** np.arange(8), np.arange(256)[:, None] >> np.arange(8) & 1
    places = np.arange(26 * 256)[:, None] // powers % 3
    planes = ((places == 2) << np.arange(8)).sum(axis=1) + ((places == 0) << np.arange(8, 16)).sum(axis=1)
    return np.concatenate([(bits * powers).sum(axis=1), planes]).astype(np.uint16)
