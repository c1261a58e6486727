"""SDXL and FLUX models of any size with random weights, in Diffusers format: for measuring only."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from random_model import TOKENS, make_tokenizer

T5_TOKENS = 32128
HEAD = 128
SHARD = 2 * 2**30
"""Bytes of a file."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a model: FLUX's width is 3072 with 19 and 38 blocks; SDXL's is 320."""

    width: int
    double: int = 0
    single: int = 0
    words: int = 1024
    text_layers: int = 4

    @property
    def name(self) -> str:
        """Names its folder."""
        return f"{self.width}-{self.double}-{self.single}-{self.words}-{self.text_layers}"


def make_flux(cache: Path, size: Size) -> Path:
    """A FLUX.1 dev of this size in bf16, made once; T5 as wide as `words`."""
    folder = cache / f"flux-{size.name}"
    if (folder / "model_index.json").exists():
        return folder
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
    from transformers import CLIPTextModel, T5Config, T5EncoderModel

    with torch.device("meta"):
        transformer = FluxTransformer2DModel(
            num_layers=size.double,
            num_single_layers=size.single,
            num_attention_heads=size.width // HEAD,
            joint_attention_dim=size.words,
            guidance_embeds=True,
        )
        t5 = T5EncoderModel(
            T5Config(
                vocab_size=T5_TOKENS,
                d_model=size.words,
                d_kv=64,
                d_ff=5 * size.words // 2,
                num_layers=size.text_layers,
                num_heads=size.words // 64,
                feed_forward_proj="gated-gelu",
                is_encoder_decoder=False,
                use_cache=False,
            )
        )
        clip = CLIPTextModel(_clip(768, layers=12))
        vae = make_vae(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159)
    return _write(
        "FluxPipeline",
        {"transformer": transformer, "text_encoder": clip, "text_encoder_2": t5, "vae": vae},
        folder,
        cache,
        tokenizer_2=_t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )


def make_sdxl(cache: Path, size: Size) -> Path:
    """An SDXL of this width in bf16, made once; its second text encoder as wide as `words`."""
    folder = cache / f"sdxl-{size.name}"
    if (folder / "model_index.json").exists():
        return folder
    import torch
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    width = size.width
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(width, 2 * width, 4 * width),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=2,
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(width // 64, width // 32, width // 16),
            cross_attention_dim=768 + size.words,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=6 * 256 + size.words,
        )
        second = _clip(size.words, layers=size.text_layers, hidden_act="gelu")
        parts = {
            "unet": unet,
            "text_encoder": CLIPTextModel(_clip(768, layers=12)),
            "text_encoder_2": CLIPTextModelWithProjection(second),
            "vae": make_vae(latent_channels=4, scaling_factor=0.13025),
        }
    return _write(
        "StableDiffusionXLPipeline",
        parts,
        folder,
        cache,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    )


def make_vae(**settings: Any) -> Any:
    """The VAE that all families have, but for the latents."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        sample_size=1024,
        **settings,
    )


def _clip(width: int, *, layers: int, **settings: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=TOKENS,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
        bos_token_id=TOKENS - 2,
        eos_token_id=TOKENS - 1,
        pad_token_id=TOKENS - 1,
        **settings,
    )


def _t5_tokenizer() -> Any:
    """T5's count of tokens, of which only letters are ever met."""
    from transformers import T5TokenizerFast

    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -6.0) for letter in ("▁", *map(chr, range(33, 127)))]
    left = T5_TOKENS - len(marks) - len(letters)
    unused = [(f"unused{number}", -20.0) for number in range(left)]
    return T5TokenizerFast(vocab=[*marks, *letters, *unused], extra_ids=0, model_max_length=512)


def _write(pipeline: str, parts: dict[str, Any], folder: Path, cache: Path, **more: Any) -> Path:
    """The folder of a pipeline whose networks lie on torch's meta device, filled at random."""
    from transformers import CLIPTokenizer

    new = folder.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    words = make_tokenizer(cache)
    names = ["tokenizer", "tokenizer_2"] if "unet" in parts else ["tokenizer"]
    for name in names:
        shutil.copytree(words, new / name)
    for name, part in more.items():
        part.save_pretrained(new / name)
    for name, network in parts.items():
        write_random(network, new / name)
    kinds = dict.fromkeys(names, CLIPTokenizer) | {n: type(p) for n, p in (more | parts).items()}
    index = {name: [kind.__module__.split(".")[0], kind.__name__] for name, kind in kinds.items()}
    text = json.dumps({"_class_name": pipeline} | index, indent=1)
    (new / "model_index.json").write_text(text, encoding="utf-8")
    new.rename(folder)
    return folder


def write_random(network: Any, folder: Path) -> None:
    """The network's configuration and weights at random in bf16, shard by shard.

    No more than a shard is in memory, so that 12 B parameters can be written on a small machine.
    The numbers are cut out of one pool, which is much faster than drawing each.
    """
    import torch
    from diffusers import ModelMixin
    from safetensors.torch import save_file

    pool = torch.randn(2**24, generator=torch.Generator().manual_seed(0)).bfloat16()
    plain = isinstance(network, ModelMixin)
    if not plain:  # else the library notes it when it writes the weights
        network.config.architectures = [type(network).__name__]
    (network.save_config if plain else network.config.save_pretrained)(folder)
    stem = "diffusion_pytorch_model" if plain else "model"
    shards: list[dict[str, Any]] = [{}]
    offset = size = 0
    listed: dict[str, str] = {}

    def flush() -> None:
        file = f"{stem}-{len(shards):05d}.safetensors"
        save_file(shards[-1], folder / file)
        listed.update(dict.fromkeys(shards[-1], file))
        shards[-1].clear()

    tied = getattr(network, "all_tied_weights_keys", None) or ()
    for name, empty in network.state_dict().items():
        if name in tied:
            continue
        count = empty.numel()
        if empty.ndim == 1:
            tensor = torch.full(empty.shape, float(name.endswith("weight")), dtype=torch.bfloat16)
        else:
            offset = (offset + 7919) % 2**20
            numbers = pool[offset:].repeat(count // (len(pool) - offset) + 1)[:count]
            tensor = numbers.mul(0.6 * (empty[0].numel()) ** -0.5).view(empty.shape)
        if size + 2 * count > SHARD and shards[-1]:
            flush()
            shards.append({})
            size = 0
        shards[-1][name] = tensor.contiguous()
        size += 2 * count
    flush()
    text = json.dumps({"metadata": {}, "weight_map": listed})
    (folder / f"{stem}.safetensors.index.json").write_text(text, encoding="utf-8")
