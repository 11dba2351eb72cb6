"""The control channel of a rank: one DEALER socket on one thread (schemas/PROTOCOL.md).

The hot path only puts a dict on a bounded queue. Nothing here waits for the orchestrator: a full queue drops and
counts, a vanished orchestrator changes nothing, and the end of the process waits a fraction of a second at most.
"""

import os
import queue
import threading
import time

import msgpack
import zmq

from . import schema
from ._contract import MAX_DEPTH, MAX_FRAME_BYTES, SCHEMAS

_QUEUE = 256
_POLL_SECONDS = 0.05
_BYE_SECONDS = 1.0


class Channel:
    """``on_plan(epoch, plan)`` is called on the channel's thread; it returns None or a reason to refuse."""

    def __init__(self, endpoint: str, nonce: str, on_plan):
        self._endpoint = endpoint
        self._nonce = nonce
        self._on_plan = on_plan
        self._queue = queue.Queue(_QUEUE)
        self._closing = threading.Event()
        self._pid = os.getpid()
        self.dropped = 0
        self.refused = 0
        self._thread = threading.Thread(target=self._run, name="cfx-channel", daemon=True)
        self._thread.start()

    def send(self, message: dict):
        """Queue ``message``, or drop and count it. Never blocks; does nothing in a forked child."""
        if os.getpid() != self._pid:
            return
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self.dropped += 1

    def close(self, message: dict):
        """Send ``message`` as the last one and stop; waits ``_BYE_SECONDS`` at most."""
        if os.getpid() != self._pid or self._closing.is_set():
            return
        try:
            # a full queue is worth a short wait here: this message has the totals
            self._queue.put(message, timeout=_BYE_SECONDS / 2)
        except queue.Full:
            self.dropped += 1
        self._closing.set()
        self._thread.join(_BYE_SECONDS)

    def _run(self):
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, self._nonce.encode())
        socket.setsockopt(zmq.LINGER, 0)
        # above the limit, so that a frame beyond it is refused and counted; one far beyond costs the connection
        socket.setsockopt(zmq.MAXMSGSIZE, 4 * MAX_FRAME_BYTES)
        socket.setsockopt(zmq.SNDHWM, _QUEUE)
        try:
            socket.connect(self._endpoint)
            self._exchange(socket)
        finally:
            socket.close(linger=int(_BYE_SECONDS * 500))
            context.term()

    def _exchange(self, socket):
        while True:
            try:
                message = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                message = None
            if message is not None:
                self._write(socket, message)
            while socket.poll(0):
                self._receive(socket, socket.recv_multipart())
            if self._closing.is_set() and self._queue.empty():
                return

    def _write(self, socket, message):
        frame = msgpack.packb(message, use_bin_type=True)
        if len(frame) > MAX_FRAME_BYTES:
            self.dropped += 1
            return
        try:
            socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += 1

    def _receive(self, socket, frames):
        message = decode(frames)
        if message is None:
            self.refused += 1
            return
        if message["type"] == "plan":
            reason = self._on_plan(message["epoch"], message["plan"])
            if reason is None:
                answer = {"type": "ack", "epoch": message["epoch"], "planId": message["plan"]["planId"]}
            else:
                answer = {"type": "refuse", "epoch": message["epoch"], "code": "CFX_PLAN_REFUSED", "reason": reason}
            self._write(socket, answer)


def decode(frames):
    """The message in ``frames``, or None for anything that is not exactly one valid message to a rank."""
    if len(frames) != 1 or len(frames[0]) > MAX_FRAME_BYTES:
        return None
    try:
        message = msgpack.unpackb(frames[0], raw=False, strict_map_key=True, ext_hook=_refuse_ext)
    except Exception:  # whatever a hostile frame provokes in the decoder, it is one refused frame
        return None
    if not isinstance(message, dict) or _depth(message) > MAX_DEPTH:
        return None
    kind = message.get("type")
    expected = {"welcome": "Welcome", "plan": "PlanMessage"}.get(kind) if isinstance(kind, str) else None
    if expected is None or schema.problem(message, SCHEMAS[expected]):
        return None
    return message


def _refuse_ext(code, data):
    raise ValueError("ext types are not part of the protocol")


def _depth(value, level=1):
    if level > MAX_DEPTH:
        return level
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max([level] + [_depth(item, level + 1) for item in items])


def wait_until_sent(channel, seconds: float):
    """Wait until the queue of ``channel`` is empty, for ``seconds`` at most: before a process ends on purpose."""
    deadline = time.monotonic() + seconds
    while not channel._queue.empty() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS / 5)
