"""Tiny random models of families that only the tests of this folder need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import tiny_t5_tokenizer, tiny_tokenizer, tiny_vae, tiny_words


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory):
    """A random Stable Diffusion 3.5 medium in Diffusers format, 2 MB."""
    return write_tiny_sd3(tmp_path_factory.mktemp("models") / "tiny-sd3")


@pytest.fixture(scope="session")
def tiny_sd35_large(tmp_path_factory):
    """The same, of large's kind: each block attends once."""
    folder = tmp_path_factory.mktemp("models") / "tiny-sd35-large"
    return write_tiny_sd3(folder, dual_attention_layers=())


@pytest.fixture(scope="session")
def tiny_sd3_medium(tmp_path_factory):
    """The same, of the first SD3's kind, as published without T5."""
    folder = tmp_path_factory.mktemp("models") / "tiny-sd3-medium"
    return write_tiny_sd3(folder, t5=False, dual_attention_layers=(), qk_norm=None)


def write_tiny_sd3(folder: Path, *, t5: bool = True, seed: int = 0, **settings: Any) -> Path:
    """Write a whole `StableDiffusion3Pipeline` of random weights; the same for the same seed.

    Transformer: three blocks of width 32, the first two with a second attention. VAE: 16 channels
    at half the picture's size, with shift and scale. Words: CLIPs of width 16 and 24, T5 of 64.

    Args:
        folder: Made new.
        t5: Whether the third text encoder is there.
        seed: Of the weights.
        settings: Of the transformer, instead of those of 3.5 medium's kind.
    """
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel

    first = tiny_tokenizer(folder / "tokenizer")
    second = tiny_tokenizer(folder / "tokenizer_2", pad_token="!")
    third = tiny_t5_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = tiny_sd3_transformer(**settings)
        vae = tiny_vae(latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609)
        clip = CLIPTextModelWithProjection(
            tiny_words(first, hidden_size=16, num_hidden_layers=3, projection_dim=16)
        )
        clip_2 = CLIPTextModelWithProjection(
            tiny_words(second, hidden_size=24, hidden_act="gelu", projection_dim=24)
        )
        encoder = T5EncoderModel(
            T5Config(
                vocab_size=len(third),
                d_model=64,
                d_kv=8,
                d_ff=64,
                num_layers=2,
                num_heads=4,
                feed_forward_proj="gated-gelu",
                is_encoder_decoder=False,
                use_cache=False,
            )
        )
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=clip,
        tokenizer=first,
        text_encoder_2=clip_2,
        tokenizer_2=second,
        text_encoder_3=encoder if t5 else None,
        tokenizer_3=third if t5 else None,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_sd3_transformer(**settings: Any) -> Any:
    """Three joint blocks of width 32; `settings` replace those of 3.5 medium's kind."""
    from diffusers import SD3Transformer2DModel

    plain: dict[str, Any] = {
        "sample_size": 32,
        "num_layers": 3,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 64,
        "caption_projection_dim": 32,
        "pooled_projection_dim": 40,
        "pos_embed_max_size": 48,
        "dual_attention_layers": (0, 1),
        "qk_norm": "rms_norm",
    }
    return SD3Transformer2DModel(**(plain | settings))
