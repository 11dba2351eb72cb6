"""Train a small Wan transformer on the moving shapes and save a WanPipeline folder.

    python train_wan.py --vae out/wan-vae --out out/shapes-wan --minutes 60

17 frames of 64x64 are 9x16x16 latents, which patch (1, 2, 2) turns into
9 * 8 * 8 = 576 tokens.  Flow matching; CFG is two forward passes, as in the
real model.
"""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel

import common
import moving
import text
from wan_vae import encode

FLOW_SHIFT = 3.0
ROPE_BASE = 10_000  # of WanRotaryPosEmbed
LONG_PROMPT = 512  # WanPipeline's default max_sequence_length


def new_transformer(args, z_dim: int) -> WanTransformer3DModel:
    """Wan transformer whose output layer starts at zero."""
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=args.heads, attention_head_dim=args.head_dim,
        in_channels=z_dim, out_channels=z_dim, text_dim=text.T5_DIM, freq_dim=128,
        ffn_dim=4 * args.heads * args.head_dim, num_layers=args.layers, cross_attn_norm=True, rope_max_seq_len=128,
    )
    torch.nn.init.zeros_(model.proj_out.weight)
    torch.nn.init.zeros_(model.proj_out.bias)
    start_local(model, args.heads, args.head_dim)
    return model


@torch.no_grad()
def start_local(model, heads: int, head_dim: int) -> None:
    """Let three of four heads look near by from the start: in space, in time, in both.

    Wan knows positions from rotary embeddings alone.  Equal constants in
    queries and keys turn these into a preference for small distances, which
    random weights take thousands of steps to find.
    """
    side = 2 * (head_dim // 6)  # channels of height and of width; time has the rest
    time = head_dim - 2 * side
    starts = {"t": 0, "h": time, "w": time + side}  # the first two frequencies of each axis
    strength = ((0, 1.3), (2, 1.9))
    for block in model.blocks:
        for head, axes in zip(range(heads), ("hw", "t", "thw", "")):
            for axis in axes:
                for offset, gain in strength:
                    channel = head * head_dim + starts[axis] + offset
                    for layer, norm in ((block.attn1.to_q, block.attn1.norm_q), (block.attn1.to_k, block.attn1.norm_k)):
                        layer.bias[channel] = 2.0
                        norm.weight[channel] = gain


@torch.no_grad()
def look_before_and_after(model, heads: int, head_dim: int) -> None:
    """Turn two heads of trained weights away from their own frame: the third to the one before, the second to the next.

    ``start_local`` prefers small distances in time, the past as much as the future, and training from there learned
    the axis of a motion without its direction.  Turning a query's channel pair of frequency w by -w (or w) moves the
    peak of its product with an equal key one frame back (or on).
    """
    time = head_dim - 4 * (head_dim // 6)
    for block in model.blocks:
        for head, frames in ((1, 1), (2, -1)):
            for pair in range(2):  # the two that start_local sets
                angle = torch.tensor(frames * ROPE_BASE ** (-2 * pair / time))
                turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos())).view(2, 2)
                rows = slice(head * head_dim + 2 * pair, head * head_dim + 2 * pair + 2)
                block.attn1.norm_q.weight[rows] = block.attn1.norm_q.weight[rows.start]  # one gain for both, so that it turns
                for values in (block.attn1.to_q.weight, block.attn1.to_q.bias):
                    values[rows] = turn @ values[rows]


def load_vae(folder: str) -> AutoencoderKLWan:
    """Frozen VAE in fp32."""
    return AutoencoderKLWan.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)


def draw_sigmas(count: int, device: torch.device) -> torch.Tensor:
    """Noise levels, spread evenly over the batch: logit-normal with a uniform tenth, shifted as the sampler's are."""
    even = ((torch.arange(count, device=device) + torch.rand(count, device=device)) / count).clamp(1e-4, 1 - 1e-4)
    plain = torch.where(torch.rand(count, device=device) < 0.1, even, torch.sigmoid(1.1 * torch.special.ndtri(even)))
    return FLOW_SHIFT * plain / (1 + (FLOW_SHIFT - 1) * plain)


def main():
    parser = common.base_parser("Train the Wan-style model.", minutes=60, batch=4, lr=1e-3)
    common.add_pool_arguments(parser, size=768, renew=0.12)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--weights", metavar="FOLDER", help="start from this pipeline's transformer, two heads turned in time")
    args = parser.parse_args()
    device = common.setup(args)
    vae = load_vae(args.vae).to(device)
    encoder = text.make_umt5().float().to(device)
    tokenizer = text.make_tokenizer()
    if args.weights:
        model = WanTransformer3DModel.from_pretrained(args.weights, subfolder="transformer", dtype=torch.float32).train()
        look_before_and_after(model, args.heads, args.head_dim)
    else:
        model = new_transformer(args, vae.config.z_dim)
    model = model.to(device)
    common.describe("transformer", model)
    gen = common.training_generator(args)
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
                 for values in (vae.config.latents_mean, vae.config.latents_std))

    @torch.no_grad()
    def fresh(count):
        clips, captions, _ = moving.DATA.make_batch(count, gen)
        return (encode(vae, clips.to(device)) - mean) / std, text.tokenize(tokenizer, captions).to(device)

    pool = common.LatentPool(fresh, args.pool)
    run = torch.compile(model, dynamic=False) if args.compile else model
    done = 0

    def loss_of():
        nonlocal done
        clean, ids = pool.sample(args.batch, args.renew)
        ids = text.drop_captions(ids, args.caption_dropout)
        mask = text.mask_of(ids)
        with torch.no_grad():  # zeros after the last token, as WanPipeline passes them on
            words = encoder(ids, attention_mask=mask)[0] * mask[..., None]
        if done % 10 == 9:  # also learn to ignore the longer padding of the pipeline's default prompt length
            words = F.pad(words, (0, 0, 0, LONG_PROMPT - text.MAX_TOKENS))
        done += 1
        noise, sigma = torch.randn_like(clean), draw_sigmas(len(clean), device)
        level = sigma.view(-1, 1, 1, 1, 1)
        with common.autocast(device):
            velocity = run((1 - level) * clean + level * noise, sigma * 1000, words, return_dict=False)[0]
        return F.mse_loss(velocity.float(), noise - clean)

    def pipeline(transformer):
        scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True,
                                            flow_shift=FLOW_SHIFT, solver_order=2)
        return WanPipeline(tokenizer=tokenizer, text_encoder=text.make_umt5(), scheduler=scheduler,
                           vae=load_vae(args.vae).to(torch.bfloat16), transformer=transformer)

    common.fit(args, model, loss_of, lambda ema, facts: common.save_pipeline(args.out, pipeline, ema, facts),
               ema_decay=0.998)


if __name__ == "__main__":
    main()
