"""A barrier among all programs of a launch, which a GPU must run side by side: ``launch_cooperative_grid``, and none of AMD's.

What programs wrote before is seen behind it. It counts polls and gives up after ``PATIENCE`` of them, about a second's, so that
what is wrong ends in an error and not in a rank that hangs.
"""

import triton
import triton.language as tl

PATIENCE = tl.constexpr(1 << 20)


@triton.jit
def wait_for_all(arrived, goal, patience):
    """``arrived`` points to an int32 that was 0 before the launch, ``goal`` programs times how many barriers this one makes.

    ``patience``: polls that are left, ``PATIENCE`` at first; returns those left now. 0: given up, and what follows means nothing.
    """
    # all threads have written, and one says so
    tl.debug_barrier()
    seen = tl.atomic_add(arrived, 1, sem="acq_rel") + 1
    while (seen < goal) & (patience > 0):
        seen = tl.atomic_add(arrived, 0, sem="acquire")
        patience -= 1
    tl.debug_barrier()
    return patience


@triton.jit
def trial_kernel(arrived, numbers, found, PROGRAMS: tl.constexpr):
    """``found`` [programs] becomes 1 where a program sees behind a barrier what all wrote to ``numbers`` [programs] before, twice."""
    program, all_of_them = tl.program_id(0), tl.num_programs(0)
    place = tl.arange(0, PROGRAMS)
    patience, seen = tl.cast(PATIENCE, tl.int32), tl.cast(1, tl.int32)
    for turn in range(2):
        tl.store(numbers + program, program + turn)
        patience = wait_for_all(arrived, (2 * turn + 1) * all_of_them, patience)
        number = tl.load(numbers + place, mask=place < all_of_them, other=0)
        wrong = (number != place + turn) & (place < all_of_them)
        seen &= 1 - tl.max(wrong.to(tl.int32), axis=0)
        # before anyone writes what others still read
        patience = wait_for_all(arrived, (2 * turn + 2) * all_of_them, patience)
    tl.store(found + program, seen * (patience > 0).to(tl.int32))
