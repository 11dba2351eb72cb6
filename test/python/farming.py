"""The tests' side of a farm: start it, hand it jobs, read what came of them; and plans as plain data."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass
class Outcome:
    """``tensors`` by "generation.name" from the ranks that had a result; ``reports`` one per rank."""

    tensors: dict
    reports: list
    by_rank: list = field(default_factory=list)

    def rows(self, rank=0):
        return self.reports[rank]["telemetry"]["sites"]

    def total(self, key, rank=0, **where):
        return sum(row[key] for row in self.rows(rank) if all(row[name] == value for name, value in where.items()))

    def fallbacks(self, rank=0):
        return [entry["code"] for entry in self.reports[rank]["telemetry"]["fallbacks"]]

    def compared_bases(self):
        """How many bases two or more ranks hold, and the names of those that differ."""
        seen, compared, different = {}, 0, []
        for report in self.reports:
            for name, digest in report["digests"].items():
                if name in seen:
                    compared += 1
                    if seen[name] != digest:
                        different.append(name)
                seen[name] = digest
        return compared, different


class Farm:
    """``kernels``: a folder with the CPU's compiled kernels, which ranks load; without it plain torch does their work."""

    def __init__(self, kernels=None):
        self._folder = tempfile.TemporaryDirectory(prefix="cfx-farm-")
        self._errors = open(os.path.join(self._folder.name, "errors.log"), "w+")
        self._process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "farm.py"), self._folder.name, *([kernels] if kernels else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._answer()

    def run(self, world, args, plan, generations, **more) -> Outcome:
        from safetensors.torch import load_file

        out = tempfile.mkdtemp(dir=self._folder.name)
        job = {"world": world, "args": args, "plan": plan, "generations": generations, "out": out, **more}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        codes = self._answer()["codes"]
        if any(codes):
            logs = [open(os.path.join(out, f"rank-{rank}.log")).read()[-3000:] for rank in range(world)]
            raise RuntimeError(f"ranks ended with {codes}\n" + "\n--- next rank ---\n".join(logs))
        by_rank = [load_file(os.path.join(out, f"rank-{rank}.safetensors")) for rank in range(world)]
        reports = [json.load(open(os.path.join(out, f"rank-{rank}.json"))) for rank in range(world)]
        return Outcome({name: value for tensors in by_rank for name, value in tensors.items()}, reports, by_rank)

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._errors.close()
        self._folder.cleanup()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"the farm ended: {self._errors.read()[-3000:]}")
        return json.loads(line)


def cell(codec, **changes):
    exact = codec in ("identity", "off")
    return {
        "steps": [0, None],
        "layers": [0, None],
        "roles": ["q", "k", "v", "o"],
        "collectives": ["all_to_all", "all_gather"],
        "codec": codec,
        "residualOrder": 0 if exact else 1,
        "feedback": True,
        "keyframeCodec": "identity",
        "baseDtype": "native",
        "statistics": "exact",
        **changes,
    }


def plan(*cells, warmup=1):
    return {"planId": "0" * 16, "policy": "test", "warmupSteps": warmup, "cells": list(cells)}


OFF = plan()
IDENTITY = plan(cell("identity"))
PAPER_1BIT = plan(cell("binary"))
PAPER_2BIT = plan(cell("int2"))
