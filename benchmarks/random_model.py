"""An SD1.5-size model with random weights, and pictures to train it on: for timing only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

PICTURES = 4
TOKENS = 49408


def make_model(cache: Path) -> Path:
    """A model folder of SD1.5's sizes with random weights in fp32, made once."""
    folder = cache / "sd15-random"
    if (folder / "model_index.json").exists():
        return folder
    import torch
    from diffusers import (
        AutoencoderKL,
        DDPMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    words = make_tokenizer(cache)
    pipeline = StableDiffusionPipeline(
        unet=UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64),
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            sample_size=512,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=TOKENS,
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                projection_dim=768,
                bos_token_id=TOKENS - 2,
                eos_token_id=TOKENS - 1,
            )
        ),
        tokenizer=CLIPTokenizer.from_pretrained(words),
        scheduler=DDPMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    new = folder.with_name("new")
    pipeline.save_pretrained(new, max_shard_size="20GB")
    shutil.rmtree(new / "tokenizer")
    shutil.copytree(words, new / "tokenizer")
    new.rename(folder)
    return folder


def make_tokenizer(cache: Path) -> Path:
    """A CLIP tokenizer of the right size that spells letter by letter, under kohya's name."""
    folder = cache / "tokenizers" / "openai_clip-vit-large-patch14"
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    names = letters + [letter + "</w>" for letter in letters]
    names += [f"unused{number}" for number in range(TOKENS - 2 - len(names))]
    names += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    settings = special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def make_pictures(cache: Path, *, side: int) -> Path:
    """Smooth random pictures with captions, in a folder whose name kohya reads."""
    import numpy as np
    from PIL import Image

    folder = cache / "pictures" / "1000_sks dog"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        rough = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        rough.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder
