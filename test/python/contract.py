"""What the Python side says of payload sizes, alignment and a plan's cells, as JSON: `test/contract.test.ts` holds it
against TypeScript's own answers. Questions come as JSON on the standard input; the shim's folder is argument 1."""

import json
import sys

sys.path.insert(0, sys.argv[1])

from cfx_shim import codecs  # noqa: E402
from cfx_shim.plan import Plan  # noqa: E402
from cfx_shim.state import aligned  # noqa: E402


def cell(treatment):
    if treatment.codec is None:
        return None
    t = treatment
    return [t.codec, t.order, t.feedback, t.keyframe, t.base_dtype, t.statistics]


given = json.load(sys.stdin)
modules = {name: codecs.load(name) for name in codecs.CODECS}
shapes = [(shape["tokens"], shape["channels"], shape["itemBytes"]) for shape in given["shapes"]]
plan = Plan(given["plan"])
answers = {
    "payloads": {name: [module.payload_bytes(*shape) for shape in shapes] for name, module in modules.items()},
    "exact": {name: module.EXACT for name, module in modules.items()},
    "delayed": [name for name in modules if codecs.is_delayed(name)],
    "aligned": [aligned(size) for size in given["sizes"]],
    "cells": [cell(plan.treatment(*call)) for call in given["calls"]],
}
print(json.dumps(answers))
