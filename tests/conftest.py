"""What tests share: an offline, quiet, two-threaded torch; tiny real models; small pictures."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "2")

import hypothesis
import pytest

from tests.browser import CHROMIUM, FLAGS

hypothesis.settings.register_profile("CI", derandomize=True)
if os.environ.get("CI"):  # the same tree gets the same answer; people's machines go on searching
    hypothesis.settings.load_profile("CI")

WORDS = ("a</w>", "photo</w>", "of</w>", "sks</w>", "fox</w>", "dog</w>", "red</w>", "cat</w>")
"""Whole words of the tiny tokenizer; everything else falls to its letters."""

MakePictures = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Stable Diffusion model in Diffusers format, 3.5 MB, that answers the noise."""
    return write_tiny_sd(tmp_path_factory.mktemp("models") / "tiny-sd")


@pytest.fixture(scope="session")
def tiny_sd_v(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, answering the velocity."""
    folder = tmp_path_factory.mktemp("models") / "tiny-sd-v"
    return write_tiny_sd(folder, prediction="v_prediction")


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random FLUX.1 dev model in Diffusers format, 1.6 MB."""
    return write_tiny_flux(tmp_path_factory.mktemp("models") / "tiny-flux")


@pytest.fixture(scope="session")
def tiny_schnell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, of schnell's kind: no guidance embedding, times that are not shifted."""
    folder = tmp_path_factory.mktemp("models") / "tiny-schnell"
    return write_tiny_flux(folder, schnell=True)


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Stable Diffusion XL model in Diffusers format, 6 MB, that answers the noise."""
    return write_tiny_sdxl(tmp_path_factory.mktemp("models") / "tiny-sdxl")


@pytest.fixture
def pictures(tmp_path: Path) -> MakePictures:
    """`pictures(count=4, size=(64, 64))`: a folder of random pictures with captions."""

    def make(
        count: int = 4,
        size: tuple[int, int] = (64, 64),
        *,
        name: str = "pictures",
        captions: bool = True,
        seed: int = 0,
    ) -> Path:
        folder = tmp_path / name
        write_pictures(folder, count, size, captions=captions, seed=seed)
        return folder

    return make


@pytest.fixture(scope="module")
def browser():
    """A real Chromium. Of a module, not of the session: while it is open, no other may be."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def namespaces():
    """The names of two network namespaces, in which processes see no network."""
    names = [f"sweetspot-{os.getpid()}-{n}" for n in range(2)]
    made = []
    try:
        for name in names:
            done = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr.decode().strip()}")
            made.append(name)
        yield names
    except FileNotFoundError:
        pytest.skip("no network namespaces here: `ip` is missing")
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def write_tiny_sd(folder: Path, *, prediction: str = "epsilon", seed: int = 0) -> Path:
    """Write a whole `StableDiffusionPipeline` of random weights; the same for the same seed.

    UNet: 32 and 64 channels on two levels, cross-attention of width 32. VAE: 8 and 16 channels on
    two levels, so that latents are half the picture's size. CLIP: width 32, two layers.
    """
    import torch
    from diffusers import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion import StableDiffusionPipeline
    from transformers import CLIPTextModel

    tokenizer = tiny_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=32,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
        )
        vae = tiny_vae()
        text_encoder = CLIPTextModel(tiny_words(tokenizer))
    parts: dict[str, Any] = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer}
    pipeline = StableDiffusionPipeline(
        **parts,
        unet=unet,
        scheduler=tiny_scheduler(prediction_type=prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def write_tiny_flux(folder: Path, *, schnell: bool = False, seed: int = 0) -> Path:
    """Write a whole `FluxPipeline` of random weights; the same for the same seed.

    Transformer: one double and two single blocks of width 32. VAE: 16 channels at half the
    picture's size, with shift and scale. CLIP and T5: width 32, two layers.
    """
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, T5Config, T5EncoderModel

    tokenizer, tokenizer_2 = tiny_tokenizer(folder / "tokenizer"), tiny_t5_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = FluxTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            guidance_embeds=not schnell,
            axes_dims_rope=(4, 6, 6),
        )
        vae = tiny_vae(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159)
        text_encoder = CLIPTextModel(tiny_words(tokenizer))
        text_encoder_2 = T5EncoderModel(
            T5Config(
                vocab_size=len(tokenizer_2),
                d_model=32,
                d_kv=8,
                d_ff=64,
                num_layers=2,
                num_heads=4,
                feed_forward_proj="gated-gelu",
                is_encoder_decoder=False,
                use_cache=False,
            )
        )
    shifts = {"shift": 1.0} if schnell else {"shift": 3.0, "use_dynamic_shifting": True}
    pipeline = FluxPipeline(
        vae=vae,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(**shifts),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def write_tiny_sdxl(folder: Path, *, seed: int = 0, **scheduling: Any) -> Path:
    """Write a whole `StableDiffusionXLPipeline` of random weights; the same for the same seed.

    Words of width 32 + 64. The first text encoder has three layers, since the last one's words are
    not used.

    Args:
        folder: Made new.
        seed: Of the weights.
        scheduling: Settings of the scheduler, such as `prediction_type`.
    """
    import torch
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first = tiny_tokenizer(folder / "tokenizer")
    second = tiny_tokenizer(folder / "tokenizer_2", pad_token="!")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pipeline = StableDiffusionXLPipeline(
            vae=tiny_vae(),
            text_encoder=CLIPTextModel(tiny_words(first, num_hidden_layers=3)),
            text_encoder_2=CLIPTextModelWithProjection(
                tiny_words(second, hidden_size=64, hidden_act="gelu", projection_dim=48)
            ),
            tokenizer=first,
            tokenizer_2=second,
            unet=tiny_sdxl_unet(),
            scheduler=tiny_scheduler(**scheduling),
            add_watermarker=False,
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_sdxl_unet(**settings: Any) -> Any:
    """SDXL's three levels of two resnets: 16, 32 and 32 channels, none, one and two transformers.

    `settings` replace those of width.
    """
    from diffusers import UNet2DConditionModel

    plain: dict[str, Any] = {
        "block_out_channels": (16, 32, 32),
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (2, 4, 4),
        "cross_attention_dim": 96,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(
        sample_size=32,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 48,
        **(plain | settings),
    )


def tiny_vae(**settings: Any) -> Any:
    """8 and 16 channels on two levels: latents are half the picture's size."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        **({"latent_channels": 4} | settings),
    )


def tiny_words(tokenizer: Any, **settings: Any) -> Any:
    """A CLIP text encoder's configuration for the tokenizer: width 32, two layers."""
    from transformers import CLIPTextConfig

    plain: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 32,
    }
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **(plain | settings),
    )


def tiny_scheduler(**settings: Any) -> Any:
    """Stable Diffusion's timesteps."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        **settings,
    )


def tiny_t5_tokenizer() -> Any:
    """A T5 tokenizer (unigram) that knows a few words and the printable letters."""
    from transformers import T5TokenizerFast

    words = [f"▁{word.removesuffix('</w>')}" for word in WORDS]
    letters = ["▁", *map(chr, range(33, 127))]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    known = [*((w, -2.0) for w in words), *((letter, -6.0) for letter in letters)]
    return T5TokenizerFast(vocab=[*special, *known], extra_ids=0, model_max_length=512)


def tiny_tokenizer(folder: Path, **settings: Any) -> Any:
    """A CLIP tokenizer that knows the bytes and a few words."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for word in WORDS:
        pieces = [*word.removesuffix("</w>")]
        pieces[-1] += "</w>"
        while len(pieces) > 1:
            merge, joined = f"{pieces[0]} {pieces[1]}", pieces[0] + pieces[1]
            if merge not in merges:
                merges.append(merge)
                tokens.append(joined)
            pieces[:2] = [joined]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77, **settings
    )


def write_pictures(
    folder: Path, count: int, size: tuple[int, int], *, captions: bool = True, seed: int = 0
) -> None:
    """Smooth random pictures `00.png`, `01.png`, ... of `size` (width, height), px."""
    from PIL import Image

    chance = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = Image.frombytes("RGB", (4, 4), chance.randbytes(48))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
        if captions:
            animal = chance.choice(("fox", "dog", "cat"))
            caption = f"a photo of sks {animal}, number {number}"
            (folder / f"{number:02}.txt").write_text(caption, encoding="utf-8")
