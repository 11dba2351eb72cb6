"""Run a function on N real ranks: forked processes that meet over gloo through a file store.

A rank's result is plain data and comes back as JSON; a failing rank brings back its traceback. Children are always
reaped: when one fails the others get a moment to end by themselves, when the time is up all are killed.
"""

import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback

_AFTER_FAILURE_SECONDS = 3.0


class RankError(AssertionError):
    """At least one rank failed or did not end; the text holds what each of them said."""


def run_ranks(world_size, function, *args, timeout=90.0, join=True):
    """``[function(rank, *args) for every rank]``, each in a process of its own.

    ``join``: make the default process group first. Without it ``function(rank, store_path, *args)`` does what it likes.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "store")
        children = {}
        for rank in range(world_size):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reader)
                _child(writer, rank, world_size, path, function, args, join)
            os.close(writer)
            children[reader] = (rank, pid)
        said = _collect(children, timeout)
    silent = {"error": "ended, or was killed, without an answer"}
    answers = {rank: json.loads(text) if text else silent for rank, text in said.items()}
    errors = [f"rank {rank}: {answer['error']}" for rank, answer in sorted(answers.items()) if "error" in answer]
    if errors:
        raise RankError("\n".join(errors))
    return [answers[rank]["result"] for rank in range(world_size)]


def _child(writer, rank, world_size, path, function, args, join):
    answer = {"error": "no answer"}
    try:
        if join:
            join_group(path, rank, world_size)
            result = function(rank, *args)
        else:
            result = function(rank, path, *args)
        answer = {"result": result}
        text = json.dumps(answer)
    except BaseException:
        text = json.dumps({"error": traceback.format_exc()})
    with os.fdopen(writer, "w", encoding="utf-8") as file:
        file.write(text)
    sys.stdout.flush()
    sys.stderr.flush()
    # the test runner's own clean-up belongs to the parent
    os._exit(0)


def join_group(path, rank, world_size):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", store=dist.FileStore(path, world_size), rank=rank, world_size=world_size)


def _collect(children, timeout):
    """What each rank wrote before its end, or "" for one that had to be killed."""
    deadline = time.monotonic() + timeout
    said = {rank: b"" for rank, _ in children.values()}
    waiting = dict(children)
    try:
        while waiting and time.monotonic() < deadline:
            ready, _, _ = select.select(list(waiting), [], [], max(0.0, min(1.0, deadline - time.monotonic())))
            for reader in ready:
                rank, _ = waiting[reader]
                chunk = os.read(reader, 1 << 16)
                said[rank] += chunk
                if not chunk:
                    del waiting[reader]
                    if said[rank].startswith(b'{"error"') or not said[rank]:
                        deadline = min(deadline, time.monotonic() + _AFTER_FAILURE_SECONDS)
    finally:
        for reader, (rank, pid) in children.items():
            if reader in waiting:
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reader)
    return {rank: text.decode() for rank, text in said.items()}


def world_group():
    """The default process group as ``cfx_shim.collectives`` takes it."""
    import torch.distributed as dist

    from cfx_shim.collectives import Group

    handle = dist.group.WORLD
    return Group(handle, handle.group_name, dist.get_rank(), tuple(range(dist.get_world_size())))
