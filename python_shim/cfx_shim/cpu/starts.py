"""What a keyframe does to a token's part of a state: the counterpart of ``coding._start``, for both ends alike."""

from . import shared
from .arithmetic import inlined
from .groups import groups_of
from .states import read_state, write_state
from .vectors import LANES, all_floats, clear_bytes, floats_at, put_floats, whole_at


@inlined
def start_token(common, row, width, base, token, change, rest):
    """The base becomes what was decoded, in the parts of ``row``; its trend, where there is one, how it changes, or 0 where
    there was no base before. ``base``: where the block's state begins. ``change``: scratch, a row of ``width`` numbers.
    """
    order = whole_at(common + shared.STARTS)
    if order == 2:
        if whole_at(common + shared.CONTINUES):
            read_state(change, 0, base, token, 1, common, rest)
            for c in range(0, 4 * width, 4 * LANES):
                put_floats(change + c, floats_at(row + c) - floats_at(change + c))
        else:
            for c in range(0, 4 * width, 4 * LANES):
                put_floats(change + c, all_floats(0.0))
        if token == 0 and whole_at(common + shared.EIGHT_BIT) == 0:
            _clear_between(common, base)
    write_state(row, change, base, token, order, common, rest)


@inlined
def _clear_between(common, base):
    """Zeros between a native block's parts and behind them, in memory that nobody may have written to."""
    tokens, channels = whole_at(common + shared.TOKENS), whole_at(common + shared.CHANNELS)
    trend_at, split = whole_at(common + shared.TREND_AT), whole_at(common + shared.SPLIT)
    of_base = tokens * channels * whole_at(common + shared.ITEM_BYTES)
    clear_bytes(base + of_base, trend_at - of_base)
    end = trend_at + tokens * (channels + groups_of(split) + groups_of(channels - split))
    clear_bytes(base + end, whole_at(common + shared.STATE_BLOCK_STEP) - end)
