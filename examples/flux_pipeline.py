"""Generate pictures with FLUX under xDiT, as xDiT's own examples do.

torchrun --nproc-per-node 2 flux_pipeline.py --model FOLDER --ulysses_degree 2 --height 256 --width 256 \
    --max_sequence_length 32 --num_inference_steps 28 --prompt "a red star" --out star.png
"""

import json
import time

import torch
from safetensors.torch import save_file
from xfuser import xFuserArgs, xFuserFluxPipeline
from xfuser.config import FlexibleArgumentParser
from xfuser.core.distributed import get_runtime_state, get_world_group


def decode(pipe, latents, height, width):
    latents = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
    latents = latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor
    with torch.no_grad():
        pixels = pipe.vae.decode(latents, return_dict=False)[0]
    return pipe.image_processor.postprocess(pixels, output_type="pil")


def main():
    parser = FlexibleArgumentParser(description=__doc__)
    parser.add_argument("--out", default="flux.png", help="PNG to write; a second picture of a batch gets -1, and so on")
    parser.add_argument("--latents", help="safetensors file for the final latents")
    parser.add_argument("--stats", help="JSON file for the seconds that each generation and each step took")
    parser.add_argument("--generations", type=int, default=1, help="how many times to generate; the last one is kept")
    args = xFuserArgs.add_cli_args(parser).parse_args()
    engine_config, input_config = xFuserArgs.from_cli_args(args).create_config()

    group = get_world_group()
    device = f"cuda:{group.local_rank}" if torch.cuda.is_available() else "cpu"
    pipe = xFuserFluxPipeline.from_pretrained(
        engine_config.model_config.model,
        engine_config=engine_config,
        dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
    ).to(device)
    pipe.set_progress_bar_config(disable=True)

    seconds, step_seconds = [], []
    for _ in range(args.generations):
        ends = []

        def end_step(pipe, step, timestep, tensors, ends=ends):
            ends.append(time.perf_counter())
            return tensors

        began = time.perf_counter()
        output = pipe(
            prompt=input_config.prompt,
            height=input_config.height,
            width=input_config.width,
            num_inference_steps=input_config.num_inference_steps,
            max_sequence_length=input_config.max_sequence_length,
            guidance_scale=input_config.guidance_scale,
            generator=torch.Generator(device=device).manual_seed(input_config.seed),
            output_type="latent",
            callback_on_step_end=end_step,
        )
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        # the first step begins somewhere in what goes before
        step_seconds.append([after - before for before, after in zip(ends, ends[1:])])

    # xDiT hands the result to the last rank of each data-parallel group
    if pipe.is_dp_last_group() and group.rank == group.world_size - 1:
        latents = output.images
        if args.latents:
            save_file({"latents": latents.cpu().contiguous()}, args.latents)
        for index, picture in enumerate(decode(pipe, latents, input_config.height, input_config.width)):
            picture.save(args.out if index == 0 else args.out.replace(".png", f"-{index}.png"))
        if args.stats:
            with open(args.stats, "w") as file:
                json.dump({"seconds": seconds, "step_seconds": step_seconds}, file)
        print(f"wrote {args.out}: {seconds[-1]:.2f} s on {group.world_size} ranks", flush=True)
    get_runtime_state().destroy_distributed_env()


if __name__ == "__main__":
    main()
