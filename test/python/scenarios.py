"""What a farm's rank does, named by plain data: changes to the pipeline, and single generations."""

import copy

import torch
import torch.distributed as dist

PROMPT = "a large red star above a small blue circle at sunset"


def prepare(job, pipe, session):
    """Changes before the first generation, in the job's order."""
    for name in job.get("prepare", ()):
        CHANGES[name](pipe, session)


def generate(pipe, session, generation):
    """One generation; returns tensors by name on the ranks that xDiT gives a result, else nothing."""
    return ACTIONS[generation.get("do", "picture")](pipe, session, generation)


# changes


class _Stand:
    """Stands in for a transformer: is called its own way, and is the transformer in all other respects."""

    def __init__(self, transformer, call):
        self._transformer = transformer
        self._call = call

    def __call__(self, *args, **kwargs):
        return self._call(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self._transformer, name)


def _two_forwards(pipe, session):
    """Guidance as two forwards a step: the second has another text, and the two results are averaged."""
    transformer = pipe.transformer

    def call(*args, **kwargs):
        (first, text), *_ = transformer(*args, **kwargs)
        (second, _), *_ = transformer(*args, **dict(kwargs, encoder_hidden_states=kwargs["encoder_hidden_states"] * 0.5))
        return (((first + second) / 2, text),)

    pipe.module.transformer = _Stand(transformer, call)


def _two_transformers(pipe, session):
    """Two models for the early and the late steps, as Wan 2.2 has."""
    early, late = pipe.transformer, copy.deepcopy(pipe.transformer)

    def call(*args, **kwargs):
        return (early if float(kwargs["timestep"].flatten()[0]) > 0.5 else late)(*args, **kwargs)

    pipe.module.transformer = _Stand(early, call)


def _nan(pipe, session):
    """NaN in rank 0's input of one block at step 3 of the first generation."""

    def spoil(module, args, kwargs):
        if session.progress.generation == 0 and session.progress.step == 3 and dist.get_rank() == 0:
            hidden = kwargs["hidden_states"].clone()
            hidden[0, 0, 0] = float("nan")
            kwargs = dict(kwargs, hidden_states=hidden)
        return args, kwargs

    pipe.transformer.single_transformer_blocks[1].register_forward_pre_hook(spoil, with_kwargs=True)


def _compile(pipe, session):
    pipe.module.transformer = torch.compile(pipe.transformer, backend="aot_eager")


def _other_plan_on_rank_1(pipe, session):
    if dist.get_rank() == 1:
        session.use_plan({"planId": "1" * 16, "policy": "off", "warmupSteps": 1, "cells": []})


def _head_balance(pipe, session):
    """What --use_spargeattn_head_balance sets; xDiT itself ignores it with an attention that is not sparse."""
    from xfuser.core.distributed import get_runtime_state

    get_runtime_state().runtime_config.use_spargeattn_head_balance = True


def _relative_errors(pipe, session):
    """Record the closed-loop relative error of every compressed send: of what a receiver makes of it."""
    from cfx_shim import coding

    encode, sums = coding.encode, {}

    def measured(section, blocks, room, state, *history):
        before = None if state is None or section.keyframe else state.clone()
        seen = encode(section, blocks, room, state, *history)
        if before is not None:
            received = coding.decode(section, room, before)
            total, count = sums.get(section.role, (0.0, 0))
            sums[section.role] = (total + float((blocks - received).norm() / blocks.norm()), count + 1)
        return seen

    coding.encode = measured
    session.relative_errors = sums


CHANGES = {
    "two_forwards": _two_forwards,
    "two_transformers": _two_transformers,
    "nan": _nan,
    "compile": _compile,
    "other_plan_on_rank_1": _other_plan_on_rank_1,
    "head_balance": _head_balance,
    "relative_errors": _relative_errors,
}


# generations


def _picture(pipe, session, generation):
    """Latents of one pipeline call."""
    prompts = generation.get("prompts", [PROMPT])
    size = generation.get("size", 256)
    output = pipe(
        prompt=prompts,
        height=size,
        width=size,
        num_inference_steps=generation.get("steps", 4),
        max_sequence_length=32,
        guidance_scale=0.0,
        generator=[torch.Generator().manual_seed(generation.get("seed", 11) + index) for index in range(len(prompts))],
        output_type="latent",
    )
    return {"latents": output.images} if pipe.is_dp_last_group() and output is not None else {}


def _new_plan(pipe, session, generation):
    """A plan of a later epoch reaches the named ranks."""
    if dist.get_rank() in generation["ranks"]:
        assert session._plan_arrived(generation["epoch"], generation["plan"]) is None
    return {}


def _helpers(pipe, session, generation):
    """xDiT's exchange helpers on their own, ``steps`` times: separate, stacked, and with fewer key and value heads.

    An extra tensor rides along. Returned: what came back, and what the tensors would give uncompressed.
    """
    from xfuser.model_executor.layers import usp

    class Attention(torch.nn.Module):
        def forward(self, q, k, v, extra, few_k, few_v):
            separate = [usp._ft_c_input_all_to_all(x) for x in (q, k, v, extra)]
            usp._ft_c_output_all_to_all(separate[0])
            stacked = usp._combined_qkv_all_to_all(q, k, v, extra)
            usp._ft_c_output_all_to_all(stacked[0])
            few = usp._combined_gqa_qkv_all_to_all(q, few_k, few_v, extra)
            out = usp._ft_c_output_all_to_all(few[0])
            return (*separate, *stacked, *few, out)

    attention, generator = Attention(), torch.Generator().manual_seed(100 + dist.get_rank())
    full, few = (1, 4, 16, 8), (1, 2, 16, 8)
    tensors = [torch.randn(shape, generator=generator) for shape in (full, full, full, full, few, few)]
    session.progress.timesteps_set()
    for step in range(generation.get("steps", 2)):
        results = attention(*(tensor + 0.01 * step for tensor in tensors))
        session.progress.scheduler_begin()
        session.progress.scheduler_end()
    return {f"{index:02}": result for index, result in enumerate(results)}


def _joint(pipe, session, generation):
    """USP with text tokens joined in front or at the rear, as xDiT's models pass them; some with a padded tail."""
    from xfuser.model_executor.layers import usp

    class Attention(torch.nn.Module):
        def forward(self, image, text, where):
            attention = {"combine_qkv_a2a": True} if where == "front" else {}
            return usp.USP(
                *image, joint_query=text[0], joint_key=text[1], joint_value=text[2], joint_strategy=where, **attention
            )

    attention = Attention()
    own = torch.Generator().manual_seed(200 + dist.get_rank())
    shared = torch.Generator().manual_seed(300)
    image = [torch.randn((1, 4, 16, 8), generator=own) for _ in range(3)]
    text = [torch.randn((1, 4, 4, 8), generator=shared) for _ in range(3)]
    results = {}
    for where in ("front", "rear"):
        session.progress.timesteps_set()
        for step in range(2):
            results[where] = attention([x + 0.01 * step for x in image], text, where)
            session.progress.scheduler_begin()
            session.progress.scheduler_end()
    return results


ACTIONS = {"picture": _picture, "new_plan": _new_plan, "helpers": _helpers, "joint": _joint}
