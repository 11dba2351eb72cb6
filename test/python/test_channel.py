"""The control channel against a real ROUTER, with and without anybody there."""

import os
import subprocess
import sys
import tempfile
import textwrap

import msgpack
import pytest
import zmq
from conftest import SHIM
from test_schema import PLAN

from cfx_shim._contract import MAX_FRAME_BYTES
from cfx_shim.channel import Channel, decode

HELLO = {"type": "hello", "rank": 0}
PLAN_MESSAGE = {"type": "plan", "epoch": 1, "plan": PLAN}
WAIT_MS = 20_000


class Router:
    def __init__(self, path):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(f"ipc://{path}")

    def next(self):
        """(identity, message) of the next frame, or an error."""
        assert self._socket.poll(WAIT_MS), "nothing came"
        identity, frame = self._socket.recv_multipart()
        return identity.decode(), msgpack.unpackb(frame)

    def send(self, identity, *frames):
        self._socket.send_multipart([identity.encode(), *frames])

    def close(self):
        self._socket.close()
        self._context.term()


@pytest.fixture
def path():
    # short: a socket's path has a limit of 107 bytes
    with tempfile.TemporaryDirectory(prefix="cfx-") as folder:
        yield os.path.join(folder, "control.sock")


@pytest.fixture
def router(path):
    router = Router(path)
    yield router
    router.close()


@pytest.fixture
def opened(path):
    """Opens channels, and closes them in the end."""
    channels = []

    def open_channel(on_plan=lambda epoch, plan: None):
        channels.append(Channel(f"ipc://{path}", "nonce-1", on_plan))
        return channels[-1]

    yield open_channel
    for channel in channels:
        channel.close({"type": "bye"})
        channel._thread.join(10)
        assert not channel._thread.is_alive()


def test_what_is_sent_first_arrives_first_under_the_nonce(router, opened):
    channel = opened()
    channel.send(HELLO)
    for step in range(20):
        channel.send({"type": "telemetry", "step": step})
    assert router.next() == ("nonce-1", HELLO)
    assert [router.next()[1]["step"] for _ in range(20)] == list(range(20))
    assert channel.dropped == channel.refused == 0


def test_close_sends_its_message_as_the_last_one_and_only_once(router, opened):
    channel = opened()
    channel.send(HELLO)
    channel.close({"type": "bye", "telemetry": {}})
    channel.close({"type": "bye", "telemetry": "again"})
    assert [router.next()[1] for _ in range(2)] == [HELLO, {"type": "bye", "telemetry": {}}]
    channel._thread.join(10)
    assert not channel._thread.is_alive() and not router._socket.poll(200)


def test_a_plan_that_the_rank_takes_is_acknowledged(router, opened):
    taken = []
    channel = opened(lambda epoch, plan: taken.append((epoch, plan)))
    channel.send(HELLO)
    router.next()
    router.send("nonce-1", msgpack.packb(PLAN_MESSAGE))
    assert router.next()[1] == {"type": "ack", "epoch": 1, "planId": PLAN["planId"]}
    assert taken == [(1, PLAN)]


def test_a_plan_that_the_rank_cannot_take_is_refused_with_the_reason(router, opened):
    channel = opened(lambda epoch, plan: "too late")
    channel.send(HELLO)
    router.next()
    router.send("nonce-1", msgpack.packb(PLAN_MESSAGE))
    assert router.next()[1] == {"type": "refuse", "epoch": 1, "code": "CFX_PLAN_REFUSED", "reason": "too late"}


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


BAD_FRAMES = {
    "empty": [b""],
    "no msgpack": [b"\xc1"],
    "cut off": [msgpack.packb(PLAN_MESSAGE)[:-1]],
    "bytes behind": [msgpack.packb(PLAN_MESSAGE) + b"\x00"],
    "a list": [msgpack.packb([PLAN_MESSAGE])],
    "a number": [b"\x01"],
    "no type": [msgpack.packb({"epoch": 1, "plan": PLAN})],
    "unhashable type": [msgpack.packb({"type": ["plan"]})],
    "unknown type": [msgpack.packb({"type": "exec", "code": "print(1)"})],
    "a rank's type": [msgpack.packb({"type": "ack", "epoch": 1, "planId": ""})],
    "unknown field": [msgpack.packb({**PLAN_MESSAGE, "surprise": 1})],
    "wrong type of field": [msgpack.packb({**PLAN_MESSAGE, "epoch": "1"})],
    "epoch beyond 2^53": [msgpack.packb({**PLAN_MESSAGE, "epoch": 2**53})],
    "bytes for text": [msgpack.packb({b"type": b"plan", b"epoch": 1})],
    "text that is no UTF-8": [b"\x81\xa4type\xa4\xff\xff\xff\xff"],
    "integer key": [msgpack.packb({1: 2})],
    "ext type": [msgpack.packb({"type": "welcome", "accepted": True, "reason": msgpack.ExtType(1, b"x")})],
    "time stamp": [msgpack.packb({"type": "welcome", "accepted": True, "reason": msgpack.Timestamp(1, 2)})],
    "too deep": [msgpack.packb({"type": "plan", "epoch": 1, "plan": nested(12)})],
    "far too deep": [b"\x91" * 100_000 + b"\x01"],
    "too many frames": [msgpack.packb(PLAN_MESSAGE), b""],
    "too large": [msgpack.packb({"type": "welcome", "accepted": True, "reason": "x" * MAX_FRAME_BYTES})],
    "claims four billion items": [b"\xdd\xff\xff\xff\xff"],
}


@pytest.mark.parametrize("frames", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_bad_frame_is_not_decoded(frames):
    assert decode(frames) is None


def test_good_frames_are_decoded():
    welcome = {"type": "welcome", "accepted": False, "reason": "größer"}
    for message in (welcome, PLAN_MESSAGE):
        assert decode([msgpack.packb(message)]) == message


def test_bad_frames_are_refused_and_counted_and_the_next_good_one_works(router, opened):
    channel = opened()
    channel.send(HELLO)
    router.next()
    for frames in BAD_FRAMES.values():
        router.send("nonce-1", *frames)
    router.send("nonce-1", msgpack.packb(PLAN_MESSAGE))
    assert router.next()[1]["type"] == "ack"
    assert channel.refused == len(BAD_FRAMES)
    assert channel.dropped == 0


def test_a_message_too_large_to_send_is_dropped_and_counted(router, opened):
    channel = opened()
    channel.send({"type": "warn", "reason": "x" * (MAX_FRAME_BYTES + 1)})
    channel.send(HELLO)
    assert router.next()[1] == HELLO
    assert channel.dropped == 1


def test_without_an_orchestrator_ten_thousand_messages_are_dropped_and_the_process_ends(path):
    script = f"""
        import sys
        sys.path.insert(0, {SHIM!r})
        from cfx_shim.channel import Channel
        channel = Channel("ipc://{path}", "nonce", None)
        for step in range(10_000):
            channel.send({{"type": "telemetry", "step": step}})
        channel.close({{"type": "bye"}})
        print(channel.dropped)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    # a full queue and a full socket hold 256 messages each
    assert 10_000 - 512 <= int(done.stdout) <= 10_001
    assert done.stderr == ""


def test_an_orchestrator_that_vanishes_and_comes_back_changes_nothing_for_the_rank(path, opened):
    first = Router(path)
    channel = opened()
    channel.send(HELLO)
    assert first.next()[1] == HELLO
    first.close()
    for step in range(1000):
        channel.send({"type": "telemetry", "step": step})
    assert channel._thread.is_alive()
    os.path.exists(path) and os.unlink(path)
    second = Router(path)
    try:
        identity, message = second.next()
        assert identity == "nonce-1" and message["type"] == "telemetry"
    finally:
        second.close()


def test_a_forked_child_says_nothing_and_ends(router, opened):
    channel = opened()
    channel.send(HELLO)
    assert router.next()[1] == HELLO
    pid = os.fork()
    if pid == 0:
        channel.send({"type": "warn", "reason": "from the child"})
        channel.close({"type": "bye", "reason": "from the child"})
        os._exit(0 if channel.dropped == 0 and channel._queue.empty() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    channel.send({"type": "telemetry", "step": 1})
    assert router.next()[1] == {"type": "telemetry", "step": 1}
