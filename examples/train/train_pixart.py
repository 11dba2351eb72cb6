"""Train a small PixArt-Sigma-style transformer and save a PixArtSigmaPipeline folder.

    python train_pixart.py --vae ../models/scenes-flux/vae --out out/shapes-pixart --minutes 58 --compile

128x128 pictures are 4x32x32 latents, which patch 2 turns into 256 tokens.  The
model predicts the velocity (v-prediction): on a budget of a few thousand steps
it learns colours and layout sooner than with the noise as its target.
"""

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)

import common
import shapes
import text

SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear",
            "prediction_type": "v_prediction"}
LATENT_SIDE = 32


def make_transformer(heads: int, head_dim: int, layers: int) -> PixArtTransformer2DModel:
    """PixArt blocks at a small width; 8 output channels, of which the first 4 are the prediction."""
    return PixArtTransformer2DModel(
        num_attention_heads=heads, attention_head_dim=head_dim, num_layers=layers, in_channels=4, out_channels=8,
        cross_attention_dim=heads * head_dim, sample_size=LATENT_SIDE, patch_size=2, caption_channels=text.T5_DIM,
        use_additional_conditions=False, interpolation_scale=1,
    )


def start_small(model) -> None:
    """Xavier matrices; modulation, cross-attention outputs and the last layer start at zero."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    patch = model.pos_embed.proj
    torch.nn.init.xavier_uniform_(patch.weight.view(patch.weight.shape[0], -1))
    for layer in (model.adaln_single.linear, model.proj_out, *(b.attn2.to_out[0] for b in model.transformer_blocks)):
        torch.nn.init.zeros_(layer.weight)


def main():
    parser = common.base_parser("Train the PixArt-style model.", minutes=58, batch=16, lr=1e-3)
    common.add_pool_arguments(parser, size=2048, renew=0.06)
    parser.add_argument("--layers", type=int, default=5)
    args = parser.parse_args()
    device = common.setup(args)
    vae = AutoencoderKL.from_pretrained(args.vae, dtype=torch.float32).to(device).eval().requires_grad_(False)
    t5 = text.make_t5().float().to(device)
    tokenizer = text.make_tokenizer()
    model = make_transformer(args.heads, args.head_dim, args.layers).to(device)
    start_small(model)
    common.describe("transformer", model)
    gen = common.training_generator(args)
    alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod.to(device)
    conditions = {"resolution": None, "aspect_ratio": None}

    @torch.no_grad()
    def fresh(count):
        images, captions, _ = shapes.DATA.make_batch(count, gen)
        latents = vae.encode(images.to(device)).latent_dist.mode() * vae.config.scaling_factor
        return latents, text.tokenize(tokenizer, captions).to(device)

    pool = common.LatentPool(fresh, args.pool)
    run = torch.compile(model, dynamic=False) if args.compile else model

    def loss_of():
        latents, ids = pool.sample(args.batch, args.renew)
        ids = text.drop_captions(ids, args.caption_dropout)
        mask = text.mask_of(ids)
        with torch.no_grad():
            words = t5(ids, attention_mask=mask)[0]
        noise = torch.randn_like(latents)
        t = torch.randint(len(alphas), (len(latents),), device=device)
        keep = alphas[t].view(-1, 1, 1, 1)
        mixed = keep.sqrt() * latents + (1 - keep).sqrt() * noise
        target = keep.sqrt() * noise - (1 - keep).sqrt() * latents
        with common.autocast(device):
            out = run(mixed, encoder_hidden_states=words, encoder_attention_mask=mask, timestep=t,
                      added_cond_kwargs=conditions, return_dict=False)[0]
        return F.mse_loss(out.float().chunk(2, dim=1)[0], target)  # the variance half is unused

    def pipeline(transformer):
        return PixArtSigmaPipeline(
            tokenizer=tokenizer, text_encoder=text.make_t5(),
            vae=AutoencoderKL.from_pretrained(args.vae, dtype=torch.bfloat16), transformer=transformer,
            scheduler=DPMSolverMultistepScheduler(**SCHEDULE, solver_order=2, algorithm_type="dpmsolver++"),
        )

    common.fit(args, model, loss_of, lambda ema, facts: common.save_pipeline(args.out, pipeline, ema, facts))


if __name__ == "__main__":
    main()
