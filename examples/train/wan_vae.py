"""Write the small Wan VAE of the moving shapes (stock AutoencoderKLWan) in closed form; nothing is trained.

    python wan_vae.py --out out/wan-vae

Pixels are folded 2x2 (``patch_size`` as in Wan 2.2) and height, width and time
are halved once: 17 frames of 64x64 become 9x16x16 latents.  Temporal factor 2
is the smallest one for which WanPipeline keeps the number of frames.

The latents are the principal components of the 4x4 pixel patches of every
second frame; the decoder is a least-squares fit from the latents around.  RMS
norms pass values on unchanged beside a large constant channel, and SiLU does
for pairs, silu(x) - silu(-x) = x.  The frames between are copies of their
neighbours, so the decoder is the weak half.
"""

import argparse
import copy
import math

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify

import moving
from dataset import held_out

FOLD, PATCH, Z_DIM, DIM = 2, 4, 8, 16
KEPT = 7  # components of a folded pixel that the decoder draws: 7 pairs and one constant
CONSTANT = 64.0  # constant channel of the encoder, far above the latents
DECODER_CONSTANT = 8.0
RIDGE = 1e-3


def empty_vae() -> AutoencoderKLWan:
    """All weights zero but for norms, so every branch is closed."""
    vae = AutoencoderKLWan(
        base_dim=DIM, z_dim=Z_DIM, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True],
        latents_mean=[0.0] * Z_DIM, latents_std=[1.0] * Z_DIM, in_channels=3 * FOLD**2, out_channels=3 * FOLD**2,
        patch_size=FOLD, scale_factor_temporal=2, scale_factor_spatial=2 * FOLD,
    )
    with torch.no_grad():
        for name, weight in vae.named_parameters():
            weight.fill_(1.0 if "gamma" in name else 0.0)
    return vae


def principal(rows: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (d,) and the leading principal directions (count, d) of rows."""
    mean = rows.mean(0)
    _, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    vectors = vectors.flip(1)[:, :count].T
    return mean, torch.where(vectors.sum(1, keepdim=True) < 0, -vectors, vectors)


@torch.no_grad()
def write_encoder(vae: AutoencoderKLWan, clips: torch.Tensor) -> None:
    """Latents = principal components of 4x4 patches; of a pair of frames, those of the second one."""
    frames = patchify(clips[:, :, ::2], FOLD).transpose(1, 2).flatten(0, 1)  # (n, 12, 32, 32)
    rows = F.unfold(frames, 2, stride=2).transpose(1, 2).reshape(-1, 12 * 4)  # channel, row, column
    mean, axes = principal(rows, Z_DIM)
    enc, eye = vae.encoder, torch.eye(12)
    enc.conv_in.weight[:12, :, -1, 1, 1] = eye
    enc.conv_in.bias[12] = 1.0
    down = enc.down_blocks[1]
    down.resample[1].weight[:Z_DIM, :12, :2, :2] = axes.view(Z_DIM, 12, 2, 2)
    down.resample[1].bias[:Z_DIM] = -axes @ mean
    down.resample[1].weight[Z_DIM, 12, 0, 0] = 1.0
    down.time_conv.weight[:, :, -1, 0, 0] = torch.eye(DIM)
    pairs = enc.down_blocks[2].conv_shortcut.weight[:, :, 0, 0, 0]
    for k in range(Z_DIM):
        pairs[2 * k, k], pairs[2 * k + 1, k] = 1.0, -1.0
    pairs[2 * Z_DIM, Z_DIM] = CONSTANT
    gain = (2 * DIM) ** 0.5 / CONSTANT  # of the norm
    for k in range(Z_DIM):
        enc.conv_out.weight[k, 2 * k, -1, 1, 1], enc.conv_out.weight[k, 2 * k + 1, -1, 1, 1] = 1 / gain, -1 / gain
    enc.conv_out.bias[Z_DIM:] = -8.0
    vae.quant_conv.weight[:, :, 0, 0, 0] = torch.eye(2 * Z_DIM)
    vae.post_quant_conv.weight[:, :, 0, 0, 0] = torch.eye(Z_DIM)


@torch.no_grad()
def write_decoder(vae: AutoencoderKLWan, clips: torch.Tensor) -> None:
    """Least-squares picture from the latents around; both frames of a pair are drawn as the second one."""
    dec, hidden = vae.decoder, 2 * DIM
    dec.conv_in.weight[:Z_DIM, :, -1, 1, 1] = torch.eye(Z_DIM)
    dec.conv_in.bias[hidden - 1] = 1.0
    up = dec.up_blocks[0].upsamplers[0]
    for half in range(2):
        up.time_conv.weight[half * hidden : (half + 1) * hidden, :, -1, 0, 0] = torch.eye(hidden)
    latents = encode(vae, clips).transpose(1, 2).flatten(0, 1)
    frames = patchify(clips[:, :, ::2], FOLD).transpose(1, 2).flatten(0, 1)
    pixels = frames.permute(0, 2, 3, 1).reshape(-1, 12)
    mean, axes = principal(pixels, KEPT)
    window = F.unfold(F.interpolate(latents, scale_factor=2, mode="nearest"), 3, padding=1).transpose(1, 2)
    window = window.reshape(-1, Z_DIM * 9)
    window = torch.cat([window, torch.ones(len(window), 1)], 1)
    gram = window.T @ window / len(window) + RIDGE * torch.eye(window.shape[1])
    fit = torch.linalg.solve(gram, window.T @ ((pixels - mean) @ axes.T) / len(window))  # (73, KEPT)
    conv, gain = up.resample[1], DIM**0.5 / DECODER_CONSTANT
    for k in range(KEPT):
        for channel, sign in ((2 * k, 1.0), (2 * k + 1, -1.0)):
            conv.weight[channel, :Z_DIM] = sign * fit[:-1, k].view(Z_DIM, 3, 3)
            conv.bias[channel] = sign * fit[-1, k]
            dec.conv_out.weight[:, channel, -1, 1, 1] = sign * axes[k]
    conv.bias[2 * KEPT] = DECODER_CONSTANT
    dec.norm_out.gamma.fill_(1 / gain)
    dec.conv_out.bias.copy_(mean)


def encode(vae: AutoencoderKLWan, video: torch.Tensor) -> torch.Tensor:
    """Posterior mean; as ``vae.encode`` but in two causal chunks instead of 1 + n / 4."""
    video = patchify(video, FOLD)
    cache = [None] * vae._cached_conv_counts["encoder"]
    parts = [vae.encoder(chunk, feat_cache=cache, feat_idx=[0]) for chunk in (video[:, :, :1], video[:, :, 1:])]
    return vae.quant_conv(torch.cat(parts, dim=2)).chunk(2, dim=1)[0]


@torch.no_grad()
def normalise(vae: AutoencoderKLWan, clips: torch.Tensor) -> None:
    """Record mean and scale of the latents: divided by the root of their deviation, mean variance 1.

    The weak components (edges) thus stay weaker than the colours, and the
    transformer spends its effort on what is seen.
    """
    values = torch.cat([encode(vae, part) for part in clips.split(8)]).transpose(0, 1).flatten(1)
    deviation = values.std(1)
    scale = (deviation * deviation.mean()).sqrt()
    vae.register_to_config(latents_mean=[round(v, 5) for v in values.mean(1).tolist()],
                           latents_std=[round(v, 5) for v in scale.tolist()])


@torch.no_grad()
def psnr(vae: AutoencoderKLWan, clips: torch.Tensor) -> float:
    """Reconstruction quality in dB through the public encode and decode, in the VAE's own precision."""
    out = vae.decode(vae.encode(clips.to(vae.dtype)).latent_dist.mode()).sample.float()
    return -10 * math.log10(float((out - clips).square().mean() / 4))


def main():
    parser = argparse.ArgumentParser(description="Write the Wan VAE.")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    clips = moving.DATA.make_batch(64, torch.Generator().manual_seed(args.seed))[0]
    vae = empty_vae().eval()
    write_encoder(vae, clips)
    write_decoder(vae, clips)
    normalise(vae, clips)
    vae.save_pretrained(args.out)
    test = moving.DATA.make_batch(8, held_out())[0]
    for model in (vae, copy.deepcopy(vae).to(torch.bfloat16)):
        print(f"{model.dtype}: {psnr(model, test):.2f} dB on held-out clips")


if __name__ == "__main__":
    main()
