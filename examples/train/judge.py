"""A small CNN that reads the attributes of a picture or clip: trains the judge, scores samples with it.

    python judge.py --data shapes --vae ../models/scenes-flux/vae --out out/judge-shapes.safetensors
    python judge.py --data moving --vae out/wan-vae               --out out/judge-moving.safetensors

It is trained on real renders only (some passed through the VAE, blurred or
made noisy), never on generated samples.
"""

import json

import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderKLWan
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import common
import moving
import shapes
from dataset import held_out

DATA = {"shapes": shapes.DATA, "moving": moving.DATA}


class Judge(nn.Module):
    """Strided stages, a 4x4 map of features, one linear head per attribute.

    Pictures go in as they are; of a clip, five frames are stacked as channels.
    """

    def __init__(self, data: str, widths=(24, 32, 48, 64, 80)):
        super().__init__()
        self.data = data
        stages, before = [], 15 if data == "moving" else 3
        for width in widths if data == "shapes" else widths[1:]:
            stages += [nn.Conv2d(before, width, 3, 2, 1), nn.GroupNorm(8, width), nn.SiLU()]
            if width > widths[1]:
                stages += [nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        self.stages = nn.Sequential(*stages, nn.Conv2d(before, 64, 1), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.SiLU())
        self.heads = nn.ModuleDict(
            {name: nn.Linear(64 * 16, len(values)) for name, values in DATA[data].attributes.items()})

    def forward(self, samples):
        if samples.ndim == 5:
            samples = samples[:, :, ::4].flatten(1, 2)
        features = self.stages(samples)
        return {name: head(features) for name, head in self.heads.items()}


def load(path: str, device="cpu") -> Judge:
    """Read a judge written by this script."""
    with safe_open(path, "pt") as file:
        data = file.metadata()["data"]
    judge = Judge(data)
    judge.load_state_dict(load_file(path))
    return judge.to(device).eval().requires_grad_(False)


@torch.no_grad()
def accuracy(judge: Judge, samples: torch.Tensor, truth) -> dict[str, float]:
    """Share of correctly read attributes; ``truth`` is a list of captions or a dict of labels.

    ``samples`` are in [-1, 1].  "mean" averages the attributes, "all" is the
    share of samples with every attribute right.
    """
    labels = DATA[judge.data].labels_of(truth) if isinstance(truth, (list, tuple)) else truth
    device = next(judge.parameters()).device
    right = {name: [] for name in labels}
    for start in range(0, len(samples), 32):
        scores = judge(samples[start : start + 32].float().to(device))
        for name, score in scores.items():
            right[name].append(score.argmax(1).cpu() == labels[name][start : start + 32])
    right = {name: torch.cat(values) for name, values in right.items()}
    table = {name: value.float().mean().item() for name, value in right.items()}
    table["mean"] = sum(table.values()) / len(table)
    table["all"] = torch.stack(list(right.values())).all(0).float().mean().item()
    return {name: round(value, 4) for name, value in table.items()}


@torch.no_grad()
def round_trips(vae, samples: torch.Tensor) -> torch.Tensor:
    """Samples as the VAE gives them back."""
    parts = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in samples.split(8)]
    return torch.cat(parts).clamp(-1, 1)


def disturb(samples: torch.Tensor) -> torch.Tensor:
    """Light blur, noise and contrast for random samples."""
    n, side = len(samples), samples.shape[-1]
    pick = torch.rand(3, n, *[1] * (samples.ndim - 1))
    flat = samples.reshape(n, -1, side, side)
    soft = F.avg_pool2d(F.pad(flat, (1, 1, 1, 1), mode="replicate"), 3, 1).view_as(samples)
    samples = torch.where(pick[0] < 0.4, soft, samples)
    samples = samples + torch.randn_like(samples) * 0.12 * pick[1] * (pick[1] < 0.5)
    return samples * (0.9 + 0.2 * pick[2])


def main():
    parser = common.base_parser("Train a judge.", minutes=6, batch=32, lr=2e-3)
    parser.add_argument("--data", required=True, choices=list(DATA))
    parser.add_argument("--vae", required=True, help="VAE folder for round trips")
    parser.add_argument("--round-trips", type=int, default=256, help="renders passed through the VAE beforehand")
    args = parser.parse_args()
    device = common.setup(args)
    data = DATA[args.data]
    judge = Judge(args.data).to(device)
    common.describe("judge", judge)
    kind = AutoencoderKLWan if args.data == "moving" else AutoencoderKL
    vae = kind.from_pretrained(args.vae, dtype=torch.float32).eval().requires_grad_(False)
    gen = common.training_generator(args)
    renders, _, soft_labels = data.make_batch(args.round_trips, gen)
    soft = round_trips(vae, renders)
    test, _, test_labels = data.make_batch(512, held_out())
    test_soft = round_trips(vae, test[:128])

    def loss_of():
        quarter = args.batch // 4
        samples, _, labels = data.make_batch(args.batch - quarter, gen)
        rows = torch.randint(len(soft), (quarter,))
        samples = disturb(torch.cat([samples, soft[rows]])).to(device)
        scores = judge(samples)
        truth = {name: torch.cat([labels[name], soft_labels[name][rows]]).to(device) for name in scores}
        return sum(F.cross_entropy(scores[name], truth[name]) for name in scores) / len(scores)

    def save(ema, facts):
        table = {"real": accuracy(ema, test, test_labels),
                 "real_through_vae": accuracy(ema, test_soft, {k: v[:128] for k, v in test_labels.items()})}
        print("held-out renders:", json.dumps(table), flush=True)
        weights = {name: value.contiguous().cpu() for name, value in ema.state_dict().items()}
        save_file(weights, args.out, metadata={"data": args.data, "accuracy": json.dumps(table),
                                               "training": json.dumps(facts)})

    common.fit(args, judge, loss_of, save, ema_decay=0.99, warmup=50)


if __name__ == "__main__":
    main()
