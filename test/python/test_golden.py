"""The golden byte vectors, and the messages that a real session builds, against the schema of the protocol."""

import json
import pathlib

import msgpack
import pytest
from conftest import HERE
from ranks import run_ranks
from test_schema import RUN

from cfx_shim import schema
from cfx_shim.channel import decode

ROOT = pathlib.Path(HERE).parent.parent
GOLDEN = sorted((ROOT / "test" / "fixtures" / "golden").glob("*.msgpack"))
SCHEMA = json.loads((ROOT / "schemas" / "messages.schema.json").read_text(encoding="utf-8"))
# the type of a message, and the name of its definition
FROM_RANK = {
    "hello": "Hello",
    "ready": "Ready",
    "ack": "Ack",
    "refuse": "Refuse",
    "telemetry": "Telemetry",
    "generation": "GenerationEvent",
    "verify": "Verify",
    "warn": "Warn",
    "bye": "Bye",
}
TO_RANK = {"welcome": "Welcome", "plan": "PlanMessage"}


def problem(message):
    name = {**FROM_RANK, **TO_RANK}[message["type"]]
    return schema.problem(message, {"$ref": f"#/definitions/{name}"}, SCHEMA)


def test_every_message_has_a_golden_vector():
    assert {json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["type"] for path in GOLDEN} == {
        *FROM_RANK,
        *TO_RANK,
    }


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_python_reads_a_golden_vector_as_its_json_and_packs_the_same_bytes(path):
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    raw = path.read_bytes()
    message = msgpack.unpackb(raw, raw=False, strict_map_key=True)
    assert message == expected
    # all integers are integers, and small ones are packed small: both encoders agree on every value of the protocol
    assert msgpack.packb(expected, use_bin_type=True) == raw
    assert problem(message) is None
    if message["type"] in TO_RANK:
        assert decode([raw]) == expected
    else:
        assert decode([raw]) is None


def test_the_schema_check_of_this_test_can_fail():
    assert problem({"type": "ack", "epoch": 1}) == ".planId: missing"
    assert problem({"type": "warn", "code": "CFX_NOPE", "reason": ""}) is not None


def _session_messages(rank):
    """Everything that two ranks say in a life: agreed, compressed, NaN in step 1, two generations, end."""
    import torch
    import torch.distributed as dist
    from ranks import world_group

    from cfx_shim import channel
    from cfx_shim.coding import Section
    from cfx_shim.session import Session

    said = []

    class Recorder:
        dropped = refused = 0

        def __init__(self, endpoint, nonce, on_plan):
            said.append({"recorded": [endpoint, len(nonce)]})

        def send(self, message):
            # packed at once, as the channel's thread does: what cannot be packed fails here
            said.append(msgpack.unpackb(msgpack.packb(message, use_bin_type=True)))

        close = send

    class Adapter:
        def check(self, session):
            pass

        def agreement_group(self):
            return dist.group.WORLD

        def participants(self):
            return [0, 1]

    channel.Channel = Recorder
    run = {**RUN, "refusal": None, "endpoint": "ipc://here", "token": "secret", "verify": True, "agreeTimeoutSeconds": 30}
    session = Session(run, lambda rank: rank, lambda code, reason: None)
    session.adapter = Adapter()
    session.joined()
    group = world_group()
    for generation in range(2):
        for step in range(4):
            session.progress.forward_begin("Model")
            for _ in range(3):
                assert session.enter()
                place = session.progress.place()
                blocks = torch.full((group.size, 4, 8), float(step))
                if (rank, generation, step) == (1, 0, 1):
                    blocks[0, 0, 0] = float("nan")
                treatment = session.plan.treatment(place.step, place.layer, "q", "all_to_all")
                session.collectives.all_to_all(place, [Section("q", blocks, treatment)], group)
                session.progress.attention_end()
            session.progress.forward_end()
            session.progress.scheduler_begin()
            session.progress.scheduler_end()
        session.progress.end_generation()
    session._warn("CFX_INTERNAL", "named once")
    session._warn("CFX_INTERNAL", "named once")
    session.leave()
    return said


def test_what_a_session_says_fits_the_schema_in_the_order_of_the_protocol():
    by_rank = run_ranks(2, _session_messages)
    for rank, (opened, *messages) in enumerate(by_rank):
        assert opened == {"recorded": ["ipc://here", 32]}
        for message in messages:
            assert problem(message) is None, message
        kinds = [message["type"] for message in messages]
        assert kinds[0] == "hello" and kinds[1] == "ready" and kinds[-1] == "bye"
        assert kinds.count("warn") == kinds.count("ready") == 1 and kinds.count("verify") == 2
        hello, bye = messages[0], messages[-1]
        assert (hello["rank"], hello["worldSize"], hello["token"]) == (rank, 2, "secret")
        events = [message for message in messages if message["type"] == "generation"]
        phases = [(event["phase"], event["generation"], event["steps"]) for event in events]
        assert phases == [("begin", 0, 0), ("end", 0, 4), ("begin", 1, 0), ("end", 1, 4)]
        sequences = [message["sequence"] for message in messages if message["type"] == "telemetry"]
        assert [*sequences, bye["telemetry"]["sequence"]] == list(range(1, len(sequences) + 2))
        assert bye["telemetry"]["steps"] == 8
        assert [fallback["code"] for fallback in bye["telemetry"]["fallbacks"]] == ["CFX_NON_FINITE", "CFX_INTERNAL"]
    digests = [[message["digests"] for message in messages if message["type"] == "verify"] for _, *messages in by_rank]
    assert all(one for one in digests[0]) and digests[0] == digests[1]
