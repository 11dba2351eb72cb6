"""Generate held-out samples with a saved pipeline folder, draw a grid, let the judge score them.

    python sample.py --pipeline ../models/shapes-pixart --judge judges/judge-shapes.safetensors --out out/pixart.png
    python sample.py --pipeline ../models/shapes-wan    --judge judges/judge-moving.safetensors --out out/wan.png
    python sample.py --pipeline ../models/scenes-flux   --judge judges/judge-scenes.safetensors --out out/flux.png
"""

import argparse
import json
import os
import time
from dataclasses import dataclass

import numpy
import torch
from diffusers import DiffusionPipeline
from PIL import Image

import judge as judges
import moving
import scenes
import shapes
import text
from dataset import Dataset, held_out, sheet


@dataclass(frozen=True)
class Kind:
    """What a pipeline draws and how it is called."""

    data: Dataset
    steps: int
    guidance: float
    options: dict
    show: int = 24  # samples in the grid


KINDS = {
    "PixArtSigmaPipeline": Kind(shapes.DATA, 20, 4.0, {"height": shapes.SIZE, "width": shapes.SIZE,
                                                       "use_resolution_binning": False, "clean_caption": False}),
    "WanPipeline": Kind(moving.DATA, 18, 4.0, {"height": moving.SIZE, "width": moving.SIZE,
                                               "num_frames": moving.FRAMES}, show=12),
    # without guidance embedding the guidance of FLUX has no effect
    "FluxPipeline": Kind(scenes.DATA, 28, 1.0, {"height": scenes.SIZE, "width": scenes.SIZE}),
}


def generate(pipe, captions: list[str], seed: int, steps: int, guidance: float, tokens: int) -> torch.Tensor:
    """Samples in [-1, 1]; sample i starts from the noise of seed + i."""
    noise = [torch.Generator().manual_seed(seed + i) for i in range(len(captions))]
    out = pipe(captions, num_inference_steps=steps, guidance_scale=guidance, max_sequence_length=tokens,
               output_type="pt", generator=noise, **KINDS[type(pipe).__name__].options)
    samples = out.frames.transpose(1, 2) if hasattr(out, "frames") else out.images
    return samples.float() * 2 - 1


def save(folder: str, samples: torch.Tensor, captions: list[str]) -> None:
    """Write samples in [-1, 1] as ``judge.py score`` reads them: samples.json beside PNG files, or .npy of clips."""
    os.makedirs(folder, exist_ok=True)
    rows = []
    pixels = ((samples.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    for index, (value, caption) in enumerate(zip(pixels, captions)):
        name = f"{index:04d}." + ("npy" if value.ndim == 4 else "png")
        path = os.path.join(folder, name)
        if value.ndim == 4:
            numpy.save(path, value)
        else:
            Image.fromarray(value).save(path)
        rows.append({"prompt": caption, "file": name})
    with open(os.path.join(folder, "samples.json"), "w") as file:
        json.dump(rows, file, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", required=True, help="saved pipeline folder")
    parser.add_argument("--out", required=True, help="PNG to write; the report goes beside it as .json")
    parser.add_argument("--judge", default=None, help="judge .safetensors")
    parser.add_argument("--save", default=None, help="folder for the samples themselves, for judge.py score")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--show", type=int, default=None, help="samples in the grid (24 pictures, 12 clips)")
    parser.add_argument("--prompt", action="append", help="own caption (repeatable) instead of random ones")
    parser.add_argument("--steps", type=int, default=None, help="20 for PixArt, 18 for Wan, 28 for FLUX if left out")
    parser.add_argument("--guidance", type=float, default=None, help="4 for PixArt and Wan; FLUX has none")
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
    kind = KINDS[type(pipe).__name__]
    captions = args.prompt or kind.data.captions_of(*kind.data.draw(args.count, held_out(args.seed)))
    steps, show = args.steps or kind.steps, args.show or kind.show
    guidance = kind.guidance if args.guidance is None else args.guidance
    os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
    started, parts = time.time(), []
    for at in range(0, len(captions), args.batch):
        part = captions[at : at + args.batch]
        parts.append(generate(pipe, part, args.seed + at, steps, guidance, args.tokens).cpu())
        if at // args.batch % 4 == 0:
            print(f"{at + len(part)} of {len(captions)}, {time.time() - started:.0f} s", flush=True)
    samples = torch.cat(parts)
    if args.save:
        save(args.save, samples, captions)
    sheet(samples[:show], captions[:show]).save(args.out)
    report = {"pipeline": type(pipe).__name__, "samples": len(samples), "steps": steps, "guidance": guidance,
              "max_sequence_length": args.tokens, "seed": args.seed, "dtype": args.dtype,
              "seconds": round(time.time() - started)}
    if args.judge:
        right = judges.readings(judges.load(args.judge), samples, kind.data.labels_of(captions))
        report["judge"] = judges.shares(right)
        if kind.data is scenes.DATA:
            pairs = torch.tensor([" a " in caption[1:] for caption in captions])
            report["pairs"] = {"samples": int(pairs.sum()), **judges.shares({k: v[pairs] for k, v in right.items()})}
    print(json.dumps(report))
    with open(os.path.splitext(args.out)[0] + ".json", "w") as file:
        json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
