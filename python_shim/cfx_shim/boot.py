"""Start in a process of the launch: the only file that reads the environment.

Runs inside ``sitecustomize``, in every Python process of the launch: it leaves a note that it ran, arms import hooks,
and returns. It imports neither torch nor zmq. A process becomes a rank when it calls ``init_process_group``.
"""

import atexit
import importlib
import json
import os
import sys

from .hooks import ImportHooks


def start(folder: str, run: dict):
    """``folder`` is the run folder, ``run`` its ``run.json``. Returns the session, or None if ``run`` is not for us."""
    note = _Note(folder)
    note.write()
    from . import session as sessions

    wrong = sessions.check_run(run)
    if wrong:
        note.write("CFX_PLAN_MISMATCH", f"run.json does not fit this shim: {wrong}")
        return None
    if run["sidePath"]:
        sys.path.append(run["sidePath"])
    if run["device"] == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    session = sessions.Session(run, _local_rank, note.write)

    def failed(module, error):
        session.problem("CFX_PATCH_FAILED", f"{module}: {type(error).__name__}: {error}")

    hooks = ImportHooks(failed)
    hooks.arm("torch.distributed.distributed_c10d", lambda module: _watch_process_group(module, session, note))
    for name in run["adapters"]:
        importlib.import_module(f".adapters.{name}", __package__).arm(hooks, session)
    if "RANK" in os.environ:
        _drop_from_python_path(folder)
    return session


def _watch_process_group(c10d, session, note):
    def wrap(original):
        def init_process_group(*args, **kwargs):
            result = original(*args, **kwargs)
            try:
                session.joined()
            except Exception as error:  # the job goes on uncompressed: the others see no announcement, or this problem
                session.problem("CFX_INTERNAL", f"{type(error).__name__}: {error}")
                note.write("CFX_INTERNAL", f"{type(error).__name__}: {error}")
                return result
            note.joined()
            atexit.register(session.leave)
            return result

        return init_process_group

    session.patches.replace(c10d, "init_process_group", wrap)


def _local_rank(rank: int) -> int:
    return int(os.environ.get("LOCAL_RANK", rank))


def _drop_from_python_path(folder):
    """A rank's own children (compile workers, data loaders) are not ranks and need no hook."""
    hook = os.path.join(folder, "site")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != hook]
    if paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    else:
        os.environ.pop("PYTHONPATH", None)


class _Note:
    """``processes/<pid>.json`` in the run folder: tells "the hook never ran" from "no process group yet"."""

    def __init__(self, folder):
        self._path = os.path.join(folder, "processes", f"{os.getpid()}.json")
        rank = os.environ.get("RANK", "")
        self._content = {"pid": os.getpid(), "rank": int(rank) if rank.isdigit() else None, "joined": False}

    def write(self, code=None, reason=None):
        if code is not None:
            self._content["problem"] = {"code": code, "reason": reason}
        try:
            with open(self._path, "w", encoding="utf-8") as file:
                json.dump(self._content, file)
        except OSError:
            pass  # the run folder is gone: so is the orchestrator that would read it

    def joined(self):
        self._content["joined"] = True
        self.write()
