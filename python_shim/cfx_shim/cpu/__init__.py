"""The codecs on a CPU as compiled loops: one pass for statistics, one that codes, one that decodes, states moved in place.

With the payload bytes and the decoded bits of plain torch, but for the factors that ``lowrank_fit`` searches for, which may be
others. Plain torch does the work wherever this cannot: it needs numba once, to compile (``build``), and llvmlite in each rank,
to load what was compiled (``library``).
"""
