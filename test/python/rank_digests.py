"""What two real ranks get and keep, as digests: a script, so that a test can run it with kernels in Triton's interpreter
(TRITON_INTERPRET=1) and without, and compare.

Steps of q, k and v in bfloat16, v with another codec, and a tensor that rides along; both collectives, with exact statistics,
with others, with codecs that need none without a base, with codes other than bit planes, and with keyframes that kernels code. Prints
{"launches": how many launches of each kernel there were, "digests": [...]}, in the order of the steps.
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

# steps, treatment of q and k, treatment of v
EXACT = 4, Treatment("lm2", 2, True), Treatment("binary", 1, True)
OTHER_CODES = 4, Treatment("ternary", 2, True), Treatment("topk", 1, True)
TRELLIS = 3, Treatment("tcq2", 2, True), Treatment("tcq1", 1, True)
BYTES = 3, Treatment("fp8", 0, True), Treatment("int8", 2, True)
KEYFRAMES = (
    4,
    Treatment("lm2", 2, True, "centred5", statistics="previous"),
    Treatment("binary", 1, True, "int8", statistics="sampled"),
)
OTHERS = 5, Treatment("lm2", 2, True, statistics="previous"), Treatment("binary", 1, True, statistics="sampled")
CASES = {"exact": EXACT, "others": OTHERS, "bytes": BYTES, "other codes": OTHER_CODES, "keyframes": KEYFRAMES, "trellis": TRELLIS}


def digest(tensor):
    return hashlib.blake2b(bytes(tensor.contiguous().view(torch.uint8).flatten().tolist()), digest_size=8).hexdigest()


class Counted:
    """A kernel that counts its launches."""

    def __init__(self, kernel):
        self.kernel, self.launches = kernel, 0

    def __getitem__(self, grid):
        self.launches += 1
        return self.kernel[grid]


def counted_launches():
    """Kernel -> itself, counted."""
    if not os.environ.get("TRITON_INTERPRET"):
        return {}
    from cfx_shim.kernels import launch, per_token_launch, topk_launch

    launchers = {"": launch, "per token: ": per_token_launch, "topk: ": topk_launch}
    counted = {}
    for prefix, launcher in launchers.items():
        for name in ("statistics_kernel", "encode_kernel", "paths_kernel", "levels_kernel", "decode_kernel"):
            if hasattr(launcher, name):
                kernel = counted[prefix + name.removesuffix("_kernel")] = Counted(getattr(launcher, name))
                setattr(launcher, name, kernel)
    return counted


def run(rank, steps, first, last):
    counted, found = counted_launches(), []
    for layer, collective in enumerate(COLLECTIVES):
        us = RankUnderTest()
        shape = us.blocks(collective, 5, 20)
        for step in range(steps):
            sections = [(role, slowly_varying(rank, step, role, shape, torch.bfloat16), first) for role in "qk"]
            sections.append(("v", slowly_varying(rank, step, "v", shape, torch.bfloat16), last))
            sections.append(("x", slowly_varying(rank, step, "x", us.blocks(collective, 2, 3)), OFF))
            received = us.exchange(collective, step, sections, layer=layer)
            found.append([digest(block) for blocks in received for block in blocks])
        found.append(us.bases.digests())
        assert us.bases_agree() or first.order == 0
    return {"launches": {name: kernel.launches for name, kernel in counted.items() if kernel.launches}, "digests": found}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(run_ranks(2, run, *CASES[sys.argv[1]], timeout=400)))
