"""Word-level tokenizer and tiny frozen random text encoders.

The captions of the procedural data use a closed vocabulary, so every word is
one token.  The encoders are random, seeded and never trained: they only have
to keep word identity and word order apart, and the diffusion transformer
learns what the resulting vectors mean.
"""

import json
import os

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

MAX_TOKENS = 32
VOCAB_ROWS = 256  # rows of the embedding tables; unused rows stay reserved
T5_DIM = 128

SPECIAL = ["<pad>", "</s>", "<unk>"]
PAD, EOS, UNK = 0, 1, 2

# Append new words at the end only: a word's id decides its random embedding.
WORDS = (
    # function words
    "a an the on and above below at in of to with under over beside between near next from by is are "
    "into one two three four five six seven eight nine zero digit number "
    # colours
    "red orange yellow green cyan blue purple pink white black grey brown teal gold silver violet magenta lime "
    # sizes
    "large small big tiny huge medium "
    # shapes
    "circle square triangle star ring heart cross moon diamond hexagon pentagon ellipse flower drop arrow "
    "cube ball sphere bar leaf cloud "
    # positions
    "left right centre center top bottom middle side corner upper lower "
    # backgrounds
    "day sunset night forest desert sea snow dawn mountain mountains city sky space grass field beach lake "
    "hills plain storm sun rain fog autumn spring summer winter water sand ice "
    # patterns and textures
    "stripes dots checks waves tiles bricks grid noise paper wood stone marble zigzag diagonal vertical "
    "horizontal gradient pattern background plaid rays squares "
    # motions
    "moving bouncing rotating spinning growing shrinking still up down slowly quickly fast slow falling "
    "rising turning swinging drifting flying rolling jumping orbiting around along across back forth then "
    "while clockwise counterclockwise "
    # styles and qualities
    "bright dark light soft shiny glowing striped dotted plain flat textured blurry sharp colourful colorful "
    "solid outlined filled photo picture image video clip scene drawing"
).split()


def vocabulary() -> dict[str, int]:
    """Word -> id; special tokens come first, duplicates are dropped."""
    words = list(dict.fromkeys(SPECIAL + WORDS))
    assert len(words) <= VOCAB_ROWS
    return {word: index for index, word in enumerate(words)}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Lower-casing word tokenizer that appends </s> and pads with <pad>."""
    core = Tokenizer(models.WordLevel(vocabulary(), unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", EOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_TOKENS,
        padding_side="right",
        truncation_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )


def _offset_bias(heads: int, buckets: int) -> torch.Tensor:
    """Relative-position bias (buckets, heads): every head looks at one place.

    Buckets below ``buckets // 2`` are keys at or before the query (bucket n is
    n tokens back for small n), the others are keys after it.
    """
    half = buckets // 2
    bias = torch.full((buckets, heads), -8.0)
    looks = [[1], [2], [half + 1], [half + 2], [3], range(1, half), range(half + 1, buckets), range(buckets)]
    for head in range(heads):
        bias[list(looks[head % len(looks)]), head] = 4.0
    return bias


@torch.no_grad()
def _make(model_class, config_class, seed: int):
    """Frozen encoder (128 channels, 2 layers): unit-variance embeddings, variance-keeping layers, positional heads."""
    model = model_class(config_class(
        vocab_size=VOCAB_ROWS, d_model=T5_DIM, d_kv=16, d_ff=256, num_layers=2, num_heads=8,
        feed_forward_proj="gated-gelu", dropout_rate=0.0, pad_token_id=PAD, eos_token_id=EOS,
        is_encoder_decoder=False, use_cache=False,
    ))
    gen = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if "layer_norm" in name:
            weight.fill_(1.0)
        elif "relative_attention_bias" in name:
            weight.copy_(_offset_bias(weight.shape[1], weight.shape[0]))
        elif "shared" in name or "embed_tokens" in name:
            weight.copy_(torch.randn(weight.shape, generator=gen))
        else:
            gain = 0.25 if name.endswith((".q.weight", ".k.weight")) else 0.8
            weight.copy_(torch.randn(weight.shape, generator=gen) * gain * weight.shape[1] ** -0.5)
    return model.to(torch.bfloat16).eval().requires_grad_(False)


def make_t5() -> T5EncoderModel:
    """PixArt's frozen text encoder, in bf16 as it is saved."""
    return _make(T5EncoderModel, T5Config, seed=101)


def make_umt5() -> UMT5EncoderModel:
    """Wan's frozen text encoder, in bf16 as it is saved."""
    return _make(UMT5EncoderModel, UMT5Config, seed=102)


def tokenize(tokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids (batch, MAX_TOKENS)."""
    return tokenizer(captions, padding="max_length", max_length=MAX_TOKENS, truncation=True,
                     return_tensors="pt").input_ids


def mask_of(ids: torch.Tensor) -> torch.Tensor:
    """Attention mask of padded token ids."""
    return (ids != PAD).long()


@torch.no_grad()
def drop_captions(ids: torch.Tensor, rate: float = 0.1) -> torch.Tensor:
    """Replace a random share of the captions by the empty caption (</s> only)."""
    empty = torch.full_like(ids, PAD)
    empty[:, 0] = EOS
    drop = torch.rand(len(ids), 1, device=ids.device) < rate
    return torch.where(drop, empty, ids)


def fix_tokenizer_class(folder: str) -> None:
    """Record the version-independent tokenizer class name in a saved pipeline folder."""
    name = "PreTrainedTokenizerFast"
    for path, key, value in (("model_index.json", "tokenizer", ["transformers", name]),
                             ("tokenizer/tokenizer_config.json", "tokenizer_class", name)):
        path = os.path.join(folder, path)
        with open(path) as file:
            table = json.load(file)
        table[key] = value
        with open(path, "w") as file:
            json.dump(table, file, indent=2)
