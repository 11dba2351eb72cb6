"""What two real ranks get and keep, as digests: a script, so that a test can run it with kernels in Triton's interpreter
(TRITON_INTERPRET=1) and without, and compare.

Four steps of q, k and v in bfloat16, v with another codec, and a tensor that rides along; both collectives. Prints
{"launches": how many kernel launches there were, "digests": [...]}, in the order of the steps.
"""

import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(HERE)), "python_shim"), HERE]

if os.environ.get("TRITON_INTERPRET"):
    import triton  # noqa: F401  as an application on a GPU has it

import torch  # noqa: E402
from exchanges import COLLECTIVES, OFF, RankUnderTest, slowly_varying  # noqa: E402
from ranks import run_ranks  # noqa: E402

from cfx_shim.plan import Treatment  # noqa: E402

LM2, BINARY = Treatment("lm2", 2, True), Treatment("binary", 1, True)


def digest(tensor):
    return hashlib.blake2b(bytes(tensor.contiguous().view(torch.uint8).flatten().tolist()), digest_size=8).hexdigest()


def counted_launches():
    """A list that grows with each launch of ours."""
    calls = []
    if os.environ.get("TRITON_INTERPRET"):
        from cfx_shim.kernels import launch

        for name in ("encode", "decode"):
            original = getattr(launch, name)
            setattr(launch, name, lambda *args, f=original, name=name: (calls.append(name), f(*args))[1])
    return calls


def run(rank):
    calls, found = counted_launches(), []
    for layer, collective in enumerate(COLLECTIVES):
        us = RankUnderTest()
        shape = us.blocks(collective, 5, 20)
        for step in range(4):
            sections = [(role, slowly_varying(rank, step, role, shape, torch.bfloat16), LM2) for role in "qk"]
            sections.append(("v", slowly_varying(rank, step, "v", shape, torch.bfloat16), BINARY))
            sections.append(("x", slowly_varying(rank, step, "x", us.blocks(collective, 2, 3)), OFF))
            received = us.exchange(collective, step, sections, layer=layer)
            found.append([digest(block) for blocks in received for block in blocks])
        found.append(us.bases.digests())
        assert us.bases_agree()
    return {"launches": len(calls), "digests": found}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(run_ranks(2, run, timeout=400)))
