"""What the training scripts share: arguments, wall-clock loop, EMA, latent pool, folder saving."""

import argparse
import copy
import json
import math
import os
import shutil
import signal
import time

import torch
from diffusers.utils import logging as diffusers_logging

import text


def base_parser(description: str, minutes: float, batch: int, lr: float) -> argparse.ArgumentParser:
    """Arguments that every training script understands."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--out", required=True, help="folder (or file) to write")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--minutes", type=float, default=minutes, help="wall-clock training time in all, over all runs")
    add("--stop-after", type=float, default=None, help="stop this process earlier; --resume continues it")
    add("--resume", action="store_true", help="continue from OUT.state.pt if it is there")
    add("--batch", type=int, default=batch)
    add("--lr", type=float, default=lr, help="peak learning rate")
    add("--seed", type=int, default=0)
    add("--save-minutes", type=float, default=4.0)
    add("--compile", action="store_true")
    return parser


def setup(args) -> torch.device:
    """Seed (a continued run by the clock), set the threads, make the output's parent folder."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed + (int(time.time()) if args.resume else 0))
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    os.makedirs(os.path.dirname(os.path.abspath(args.out.rstrip("/"))), exist_ok=True)
    torch.set_float32_matmul_precision("high")
    return torch.device(args.device)


def autocast(device: torch.device):
    """bf16 autocast on CUDA only: without bf16 units a CPU is two to three times slower with it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def state_path(args) -> str:
    """Where the resumable training state lies: beside the output."""
    return args.out.rstrip("/") + ".state.pt"


def training_generator(args) -> torch.Generator:
    """CPU generator of the training data; a continued run draws fresh samples."""
    going_on = args.resume and os.path.exists(state_path(args))
    step = torch.load(state_path(args), map_location="cpu", weights_only=True)["step"] if going_on else 0
    return torch.Generator().manual_seed(args.seed * 1_000_003 + 10 * step)


class Ema:
    """Exponential moving average of a model, itself a model (``ema.model``)."""

    def __init__(self, model, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)


def fit(args, model, loss_of, save, ema_decay=0.998, weight_decay=0.01, betas=(0.9, 0.99), warmup=200) -> None:
    """Train for ``args.minutes`` of wall-clock time.

    ``loss_of()`` returns the loss of a fresh batch; ``save(ema_model, facts)``
    writes a usable checkpoint.  The learning rate warms up and then follows a
    cosine in the share of the time budget.  A checkpoint and the resumable
    state are written every few minutes, at the end, and on SIGTERM or Ctrl-C.
    """
    device = torch.device(args.device)
    ema = Ema(model, ema_decay)
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and "table" not in n and "gamma" not in n]
    chosen = {id(p) for p in decayed}
    others = [p for p in model.parameters() if id(p) not in chosen]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=args.lr, betas=betas, fused=True)
    resume = state_path(args)
    step, spent = 0, 0.0
    if args.resume and os.path.exists(resume):
        state = torch.load(resume, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        ema.model.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        print(f"continuing from step {step}, {spent / 60:.1f} min spent", flush=True)

    stop = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, frame: stop.append(number))
    total = args.minutes * 60
    limit = total if args.stop_after is None else min(total, spent + args.stop_after * 60)
    mean_loss, count, last = torch.zeros((), device=device), 0, None
    started = told = saved = time.time()

    def write(elapsed):
        hidden = ("out", "vae", "weights", "device", "resume", "stop_after")
        facts = {"steps": step, "minutes": round(elapsed / 60, 2), "samples_seen": step * args.batch, "loss": last,
                 "arguments": {k: v for k, v in vars(args).items() if k not in hidden}}
        save(ema.model, facts)
        state = {"model": model.state_dict(), "ema": ema.model.state_dict(), "optimizer": optimizer.state_dict(),
                 "step": step, "spent": elapsed}
        torch.save(state, resume + ".new")
        os.replace(resume + ".new", resume)

    while True:
        elapsed = spent + time.time() - started
        if elapsed >= limit or stop:
            break
        wave = 0.5 * (1 + math.cos(math.pi * min(elapsed / max(total, 1e-9), 1.0)))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, (step + 1) / warmup) * (0.01 + 0.99 * wave)
        loss = loss_of()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        ema.update(model, step)
        step += 1
        mean_loss += loss.detach()
        count += 1
        if time.time() - told >= 30:
            last, seconds = mean_loss.item() / count, time.time() - told
            print(f"step {step}  loss {last:.4f}  {count / seconds:.2f} it/s  "
                  f"{elapsed / 60:.1f} of {args.minutes:g} min", flush=True)
            mean_loss.zero_()
            count, told = 0, time.time()
        if time.time() - saved >= args.save_minutes * 60:
            write(spent + time.time() - started)
            saved = time.time()
    write(spent + time.time() - started)
    print(f"finished: step {step}, loss {last}, {(spent + time.time() - started) / 60:.1f} min", flush=True)


def replace_folder(folder: str, write) -> None:
    """Call ``write(new_folder)`` and swap the result in, so that the old copy survives a crash."""
    folder = folder.rstrip("/")
    fresh, old = folder + ".new", folder + ".old"
    for path in (fresh, old):
        shutil.rmtree(path, ignore_errors=True)
    os.makedirs(fresh)
    write(fresh)
    if os.path.exists(folder):
        os.rename(folder, old)
    os.rename(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def save_pipeline(folder: str, make_pipeline, transformer, facts: dict) -> None:
    """Save ``make_pipeline(bf16 transformer)`` with its training facts."""

    def write(fresh):
        pipe = make_pipeline(copy.deepcopy(transformer).to("cpu", torch.bfloat16))
        for part in (pipe.vae, pipe.transformer):
            part.register_to_config(_name_or_path="")  # else a path on this machine
        pipe.save_pretrained(fresh)
        text.fix_tokenizer_class(fresh)
        with open(os.path.join(fresh, "training.json"), "w") as file:
            json.dump(facts, file, indent=2)

    replace_folder(folder, write)


class LatentPool:
    """Samples (normalised latents, or renders) and their ids of ``size`` samples, renewed a little at every step.

    ``make(count)`` returns fresh (latents, ids).
    """

    def __init__(self, make, size: int, chunk: int = 16):
        self.make, self.chunk, self.cursor, self.due = make, chunk, 0, 0.0
        began = time.time()
        parts = [make(chunk) for _ in range(-(-size // chunk))]
        self.latents, self.ids = (torch.cat(values) for values in zip(*parts))
        print(f"latent pool of {len(self.ids)} samples in {time.time() - began:.0f} s", flush=True)

    def sample(self, batch: int, renew: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Random latents and ids; ``renew`` new samples are made per sample drawn."""
        self.due += batch * renew
        while self.due >= self.chunk:
            self.due -= self.chunk
            latents, ids = self.make(self.chunk)
            where = (torch.arange(self.chunk) + self.cursor) % len(self.ids)
            self.latents[where], self.ids[where] = latents, ids
            self.cursor = int(where[-1]) + 1
        rows = torch.randint(len(self.ids), (batch,), device=self.ids.device)
        return self.latents[rows], self.ids[rows]


def add_pool_arguments(parser, size: int, renew: float) -> None:
    """Arguments of the scripts that train on VAE latents."""
    parser.add_argument("--vae", required=True, help="VAE folder")
    parser.add_argument("--pool", type=int, default=size, help="samples in the latent pool")
    parser.add_argument("--renew", type=float, default=renew, help="new samples made per sample trained on")
    parser.add_argument("--caption-dropout", type=float, default=0.1)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-dim", type=int, default=32)


def describe(name: str, model) -> None:
    """Print the parameter count and bf16 size."""
    count = sum(p.numel() for p in model.parameters())
    print(f"{name}: {count:,} parameters, {count * 2 / 1e6:.2f} MB in bf16", flush=True)
