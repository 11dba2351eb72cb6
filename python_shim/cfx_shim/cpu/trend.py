"""The trend beside a native base, a byte an element, in and out of rows of float32: ``state.NativeStateWithTrend``.

``room`` is 64 bytes of scratch.
"""

from . import shared
from .arithmetic import called, clear, inlined, rounded_up
from .groups import GROUP, groups_of, read_groups, write_groups
from .vectors import LANES, whole_at


@inlined
def first_group(channel, split):
    """Which scale is that of ``channel``, the first one of its group; groups begin with channels 0 and ``split``."""
    return channel // GROUP if channel < split else groups_of(split) + (channel - split) // GROUP


@inlined
def read_trend(row, trend, token, common, room):
    """A token's trend into its parts of ``row``. ``trend``: where the block's begins."""
    codes, scales, split, rest = _token_at(trend, token, common)
    read_groups(row, codes, scales, split, room)
    if rest > 0:
        read_groups(row + 4 * rounded_up(split), codes + split, scales + groups_of(split), rest, room)


@inlined
def write_trend(row, trend, token, common, room):
    codes, scales, split, rest = _token_at(trend, token, common)
    write_groups(row, codes, scales, split, room)
    if rest > 0:
        write_groups(row + 4 * rounded_up(split), codes + split, scales + groups_of(split), rest, room)


@called
def read_trends(rows, row_bytes, trend, first, count, common, room):
    """The same of ``count`` tokens from ``first`` on."""
    if _are_whole(row_bytes, common):
        codes, scales, _, _ = _token_at(trend, first, common)
        read_groups(rows, codes, scales, count * whole_at(common + shared.CHANNELS), room)
    else:
        for row in range(count):
            read_trend(rows + row * row_bytes, trend, first + row, common, room)


@called
def write_trends(rows, row_bytes, trend, first, count, common, room):
    if _are_whole(row_bytes, common):
        codes, scales, _, _ = _token_at(trend, first, common)
        write_groups(rows, codes, scales, count * whole_at(common + shared.CHANNELS), room)
    else:
        for row in range(count):
            write_trend(rows + row * row_bytes, trend, first + row, common, room)


@inlined
def _are_whole(row_bytes, common):
    """Whether all groups are, and so those of tokens one behind the other are as one row's."""
    channels = whole_at(common + shared.CHANNELS)
    return channels % GROUP == 0 and whole_at(common + shared.SPLIT) % GROUP == 0 and row_bytes == 4 * channels


@inlined
def read_whole_trend(row, trend, token, common, room):
    """As ``read_trend``, the second part side by side with the first. A vector behind ``row`` may be written to: up to whole ones it is
    zeros."""
    codes, scales, split, rest = _token_at(trend, token, common)
    clear(row + 4 * (split + rest), LANES)
    read_groups(row, codes, scales, split, room)
    if rest > 0:
        read_groups(row + 4 * split, codes + split, scales + groups_of(split), rest, room)


@inlined
def write_whole_trend(row, trend, token, common, room):
    """The other way. A vector behind ``row`` may be written to, which does not stay what it is."""
    codes, scales, split, rest = _token_at(trend, token, common)
    clear(row + 4 * (split + rest), LANES)
    if rest > 0:
        write_groups(row + 4 * split, codes + split, scales + groups_of(split), rest, room)
        # zeros behind the first part
        clear(row + 4 * split, LANES)
    write_groups(row, codes, scales, split, room)


@inlined
def _token_at(trend, token, common):
    """Where a token's codes and scales are, and how many channels are before and after where groups begin anew."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    split = whole_at(common + shared.SPLIT)
    scales = trend + tokens * channels + token * (groups_of(split) + groups_of(channels - split))
    return trend + token * channels, scales, split, channels - split
