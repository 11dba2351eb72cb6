"""Train a judge (``judge.py``) on real renders.

    python train_judge.py --data shapes --vae ../models/scenes-flux/vae --out out/judge-shapes.safetensors
    python train_judge.py --data moving --vae out/wan-vae               --out out/judge-moving.safetensors
    python train_judge.py --data scenes --vae ../models/scenes-flux/vae --out out/judge-scenes.safetensors --pool 1536

Some renders are passed through the VAE, blurred or made noisy; generated
samples are never used.
"""

import json

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderKLWan
from safetensors.torch import save_file

import common
from dataset import held_out
from judge import DATA, Judge, accuracy, seen


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
    parser.add_argument("--pool", type=int, default=0, help="renders kept and drawn from again; 0: all are fresh")
    parser.add_argument("--renew", type=float, default=0.25, help="with a pool: new renders per render drawn")
    args = parser.parse_args()
    device = common.setup(args)
    data = DATA[args.data]
    judge = Judge(args.data).to(device)
    common.describe("judge", judge)
    kind = AutoencoderKLWan if args.data == "moving" else AutoencoderKL
    vae = kind.from_pretrained(args.vae, dtype=torch.float32).eval().requires_grad_(False)
    gen = common.training_generator(args)

    def fresh(count):
        samples, _, labels = data.make_batch(count, gen)
        return seen(args.data, samples), torch.stack(list(labels.values()), 1)

    renders, _, soft_labels = data.make_batch(args.round_trips, gen)
    soft, soft_labels = seen(args.data, round_trips(vae, renders)), torch.stack(list(soft_labels.values()), 1)
    test, _, test_labels = data.make_batch(512, held_out())
    test_soft = round_trips(vae, test[:128])
    pool = common.LatentPool(fresh, args.pool) if args.pool else None

    def loss_of():
        quarter = args.batch // 4
        samples, labels = pool.sample(args.batch - quarter, args.renew) if pool else fresh(args.batch - quarter)
        rows = torch.randint(len(soft), (quarter,))
        scores = judge(disturb(torch.cat([samples, soft[rows]])).to(device))
        truth = torch.cat([labels, soft_labels[rows]]).to(device).unbind(1)
        return sum(F.cross_entropy(scores[name], right) for name, right in zip(data.attributes, truth)) / len(scores)

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
