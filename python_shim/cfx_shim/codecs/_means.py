"""Means of channels over tokens, which codecs for keyframes take off first: C little-endian float16.

Means are sums of ``_sums``, whose zeros count as positive, over N; one beyond float16 is stored as its largest value, NaN
as 0.
"""

from . import _sums, _values


def write(x, room):
    """Those of ``x`` [B, N, C] float32 into ``room`` [B, 2·C] uint8."""
    means = _sums.divided(_sums.over_tokens(x).add_(0.0), x.shape[1])
    room.copy_(_values.to_half(means.nan_to_num_(0.0, float("inf"), -float("inf"))))


def read(room):
    """[B, 1, C] float32 as stored."""
    return _values.from_half(room, room.shape[0], 1, room.shape[1] // 2)
