"""Run many xDiT jobs without starting Python for each: import everything once, then fork the ranks of each job.

A farm process boots the shim as ``sitecustomize`` would (before torch is imported), imports xfuser and the pipeline,
and reads jobs as JSON lines from standard input. For each job it forks ``world`` ranks, which meet through a file
store on gloo and run the generations; it answers with one JSON line. Real xfuser, real gloo; only torchrun is left out
(other tests start jobs with torchrun).

Job: ``{"world": 2, "args": ["--ulysses_degree", "2"], "plan": {...} | null, "generations": [{...}], "out": folder}``;
``plan: null`` runs xDiT as it is, with nothing of cfx but the CPU patches.
"""

import json
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODEL = os.path.join(ROOT, "examples", "models", "scenes-flux")
sys.path[:0] = [os.path.join(ROOT, "python_shim"), HERE]


def _boot(folder, kernels=None):
    """The shim in this process, with a plan that a job replaces after the fork."""
    from cfx_shim import _contract, boot

    os.makedirs(os.path.join(folder, "processes"), exist_ok=True)
    empty = {"planId": "0" * 16, "policy": "off", "warmupSteps": 1, "cells": []}
    run = {
        "protocol": _contract.PROTOCOL_VERSION,
        "version": _contract.VERSION,
        "endpoint": "",
        "token": "",
        "shimPath": os.path.join(ROOT, "python_shim"),
        "sidePath": "",
        "adapters": ["xdit"],
        "device": "cpu",
        "strict": False,
        "verify": False,
        "agreeTimeoutSeconds": 60,
        "refusal": None,
        "observe": None,
        "plan": empty,
    }
    if kernels:
        run["kernelsPath"] = kernels
    return boot.start(folder, run)


def _rank(session, job, rank, pipeline):
    import torch
    import torch.distributed as dist
    from safetensors.torch import save_file
    from xfuser import xFuserArgs, xFuserFluxPipeline
    from xfuser.config import FlexibleArgumentParser
    from xfuser.core.distributed import init_distributed_environment

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(job["world"]))
    torch.set_num_threads(1)
    if job["plan"] is None:
        session.patches.undo()
    else:
        session.use_plan(job["plan"])
    store = f"file://{job['out']}/store"
    init_distributed_environment(job["world"], rank, store, rank)
    parser = xFuserArgs.add_cli_args(FlexibleArgumentParser())
    argv = ["--model", MODEL, "--height", "256", "--width", "256", "--max_sequence_length", "32", *job["args"]]
    engine, _ = xFuserArgs.from_cli_args(parser.parse_args(argv)).create_config()
    pipe = xFuserFluxPipeline(pipeline(job.get("dtype", "float32")), engine)
    pipe.set_progress_bar_config(disable=True)
    import scenarios

    scenarios.prepare(job, pipe, session)
    results, seconds = {}, []
    for index, generation in enumerate(job["generations"]):
        began = time.perf_counter()
        for name, tensor in scenarios.generate(pipe, session, generation).items():
            results[f"{index}.{name}"] = tensor.float().contiguous()
        seconds.append(time.perf_counter() - began)
    save_file(results, os.path.join(job["out"], f"rank-{rank}.safetensors"))
    session.progress.end_generation()
    errors = {role: total / count for role, (total, count) in getattr(session, "relative_errors", {}).items()}
    report = {
        "telemetry": session._telemetry_message(0),
        "digests": session.bases.digests() if session.bases else {},
        "relativeErrors": errors,
        "seconds": seconds,
    }
    with open(os.path.join(job["out"], f"rank-{rank}.json"), "w") as file:
        json.dump(report, file)
    dist.barrier()


def _run(session, job, pipeline):
    children = []
    for rank in range(job["world"]):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with open(os.path.join(job["out"], f"rank-{rank}.log"), "w") as log:
                    os.dup2(log.fileno(), 1)
                    os.dup2(log.fileno(), 2)
                    _rank(session, job, rank, pipeline)
                    code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.environ["OMP_NUM_THREADS"] = "1"
    session = _boot(*sys.argv[1:])
    import torch
    from diffusers import FluxPipeline
    from xfuser import xFuserFluxPipeline  # noqa: F401  imported here so that every rank has it

    torch.set_num_threads(1)
    loaded = {}

    def pipeline(dtype):
        if dtype not in loaded:
            loaded[dtype] = FluxPipeline.from_pretrained(MODEL, torch_dtype=getattr(torch, dtype))
        return loaded[dtype]

    pipeline("float32")
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps({"codes": _run(session, json.loads(line), pipeline)}) + "\n")


if __name__ == "__main__":
    main()
