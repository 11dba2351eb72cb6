"""Agreement among all ranks of a job, through its own rendezvous store (c10d).

Before anything is compressed each rank posts what it is about to do; one verdict is written once and every rank obeys
it. A rank without cfx posts nothing, cannot be blocked, and makes the verdict "no" after a time-out. No collective of
ours runs before the verdict.
"""

import json
import time
from dataclasses import dataclass
from datetime import timedelta

_POLL_SECONDS = 0.02
# all are attached: they may still be loading a model, each at its own pace
_LOADING_SECONDS = 600.0


@dataclass(frozen=True)
class Verdict:
    agreed: bool
    code: str = ""
    reason: str = ""


class Agreement:
    """One per default process group. ``store`` is its store, ``attempt`` counts groups made by this process."""

    def __init__(self, store, rank: int, world_size: int, timeout_seconds: float, attempt: int):
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._timeout = timeout_seconds
        self._prefix = f"cfx/{attempt}"
        self._posted = False

    def announce(self):
        """Say that this rank is attached: right after the process group exists, long before a model is loaded."""
        self._store.set(f"{self._prefix}/attached/{self._rank}", "1")

    def post(self, proposal: dict):
        """Post what this rank would do: ``version``, ``plan``, ``patches`` (digests) and ``code``, ``reason`` of a problem."""
        if not self._posted:
            self._posted = True
            self._store.set(f"{self._prefix}/proposal/{self._rank}", json.dumps(proposal, sort_keys=True))

    def verdict(self, participants=None) -> Verdict:
        """Wait for the proposals, or for the time-out, and return the one verdict all ranks obey.

        Every rank of the job must be attached; proposals come from ``participants`` (default: all), the ranks that
        exchange at all, which are the same set on every one of them.
        """
        participants = range(self._world_size) if participants is None else participants
        key = f"{self._prefix}/verdict"
        found = self._wait_for_verdict(key)
        if found is None:
            mine = self._judge(key, participants)
            if mine is not None:
                self._store.compare_set(key, "", json.dumps(mine.__dict__, sort_keys=True))
            self._store.wait([key], timedelta(seconds=self._timeout))
            found = self._read(key)
        return found

    def _wait_for_verdict(self, key):
        return self._read(key) if self._store.check([key]) else None

    def _read(self, key):
        return Verdict(**json.loads(self._store.get(key).decode()))

    def _judge(self, key, participants):
        """What this rank would write, or None if another rank's verdict came first."""
        absent = self._wait_for(key, "attached", range(self._world_size), self._timeout)
        if absent is None:
            return None
        if absent:
            return Verdict(False, "CFX_NOT_ATTACHED", f"{_ranks(absent)} of {self._world_size} ranks run without cfx")
        silent = self._wait_for(key, "proposal", participants, max(self._timeout, _LOADING_SECONDS))
        if silent is None:
            return None
        if silent:
            return Verdict(False, "CFX_NOT_ATTACHED", f"{_ranks(silent)} attached but never came to its first exchange")
        proposals = {
            rank: json.loads(self._store.get(f"{self._prefix}/proposal/{rank}").decode()) for rank in participants
        }
        for rank, proposal in proposals.items():
            if proposal["code"]:
                return Verdict(False, proposal["code"], f"rank {rank}: {proposal['reason']}")
        for field in ("version", "plan", "patches"):
            values = {proposal[field] for proposal in proposals.values()}
            if len(values) > 1:
                each = ", ".join(f"rank {rank} {proposal[field]}" for rank, proposal in proposals.items())
                return Verdict(False, "CFX_PLAN_MISMATCH", f"the ranks differ in {field}: {each[:300]}")
        return Verdict(True)

    def _wait_for(self, verdict_key, kind, ranks, seconds):
        """Ranks whose key is missing after ``seconds``; None as soon as a verdict exists."""
        deadline = time.monotonic() + seconds
        missing = list(ranks)
        while True:
            missing = [rank for rank in missing if not self._store.check([f"{self._prefix}/{kind}/{rank}"])]
            if not missing or time.monotonic() > deadline:
                return missing
            if self._store.check([verdict_key]):
                return None
            time.sleep(_POLL_SECONDS)


def _ranks(ranks):
    shown = ", ".join(str(rank) for rank in ranks[:8]) + (" …" if len(ranks) > 8 else "")
    return f"rank {shown}" if len(ranks) == 1 else f"ranks {shown}"
