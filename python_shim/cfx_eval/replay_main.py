"""``python -m cfx_eval.replay_main TRACE PLANS [KERNELS]``: every plan of the JSON file PLANS on the trace; JSON on standard output.

PLANS is a list of {"policy": name, "plan": plan}, KERNELS the folder of compiled kernels, as ranks have them. Exit code ``BAD_TRACE``: TRACE cannot be used, and standard error says why.
"""

import json
import sys

import torch

from cfx_shim.cpu import library
from cfx_shim.plan import Plan

from .replay import replay
from .signal import signal
from .trace import Trace

BAD_TRACE = 65


def main():
    torch.set_num_threads(1)
    folder, plans, *kernels = sys.argv[1:]
    try:
        trace = Trace(folder)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(BAD_TRACE)
    for each in kernels:
        library.load(each)
    with open(plans, encoding="utf-8") as file:
        entries = json.load(file)
    print(json.dumps({"signal": signal(trace)}), flush=True)
    for entry in entries:
        print(json.dumps({"policy": entry["policy"], "sites": replay(trace, Plan(entry["plan"]))}), flush=True)


if __name__ == "__main__":
    main()
