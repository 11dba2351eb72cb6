"""One rank's run: ties plan, progress, bases, collectives, agreement and channel together.

Adapters call ``enter`` at each attention call and then the collectives. Everything that decides whether and how a
tensor is coded is here or in ``plan``, and follows from data that all ranks share.
"""

import os
import socket
import sys
import time
import uuid

from . import schema
from ._contract import PROTOCOL_VERSION, SCHEMAS, VERSION
from .agreement import Agreement, Verdict
from .observe import Observer
from .patching import Patches
from .plan import UNTOUCHED, Plan, Treatment
from .progress import Progress
from .telemetry import Telemetry

_TELEMETRY_SECONDS = 0.25
# what an exchange gets that the plan leaves alone, where it is looked at: the same values, through our hands
_LOOKED_AT = Treatment("identity", 0, False)


class Session:
    def __init__(self, run: dict, local_rank, report_problem):
        self.run = run
        self._local_rank = local_rank
        self.patches = Patches()
        self.telemetry = Telemetry()
        self.progress = Progress(self._generation_begins, self._generation_ends, self._step_ends)
        self.adapter = None
        self._report_problem = report_problem
        self.use_plan(run["plan"])
        self._problem = ("", "")
        self._agreement = None
        self._verdict = None
        self._attempt = 0
        self._channel = None
        self._generation_agreed = -1
        self._steps = 0
        self._last_sent = 0.0
        self._warned = set()
        self.bases = self.collectives = self.forwards = None
        self.observer = Observer(run["observe"], self._identify, self.telemetry.bytes_sent) if run["observe"] else None
        if run["refusal"]:
            self.problem(run["refusal"]["code"], run["refusal"]["reason"])

    def use_plan(self, raw: dict):
        """Start from this plan, as epoch 0. Only before the first exchange; later plans come through the channel."""
        self._plans = {0: Plan(raw)}
        self._ready_epoch = self.epoch = 0
        self.plan = self._plans[0]

    # problems

    def problem(self, code: str, reason: str):
        """Something that keeps this rank, and so all ranks, from compressing. The first one counts."""
        if not self._problem[0]:
            self._problem = (code, reason)

    def _warn(self, code, reason):
        if (code, reason) in self._warned:
            return
        self._warned.add((code, reason))
        self.telemetry.fallback(code, reason)
        self._send({"type": "warn", "code": code, "reason": reason})

    # joining a job

    def joined(self):
        """The default process group exists: announce this rank to the others and to the orchestrator."""
        import torch.distributed as dist

        from .base_store import BaseStore
        from .collectives import Collectives
        from .forwards import Forwards

        rank, world_size = dist.get_rank(), dist.get_world_size()
        self._load_kernels()
        if self.collectives is None:
            self.bases = BaseStore()
            self.collectives = Collectives(self.bases, self.telemetry)
            self.collectives.observer = self.observer
            self.forwards = Forwards(self.progress, self.telemetry)
        else:
            self.collectives.forget_group_state()
        self.progress.end_generation()
        self._verdict = None
        self._generation_agreed = -1
        self._attempt += 1
        store = dist.distributed_c10d._get_default_store()
        self._agreement = Agreement(store, rank, world_size, self.run["agreeTimeoutSeconds"], self._attempt)
        self._agreement.announce()
        self._open_channel(rank, world_size)
        if self._problem[0]:
            # the others must not wait for our first exchange, which may never come
            self._agreement.post(self._proposal())

    def _load_kernels(self):
        """The CPU's compiled kernels give the bits that plain torch gives: a rank may do without, only slower."""
        folder = self.run.get("kernelsPath")
        if self.run["device"] == "cpu" and folder:
            from .cpu import library

            try:
                library.load(folder)
            except Exception as error:
                print(f"cfx: going on without compiled kernels: {type(error).__name__}: {error}", file=sys.stderr)

    def _open_channel(self, rank, world_size):
        if not self.run["endpoint"] or self._channel is not None:
            return
        try:
            from .channel import Channel
        except ImportError as error:
            self.problem("CFX_PY_MISSING", f"this Python cannot import {error.name}")
            self._report_problem(*self._problem)
            return
        nonce = uuid.uuid4().hex
        self._channel = Channel(self.run["endpoint"], nonce, self._plan_arrived)
        self._channel.send(
            {
                "type": "hello",
                "protocol": PROTOCOL_VERSION,
                "token": self.run["token"],
                "rank": rank,
                "worldSize": world_size,
                "localRank": self._local_rank(rank),
                "pid": os.getpid(),
                "nonce": nonce,
                "versions": _versions(),
                "patches": self.patches.names,
                "planId": self.plan.plan_id,
            }
        )

    def _proposal(self):
        code, reason = self._problem
        return {
            "version": VERSION,
            "plan": self.plan.plan_id,
            "patches": self.patches.digest(),
            "code": code,
            "reason": reason,
        }

    # the hot path

    def enter(self) -> bool:
        """At the first collective of an attention call: say where we are. True if this rank may compress."""
        if self.forwards is None:
            return False  # this rank could not join: the others see that and go on uncompressed too
        self.forwards.ensure()
        self.progress.attention_begin()
        if self._verdict is None:
            self._agree()
        if self._verdict.agreed and self._generation_agreed != self.progress.generation:
            self._agree_on_epoch()
        return self._verdict.agreed

    def treatment(self, place, role: str, collective: str) -> Treatment:
        """What the plan in force says of one tensor of an exchange."""
        found = self.plan.treatment(place.step, place.layer, role, collective)
        return _LOOKED_AT if found is UNTOUCHED and self.observer is not None and self.observer.looks() else found

    def count_untouched(self, place, role: str, collective: str, raw_bytes: int):
        """A tensor of an exchange that the framework sends itself."""
        if self.collectives is not None:
            self.collectives.count_untouched(place, role, collective, raw_bytes)

    @property
    def agreed(self) -> bool:
        return self._verdict is not None and self._verdict.agreed

    def _agree(self):
        if self._agreement is None:
            self._verdict = Verdict(False, "CFX_NOT_ATTACHED", "there is no process group of torch.distributed")
        else:
            if self.adapter is not None:
                self.adapter.check(self)
            self._agreement.post(self._proposal())
            self._verdict = self._agreement.verdict(None if self.adapter is None else self.adapter.participants())
        verdict = self._verdict
        self._send(
            {
                "type": "ready",
                "verdict": verdict.agreed,
                "code": verdict.code,
                "reason": verdict.reason,
                "planId": self.plan.plan_id,
            }
        )
        if not verdict.agreed:
            self.telemetry.fallback(verdict.code, verdict.reason)
            if self.run["strict"]:
                self._flush()
                raise RuntimeError(f"cfx: {verdict.code}: {verdict.reason} (--strict)")
            if not self.run["endpoint"] or self._channel is None:
                print(f"cfx: {verdict.code}: {verdict.reason}; running uncompressed", file=sys.stderr)

    def _agree_on_epoch(self):
        """Once a generation: all ranks that exchange with each other take the lowest epoch that each has ready."""
        import torch
        import torch.distributed as dist

        self._generation_agreed = self.progress.generation
        ready = torch.tensor([self._ready_epoch], dtype=torch.int64)
        dist.all_reduce(ready, op=dist.ReduceOp.MIN, group=self.adapter.agreement_group())
        self.epoch = int(ready)
        self.plan = self._plans[self.epoch]
        self._plans = {epoch: plan for epoch, plan in self._plans.items() if epoch >= self.epoch}
        self.collectives.warmup_steps = self.plan.warmup_steps
        self.bases.drop_all()
        self._send(self._generation_message("begin", self.progress.generation, 0))

    def _plan_arrived(self, epoch, raw):
        if epoch <= self._ready_epoch:
            return f"epoch {epoch} is not above {self._ready_epoch}"
        try:
            plan = Plan(raw)
        except (ValueError, KeyError, TypeError) as error:
            return str(error)
        if self._verdict is not None and not self._verdict.agreed:
            return f"this job runs uncompressed: {self._verdict.reason}"
        self._plans[epoch] = plan
        self._ready_epoch = epoch
        return None

    # events

    def _generation_begins(self, generation):
        if self.bases is not None:
            self.bases.drop_all()

    def _generation_ends(self, generation, steps):
        if self.collectives is None or self._verdict is None:
            return
        self.collectives.settle_all()
        if self.progress.stepless:
            self.telemetry.note("no scheduler step was seen: each forward counted as a step")
        if self.run["verify"] and self.agreed:
            self._send({"type": "verify", "generation": generation, "digests": self.bases.digests()})
        self._send(self._telemetry_message(steps))
        self._send(self._generation_message("end", generation, steps))

    def _step_ends(self, generation, step):
        self._steps += 1
        # how often the orchestrator hears of a step may depend on the clock: nothing is computed from it
        now = time.monotonic()
        if self._channel is not None and now - self._last_sent > _TELEMETRY_SECONDS:
            self._last_sent = now
            self._send(self._telemetry_message(step))

    def leave(self):
        """The process ends."""
        if self._channel is None:
            return
        self.progress.end_generation()
        self._channel.close({"type": "bye", "telemetry": self._telemetry_message(self.progress.step)})

    def _generation_message(self, phase, generation, steps):
        return {
            "type": "generation",
            "phase": phase,
            "generation": generation,
            "steps": steps,
            "epoch": self.epoch,
            "planId": self.plan.plan_id,
        }

    def _telemetry_message(self, step):
        channel = self._channel
        return self.telemetry.message(
            self.progress.generation,
            step,
            self._steps,
            self.bases.bytes if self.bases is not None else 0,
            channel.dropped if channel is not None else 0,
            channel.refused if channel is not None else 0,
        )

    def _send(self, message):
        if self._channel is not None:
            self._channel.send(message)

    def _identify(self):
        import torch.distributed as dist

        return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)

    def _flush(self):
        if self._channel is not None:
            from .channel import wait_until_sent

            wait_until_sent(self._channel, 1.0)


def check_run(run) -> str | None:
    """Why ``run.json`` does not fit the contract, or None."""
    return schema.problem(run, SCHEMAS["Run"])


def _versions():
    from importlib import metadata

    found = {"python": ".".join(map(str, sys.version_info[:3])), "cfx": VERSION, "host": socket.gethostname()}
    for name in ("torch", "xfuser", "diffusers", "triton"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return found
