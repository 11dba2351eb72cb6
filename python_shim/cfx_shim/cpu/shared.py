"""What a kernel is told, in memory that ``launch`` writes and kernels read: places in bytes, 8 for each number.

One block is common to all sections of a call; of each section there are four addresses. Steps are bytes from one token,
block or message to the next.
"""

# whole numbers; EIGHT_BIT is 0 where state is as the tensors are, else its order where it is in 8 bits, of a keyframe that of the
# state that it starts
(
    KIND, ITEM_BYTES, ORDER, FEEDBACK, TOKENS, CHANNELS, MIDDLE, HALF_SCALES, BITS, RAGGED, V_BIAS, U_BIAS,
    BLOCKS, OWN, X_BLOCK_STEP, X_TOKEN_STEP, STATE_BLOCK_STEP, TREND_AT, MESSAGE_STEP, STRIP, LANES, BATCH, SPLIT,
    BETAS_AT, TABLES, CENTRED, TRELLIS, EIGHT_BIT,
) = range(0, 8 * 28, 8)  # fmt: skip
# of a keyframe, whose ORDER is 0: the order of the state that it starts, or 0; and whether it had a base before
STARTS, CONTINUES = 8 * 28, 8 * 29
# float32, in the lower half of theirs
MEAN_MAGNITUDE, GAIN, LEVELS, THRESHOLDS = 8 * 30, 8 * 31, 8 * 32, 8 * 48
# of int4, behind its 8 levels and 7 thresholds: 8 fractions of a token's scale, and what they are the reciprocals of
FRACTIONS, ROOTS = 8 * 40, 8 * 55
# of a byte an element: two float32, and whether it is one itself
MOST, LARGEST_SCALE, FLOATS = 8 * 63, 8 * 64, 8 * 65
# bytes that a payload holds for each channel, or 0; BETAS_AT are those before its betas
SCALES = 8 * 66
# of low rank: whole numbers, then float32; MOST is of a weight, LARGEST_SCALE of a unit that is found, LEVELS are classes' factors
# and THRESHOLDS lie between them, TABLES what a search begins with
RANK, ROUNDS, FIRST_CLASS = 8 * 67, 8 * 68, 8 * 69
RIDGE, LEVEL_UNIT, LARGEST_SENT = 8 * 70, 8 * 71, 8 * 72
# whether encoding a block begins with its statistics; and how far behind scratch's beginning sums of its tokens are that these
# leave, largest magnitudes' bits and then steps of their grid, a vector more than there are of each, or 0
WITH_STATISTICS, SUMS_AT = 8 * 73, 8 * 74
# of the sample of tokens that statistics are taken from, how many and how far apart
TAKEN, STRIDE = 8 * 75, 8 * 76
# of the statistics that a send keeps for the step after: bytes from one block's to the next, whether its own are those of the
# step before, and the sample that they are from
HISTORY_STEP, FROM_HISTORY, HISTORY_TAKEN, HISTORY_STRIDE = 8 * 77, 8 * 78, 8 * 79, 8 * 80
# of how many tokens they are taken at a time
TOKENS_AT_ONCE = 8 * 81
COMMON_BYTES = 8 * 82
# in scratch of what encodes, behind vectors of tokens' numbers
ROWS_AT = 9 * 64

X, STATE, PAYLOAD, HISTORY, SECTION_BYTES = 0, 8, 16, 24, 32
# numbers that rows of a batch of tokens are, unless it is of one token
BATCH_NUMBERS = 1 << 13
# channels whose sums over tokens are taken at a time, and of how many tokens at most
SUM_SPAN, SUM_TOKENS = 64, 4
# of scratch, for a path of every lane
PATHS_BYTES = 64 * (8 + 24 + 128 + 256)


def history_bytes(width):
    """Of scratch, for sums of a sample's tokens and rows of ``width`` numbers."""
    return 64 * (1 + 8 * 8) + 4 * 4 * width


def sums_bytes(tokens):
    """Of one number for each token, and a vector more; see ``SUMS_AT``."""
    return 4 * ((tokens + 15) // 16 + 1) * 16
