"""One of several numbers for each element of a vector, chosen by bits: a level by its index, and the threshold to compare with
next by what is known of the index.
"""

from .arithmetic import inlined
from .vectors import all_floats, either, single_at


def picker(bits, step):
    """Of 2^``bits`` float32 that lie ``step`` bytes apart, the one whose number's bits are the masks, the highest first.

    A choice between two needs no comparison, and of all of them there is one less than numbers.
    """
    if bits == 0:

        @inlined
        def pick(address, first, second, third, fourth):
            return all_floats(single_at(address))

        return pick
    lower, half = picker(bits - 1, step), step << (bits - 1)

    @inlined
    def pick(address, first, second, third, fourth):
        upper_half = lower(address + half, second, third, fourth, fourth)
        return either(first, upper_half, lower(address, second, third, fourth, fourth))

    return pick


def halving(bits):
    """For each bit of an index of up to four ``bits``, the highest first: how many bytes behind the first threshold those
    begin of which one tells that bit, and what picks it by the bits before.

    Thresholds rise and lie 8 bytes apart, and the index is how many of them are reached; there are four pairs always.
    """
    found = []
    for known in range(4):
        left = max(0, bits - known)
        found.append((8 * ((1 << left) // 2 - 1) if left else 0, picker(known, 8 << left)))
    return found
