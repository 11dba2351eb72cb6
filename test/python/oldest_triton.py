"""Compiles every kernel, for one GPU that need not be there, with whatever Triton comes first on the path; a program:
``PYTHONPATH=<its folder> python test/python/oldest_triton.py``. Prints one JSON object: {"triton": its version, "kernels":
{what was compiled: what is wrong, an empty text for nothing}}.

Registers are not looked at: each version has a compiler of its own. What both ends of a send share must be free of
contraction whatever compiles it.
"""

import json
import os
import pathlib
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, *[os.pardir] * 2, "python_shim"), HERE]

import artefacts  # noqa: E402
import test_int4_compiled  # noqa: E402
import test_low_rank_compiled  # noqa: E402
import test_subspace_compiled  # noqa: E402
import triton  # noqa: E402
from pytest import MonkeyPatch  # noqa: E402

from cfx_shim.kernels import low_rank_product, subspace  # noqa: E402

TARGET = "sm_90"
ROWS = ("statistics", "encode", "decode")
# of each codec of rows: what is launched, and at which order
CODECS = {
    **dict.fromkeys(("binary", "int2"), (*((kind, 1) for kind in ROWS), *((kind, 2) for kind in ROWS), ("one launch", 1), ("first", 2), ("history", 2))),
    **dict.fromkeys(("lm1", "lm4", "ternary"), (*((kind, 2) for kind in ROWS), ("one launch", 2), ("history", 2))),
    **dict.fromkeys(("tcq1", "tcq2", "tcq3"), (("encode", 2), ("paths", 2), ("paths", 1), ("levels", 2), ("levels", 1), ("decode", 2))),
    **dict.fromkeys(("centred4", "centred5"), tuple((kind, 0) for kind in ROWS)),
    **dict.fromkeys(("fp8", "int8", "topk"), (*((kind, 2) for kind in ROWS), ("encode", 1), ("decode", 1))),
}
# searches of a sender alone, which may sum as they like
FREE = ("open", "start", "search", "revise", "pack", "pack_int4", "factor")


def rows():
    for codec, kinds in CODECS.items():
        for kind, order in kinds:
            # whole groups of 32 in a row, and others beside a state in 8 bits
            for channels, eight_bit in ((3072, False), (288, order > 0)):
                name = f"{codec}, {kind}, order {order}, {channels} channels"
                yield name, lambda given=(kind, codec, channels, order, TARGET, eight_bit): artefacts.compiled(*given)[0]
    for kind in ("means", "encode", "decode"):
        yield f"int4, {kind}", lambda kind=kind: test_int4_compiled.compiled(kind, 3072, TARGET)[0]


def low_rank():
    for order in (1, 2):
        with MonkeyPatch.context() as patched:
            found, _ = test_low_rank_compiled.launches_of(62, patched, order, 288)
        for name, (kernel, known) in found.items():
            if kernel is not None:
                known = known | ({"SOFT": False} if "SOFT" in known else {})
                yield f"fitted, {name}, order {order}", lambda given=(kernel, known): test_low_rank_compiled.compiled(*given, TARGET)
    for codec in ("lowrank_r32", "lowrank_int4_r32"):
        with MonkeyPatch.context() as patched:
            found, _ = test_subspace_compiled.launches_of(codec, patched)
        for name, known in found.items():
            kernel = low_rank_product.decode_kernel if name == "decode" else getattr(subspace, f"{name}_kernel", None)
            if kernel is not None:
                known = known | ({"SOFT": False} if "SOFT" in known else {})
                yield f"{codec}, {name}", lambda given=(kernel, known): test_subspace_compiled.compiled(*given, TARGET)


def wrong_with(name, compile_it, folder):
    try:
        kernel = compile_it()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    free = name.split(", ")[1].split()[0] in FREE
    found = 0 if free else artefacts.contractions(kernel, folder)
    return f"{found} contractions" if found else ""


if __name__ == "__main__":
    folder = pathlib.Path(tempfile.mkdtemp())
    found = {name: wrong_with(name, compile_it, folder) for each in (rows, low_rank) for name, compile_it in each()}
    print(json.dumps({"triton": triton.__version__, "kernels": found}))
