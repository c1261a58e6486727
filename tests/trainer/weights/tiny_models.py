"""Tiny Stable Diffusion models of random weights, and adapters with something in them."""

import copy
import functools
import json

import torch

from trainer.adapters.lora import LoraConfig
from trainer.core.device import Plan
from trainer.families.sd import Sd, SdConfig
from trainer.weights.attach import attach
from trainer.weights.metadata import About

SHAPES = {
    "sd1": {"cross_attention_dim": 32, "use_linear_projection": False},
    "sd2": {"cross_attention_dim": 1024, "use_linear_projection": True},
}
"""What tells the generations apart: width of the text, and 1x1 convolutions or linear layers."""


def load(folder, precision="fp32"):
    """A model of its own, copied from one that was read once."""
    return copy.deepcopy(_read(folder, precision))


@functools.cache
def _read(folder, precision):
    return Sd(SdConfig(base=str(folder), resolution=64), Plan("cpu", precision))


def make_folder(folder, *, cross_attention_dim, use_linear_projection):
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
    from diffusers import UNet2DConditionModel as Unet

    torch.manual_seed(1)
    unet = Unet(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=cross_attention_dim,
        use_linear_projection=use_linear_projection,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=make_text_encoder(cross_attention_dim),
        tokenizer=make_tokenizer(folder / "words"),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "model")
    return folder / "model"


def make_text_encoder(width):
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=6,
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=8,
            bos_token_id=4,
            eos_token_id=5,
        )
    )


def make_tokenizer(folder):
    from transformers import CLIPTokenizer

    folder.mkdir()
    words = ["a</w>", "d", "o", "g</w>", "<|startoftext|>", "<|endoftext|>"]
    vocab = folder / "vocab.json"
    merges = folder / "merges.txt"
    vocab.write_text(json.dumps({word: index for index, word in enumerate(words)}))
    merges.write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=8)


def randomise(adapter, size=0.3):
    """Non-zero A and B: the zero B of a fresh adapter hides every mistake."""
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws) * size)
    return adapter


def answer(unet, text_encoder):
    """What the two networks make of fixed inputs: `(1, 4, 8, 8)`, fp32."""
    draws = torch.Generator().manual_seed(3)
    noisy = torch.randn(1, 4, 8, 8, generator=draws)
    tokens = torch.tensor([[4, 0, 1, 2, 3, 5, 5, 5]])
    with torch.no_grad():
        words = text_encoder(tokens)[0]
        return unet(noisy.to(unet.dtype), torch.tensor(500), words.to(unet.dtype))[0].float()


def adapted(model, *, targets="linear+conv", rank=4, alpha=2.0):
    """An adapter on everything that can carry one, doing something, with alpha != rank."""
    config = LoraConfig(rank=rank, alpha=alpha, targets=targets)
    return randomise(attach(model, config, text_encoders=model.text_encoders, seed=5))


def about(**changes):
    """A made-up origin."""
    values = {
        "name": "shiro",
        "epoch": 3,
        "epochs": 10,
        "step": 30,
        "steps": 100,
        "seed": 11,
        "started": 1_760_000_000.5,
        "saved": 1_760_000_900.25,
        "modelspec": {
            "ss_base_model_version": "sd_v1",
            "ss_v2": "False",
            "modelspec.architecture": "stable-diffusion-v1/lora",
            "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": "epsilon",
        },
        "base_hash": "ab" * 32,
        "resolution": 512,
        "trigger": "sks",
        "images": 5,
        "shown": 10,
        "captions": 4,
        "tags": {"a dog": 4, "wiese, grün": 1},
        "buckets": {(512, 512): 3, (448, 576): 2},
        "learning_rate": 1e-4,
        "text_learning_rate": None,
        "job": {"name": "shiro", "adapter": {"rank": 4}},
    }
    return About(**{**values, **changes})
