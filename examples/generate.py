"""Generate every sample of a file with FLUX, PixArt-Σ or Wan under xDiT, in one process per rank: a script for `cfx eval`.

cfx eval --device cpu --policies paper-1bit,paper-2bit --prompts prompts.txt --seeds 1,2 -- torchrun --nproc-per-node 2 \
    generate.py --model FOLDER --samples {samples} --skip {start} --ulysses_degree 2

The model's folder says which pipeline it is. Size, steps and guidance default to what the example models are made for.
"""

import json
import os

import torch
from diffusers import WanPipeline
from xfuser import xFuserArgs, xFuserFluxPipeline, xFuserPixArtSigmaPipeline
from xfuser.config import FlexibleArgumentParser
from xfuser.core.distributed import get_runtime_state, get_world_group, initialize_runtime_state

DEFAULTS = {
    "FluxPipeline": {"height": 256, "width": 256, "steps": 28, "guidance_scale": 1.0},
    "PixArtSigmaPipeline": {"height": 128, "width": 128, "steps": 20, "guidance_scale": 4.0},
    "WanPipeline": {"height": 64, "width": 64, "steps": 18, "guidance_scale": 4.0, "num_frames": 17},
}
TOKENS = 32


def load(name, folder, engine_config, **options):
    if name == "FluxPipeline":
        return xFuserFluxPipeline.from_pretrained(folder, engine_config=engine_config, **options)
    if name == "PixArtSigmaPipeline":
        return xFuserPixArtSigmaPipeline.from_pretrained(folder, engine_config=engine_config, **options)
    # for Wan xDiT replaces the transformer only, as its own runner does
    from xfuser.model_executor.models.transformers.transformer_wan import xFuserWanTransformer3DWrapper

    transformer = xFuserWanTransformer3DWrapper.from_pretrained(folder, subfolder="transformer", **options)
    pipe = WanPipeline.from_pretrained(folder, transformer=transformer, **options)
    initialize_runtime_state(pipe, engine_config)
    return pipe


def main():
    parser = FlexibleArgumentParser(description=__doc__)
    parser.add_argument("--samples", required=True, help='JSON lines of {"prompt", "seed"}')
    parser.add_argument("--skip", type=int, default=0, help="how many of them to skip")
    parser.add_argument("--steps", type=int, help="denoising steps; by default what the model is made for")
    args = xFuserArgs.add_cli_args(parser).parse_args()
    engine_config, _ = xFuserArgs.from_cli_args(args).create_config()
    folder = engine_config.model_config.model
    with open(os.path.join(folder, "model_index.json"), encoding="utf-8") as file:
        name = json.load(file)["_class_name"]
    if name not in DEFAULTS:
        parser.error(f"found a {name} in {folder}; expected one of {', '.join(DEFAULTS)}")
    with open(args.samples, encoding="utf-8") as file:
        samples = [json.loads(line) for line in file if line.strip()]

    local_rank = get_world_group().local_rank
    device, dtype = (f"cuda:{local_rank}", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    pipe = load(name, folder, engine_config, dtype=dtype).to(device)
    pipe.set_progress_bar_config(disable=True)

    options = dict(DEFAULTS[name])
    options["num_inference_steps"] = args.steps or options["steps"]
    del options["steps"]
    if name == "PixArtSigmaPipeline":
        options |= {"use_resolution_binning": False, "clean_caption": False}
    for number, sample in enumerate(samples[args.skip :], args.skip):
        generator = torch.Generator(device=device).manual_seed(sample["seed"])
        pipe(prompt=sample["prompt"], generator=generator, max_sequence_length=TOKENS, **options)
        if get_world_group().rank == 0:
            print(f"sample {number + 1} of {len(samples)}: {sample['prompt']}", flush=True)
    get_runtime_state().destroy_distributed_env()


if __name__ == "__main__":
    main()
