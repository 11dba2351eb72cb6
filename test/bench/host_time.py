"""What Python spends on an exchange: everything of a rank's Ulysses exchange but the network, on tensors too small to matter.

    python test/bench/host_time.py

Runs with the interpreter that ``npx cfx setup --print-python`` prints. One rank of two; what is sent to the other comes back
at once. Prints, for each codec, the median time of an attention layer's two exchanges (q, k, v together, then o), beside
that of one addition of torch's on the same tensor, one thread's CPU time, in turn.
"""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "python_shim"))

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

from cfx_shim.base_store import BaseStore  # noqa: E402
from cfx_shim.coding import Section  # noqa: E402
from cfx_shim.collectives import Collectives, Group  # noqa: E402
from cfx_shim.cpu import library  # noqa: E402
from cfx_shim.plan import Treatment  # noqa: E402
from cfx_shim.progress import Place  # noqa: E402
from cfx_shim.telemetry import Telemetry  # noqa: E402

CODECS = (("identity", 0), ("binary", 1), ("int2", 1), ("tcq1", 2), ("tcq2", 2), ("fp8", 0))
RANKS, TOKENS, CHANNELS, LAYERS, STEPS = 2, 2, 16, 5, 200


def main():
    torch.set_num_threads(1)
    cache = os.environ.get("CFX_CACHE_DIR") or os.path.join(os.path.expanduser("~"), ".cache", "cfx")
    compiled = library.load(os.path.join(cache, "kernels"))
    dist.all_to_all_single = lambda receive, send, group, async_op: receive.copy_(send)
    group, x = Group(None, "ulysses", 0, tuple(range(RANKS))), torch.randn(RANKS, TOKENS, CHANNELS)
    print(f"µs a layer, {'compiled kernels' if compiled else 'plain torch'}, torch {torch.__version__}")
    for codec, order in CODECS:
        collectives, treatment = Collectives(BaseStore(), Telemetry()), Treatment(codec, order, True)
        layers, additions = [], []
        for step in range(STEPS):
            for layer in range(LAYERS):
                place = Place(0, step, 0, "Model", layer)
                began = time.thread_time_ns()
                collectives.all_to_all(place, [Section(role, x, treatment) for role in "qkv"], group)
                collectives.all_to_all(place, [Section("o", x, treatment)], group)
                ended = time.thread_time_ns()
                x + x
                layers.append(ended - began)
                additions.append(time.thread_time_ns() - ended)
        layer, addition = (statistics.median(each) / 1e3 for each in (layers, additions))
        print(f"{codec:9} {layer:6.1f}   an addition {addition:.2f}   {layer / addition:5.1f} ×")


if __name__ == "__main__":
    main()
