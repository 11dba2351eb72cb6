"""Generate held-out samples with a saved pipeline folder, draw a grid, let the judge score them.

    python sample.py --pipeline ../models/shapes-pixart --judge judges/judge-shapes.safetensors --out out/pixart.png
    python sample.py --pipeline ../models/shapes-wan    --judge judges/judge-moving.safetensors --out out/wan.png
"""

import argparse
import json
import os
import time

import torch
from diffusers import DiffusionPipeline, WanPipeline

import judge as judges
import moving
import shapes
import text
from dataset import held_out, sheet


def generate(pipe, captions: list[str], seed: int, steps: int, guidance: float, tokens: int) -> torch.Tensor:
    """Samples in [-1, 1]; sample i starts from the noise of seed + i."""
    noise = [torch.Generator().manual_seed(seed + i) for i in range(len(captions))]
    options = {"num_inference_steps": steps, "guidance_scale": guidance, "max_sequence_length": tokens,
               "output_type": "pt", "generator": noise}
    if isinstance(pipe, WanPipeline):
        out = pipe(captions, height=moving.SIZE, width=moving.SIZE, num_frames=moving.FRAMES, **options).frames
        return out.float().transpose(1, 2) * 2 - 1
    out = pipe(captions, height=shapes.SIZE, width=shapes.SIZE, use_resolution_binning=False, clean_caption=False,
               **options).images
    return out.float() * 2 - 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", required=True, help="saved pipeline folder")
    parser.add_argument("--out", required=True, help="PNG to write; the report goes beside it as .json")
    parser.add_argument("--judge", default=None, help="judge .safetensors")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--show", type=int, default=None, help="samples in the grid (24 pictures, 12 clips)")
    parser.add_argument("--prompt", action="append", help="own caption (repeatable) instead of random ones")
    parser.add_argument("--steps", type=int, default=None, help="20 for PixArt, 18 for Wan if left out")
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--tokens", type=int, default=text.MAX_TOKENS, help="max_sequence_length")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["bfloat16", "float32"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    pipe = DiffusionPipeline.from_pretrained(args.pipeline, dtype=getattr(torch, args.dtype)).to(args.device)
    pipe.set_progress_bar_config(disable=True)
    video = isinstance(pipe, WanPipeline)
    data = moving.DATA if video else shapes.DATA
    captions = args.prompt or data.captions_of(data.draw(args.count, held_out(args.seed))[0])
    steps, show = args.steps or (18 if video else 20), args.show or (12 if video else 24)
    os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
    started, parts = time.time(), []
    for at in range(0, len(captions), args.batch):
        part = captions[at : at + args.batch]
        parts.append(generate(pipe, part, args.seed + at, steps, args.guidance, args.tokens).cpu())
        if at // args.batch % 4 == 0:
            print(f"{at + len(part)} of {len(captions)}, {time.time() - started:.0f} s", flush=True)
    samples = torch.cat(parts)
    sheet(samples[:show], captions[:show]).save(args.out)
    report = {"pipeline": type(pipe).__name__, "samples": len(samples), "steps": steps, "guidance": args.guidance,
              "max_sequence_length": args.tokens, "seed": args.seed, "dtype": args.dtype,
              "seconds": round(time.time() - started)}
    if args.judge:
        report["judge"] = judges.accuracy(judges.load(args.judge), samples, captions)
    print(json.dumps(report))
    with open(os.path.splitext(args.out)[0] + ".json", "w") as file:
        json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
