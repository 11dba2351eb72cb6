"""The checker of plain data, on the generated contract: what is refused, and that nothing valid is."""

import copy

import pytest

from cfx_shim import schema
from cfx_shim._contract import SCHEMAS

PLAN = {
    "planId": "00112233445566ff",
    "policy": "paper-1bit",
    "warmupSteps": 1,
    "cells": [
        {
            "steps": [0, 10],
            "layers": [2, None],
            "roles": ["q", "k"],
            "collectives": ["all_to_all"],
            "codec": "binary",
            "residualOrder": 1,
            "feedback": True,
            "keyframeCodec": "identity",
            "baseDtype": "native",
            "statistics": "exact",
        }
    ],
}
RUN = {
    "protocol": 1,
    "version": "0.1.0",
    "endpoint": "",
    "token": "",
    "shimPath": "shim",
    "sidePath": "",
    "adapters": ["xdit"],
    "device": "",
    "strict": False,
    "verify": False,
    "agreeTimeoutSeconds": 0.5,
    "refusal": {"code": "CFX_FP8_COMMS", "reason": "because"},
    "observe": None,
    "plan": PLAN,
}


def changed(value, path, new):
    """A copy of ``value`` with ``new`` at ``path``; ``KeyError`` as ``new`` deletes."""
    value = copy.deepcopy(value)
    where = value
    for key in path[:-1]:
        where = where[key]
    if new is KeyError:
        del where[path[-1]]
    else:
        where[path[-1]] = new
    return value


def test_a_valid_plan_run_and_messages_fit():
    assert schema.problem(PLAN, SCHEMAS["Plan"]) is None
    assert schema.problem(RUN, SCHEMAS["Run"]) is None
    assert schema.problem({**RUN, "refusal": None}, SCHEMAS["Run"]) is None
    assert schema.problem({"type": "plan", "epoch": 3, "plan": PLAN}, SCHEMAS["PlanMessage"]) is None
    assert schema.problem({"type": "welcome", "accepted": True, "reason": ""}, SCHEMAS["Welcome"]) is None


@pytest.mark.parametrize(
    "path, new, says",
    [
        (["planId"], 7, "planId: expected string, found int"),
        (["planId"], KeyError, "planId: missing"),
        (["planId"], b"00112233445566ff", "expected string, found bytes"),
        (["surprise"], 1, "surprise: unknown field"),
        (["warmupSteps"], 0, "warmupSteps: 0 is below 1"),
        (["warmupSteps"], 2**53, "is above"),
        (["warmupSteps"], 1.0, "expected integer, found float"),
        (["warmupSteps"], True, "expected integer, found bool"),
        (["cells"], {}, "cells: expected array, found dict"),
        (["cells"], PLAN["cells"] * 257, "cells: 257 items"),
        (["cells", 0], [], "cells[0]: expected object"),
        (["cells", 0, "codec"], "gzip", "'gzip' is not one of"),
        (["cells", 0, "residualOrder"], 3, "3 is not one of"),
        (["cells", 0, "residualOrder"], True, "expected number, found bool"),
        (["cells", 0, "feedback"], 1, "feedback: expected boolean, found int"),
        (["cells", 0, "roles"], ["q", "z"], "roles[1]: 'z'"),
        (["cells", 0, "steps"], [0], "steps: 1 items"),
        (["cells", 0, "steps"], [0, 1, 2], "steps: 3 items"),
        (["cells", 0, "steps"], [None, 1], "steps[0]: expected integer"),
        (["cells", 0, "steps"], [-1, 1], "steps[0]: -1 is below 0"),
        (["cells", 0, "steps"], [0, "x"], "steps[1]: expected"),
        (["cells", 0, "layers"], [0, -3], "layers[1]: -3 is below 0"),
    ],
)
def test_one_wrong_thing_in_a_plan_is_named(path, new, says):
    found = schema.problem(changed(PLAN, path, new), SCHEMAS["Plan"])
    assert found is not None and says in found


@pytest.mark.parametrize(
    "path, new, says",
    [
        (["device"], "cuda", "'cuda' is not one of"),
        (["refusal"], {"code": "CFX_NOPE", "reason": ""}, "CFX_NOPE"),
        (["refusal"], {"code": "CFX_USAGE"}, "reason: missing"),
        (["agreeTimeoutSeconds"], "60", "expected number"),
        (["plan", "cells", 0, "codec"], None, "plan.cells[0].codec"),
    ],
)
def test_one_wrong_thing_in_a_run_is_named_with_its_path(path, new, says):
    found = schema.problem(changed(RUN, path, new), SCHEMAS["Run"])
    assert found is not None and says in found


def test_const_tells_messages_apart_and_keys_must_be_strings():
    assert "expected 'welcome'" in schema.problem({"type": "plan", "accepted": True, "reason": ""}, SCHEMAS["Welcome"])
    assert "keys must be strings" in schema.problem({1: 2}, {"type": "object"})


def test_references_are_followed():
    root = {"definitions": {"Name": {"type": "string"}}, "type": "array", "items": {"$ref": "#/definitions/Name"}}
    assert schema.problem(["a"], root) is None
    assert schema.problem(["a", 1], root) == "[1]: expected string, found int"
