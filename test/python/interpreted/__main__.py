"""The kernels in Triton's interpreter against plain torch, bit for bit; a program, because the interpreter is chosen by the
environment before Triton is imported: ``python test/python/interpreted alone``. Prints one JSON object: case -> what
differs (an empty text: nothing). In every second case programs go backwards.

``CFX_KERNELS_ON=cuda``: the kernels on a GPU instead. ``alone 3/16``: of 16 parts of the cases the one numbered 3, from 0 on.
"""

import contextlib
import json
import os
import sys

if os.environ.get("CFX_KERNELS_ON", "cpu") == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, *[os.pardir] * 3, "python_shim"), HERE, os.path.dirname(HERE)]

import case  # noqa: E402
import int4  # noqa: E402
import keyframes  # noqa: E402
import low_rank  # noqa: E402
import orders  # noqa: E402
import per_token  # noqa: E402
import poison  # noqa: E402
import rows  # noqa: E402
import steps  # noqa: E402
import subspace  # noqa: E402
import topk  # noqa: E402
import torch  # noqa: E402

KINDS = {
    "alone": (rows.alone, rows.centred, rows.trellis, per_token.per_token, topk.topk, orders.alone, int4.alone),
    "steps": (steps.steps, orders.steps),
    "keyframes": (keyframes.keyframes, int4.keyframes),
    "low rank": (low_rank.cases, subspace.cases),
}


def cases(kind):
    """(name, case) of sends that stand alone, of those with statistics of the step before, of keyframes or of low rank."""
    for each in KINDS[kind]:
        yield from each()


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {}
    part, parts = map(int, sys.argv[2].split("/")) if len(sys.argv) > 2 else (0, 1)
    for index, (name, one) in enumerate(cases(sys.argv[1])):
        if index % parts == part:
            with poison.allocations(), case.backwards() if index % 2 and case.DEVICE.type == "cpu" else contextlib.nullcontext():
                found[name] = "; ".join(one.run())
    print(json.dumps(found))
