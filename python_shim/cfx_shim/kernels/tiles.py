"""How much one program does, per shape: never part of a result, for sums are the same in any tiling."""

# Elements of a tile of the row kernels, a thread's 16-byte load of 16-bit numbers, a strip's least bytes in a row, and the
# most channels of a stretch, where a tile's rows need not be whole.
_TILE, _LOAD, _STRIP_BYTES, _STRETCH = 4096, 8, 32, 1024

# of 64 tokens each, how many tiles a statistics program reads before it adds the first to its sums; and its threads
AHEAD, STATISTICS_THREADS = 4, 256

# elements of a tile of levels on a trellis, whose choice takes registers
LEVELS_TILE = 2048

# of a trellis that a program of the interpreter finds side by side; on a GPU as many as a warp has threads
PATHS = 256


def power_of_two(count):
    """The least power of two that is not below ``count``."""
    return 1 << max(0, count - 1).bit_length()


def rows_and_width(group, groups):
    """(rows, columns) of a tile whose rows are one token's group of ``group`` channels, ``groups`` of them a token."""
    width = max(32, power_of_two(group))
    return max(groups, _TILE // width), width


def stretches(channels):
    """(channels of a stretch, how many) of ``channels``: whole 32, none beyond."""
    whole = -(-channels // 32) * 32
    width = min(_STRETCH, whole & -whole)
    return width, whole // width


def rows_of_stretches(channels, elements=_TILE):
    """(rows, columns, stretches of a token) of a tile whose rows are ``stretches`` of one token's channels."""
    width, count = stretches(channels)
    return elements // width, width, count


def row_warps(rows, width, loads=2, most=8):
    """So many loads of a tensor a thread, or more where ``most`` warps are too few."""
    return max(1, min(most, rows * width // (_LOAD * 32 * loads)))


def gathering_warps(rows, width):
    """One load a thread, where largest values of a state's groups are gathered, which takes registers."""
    return max(1, min(16, rows * width // (_LOAD * 32)))


def per_token_warps(rows, width):
    """Four loads a thread, where there is no state to hold beside: what a program does but once then weighs little."""
    return max(1, min(16, rows * width // (_LOAD * 32 * 4)))


def start_warps(rows, width):
    """Two loads a thread, four in the widest rows, where what is coded also starts or moves a state."""
    return max(1, min(16, rows * width // (_LOAD * 32 * 2)))


def token_warps(rows, width, lanes):
    """One load a thread, of which a warp has ``lanes``, where a tile is a token: what is done beside takes registers."""
    return max(1, min(512 // lanes, rows * width // (_LOAD * lanes)))


def strip(channels, item_bytes, others, in_groups=False, interpreted=False):
    """Channels of a part's ``channels`` that a statistics program reduces, beside ``others`` that work on other parts.

    Narrow strips where few programs would leave a large GPU idle. The interpreter runs one program after the other, so it
    gets one for a part. What a state keeps in 8 bits is read ``in_groups`` of 32.
    """
    if interpreted:
        return max(32, power_of_two(channels))
    if in_groups:
        return 32
    width = 64 // item_bytes
    while width * item_bytes > _STRIP_BYTES and -(-channels // width) * others < 264:
        width //= 2
    return width
