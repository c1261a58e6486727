"""ComfyUI's loader as the judge of our LoRA files, for every family. Holds none of its code.

    git clone https://github.com/Comfy-Org/ComfyUI
    pip install einops torchsde torchvision torchaudio sentencepiece
    COMFYUI_DIR=ComfyUI python -m pytest -s -m download tests/oracle/comfy_lora.py

The figures seen are in docs/oracles.md. Both sides have the published blocks, ComfyUI's models
of its own code and ours of Diffusers', on the meta device and some narrower. Each module of ours
has a rank and an alpha of its own.
"""

import importlib
import logging
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.oracle.kohya_lora import say
from tests.trainer.weights.tiny_models import about
from trainer.families import flux, sd, sdxl
from trainer.families.unet import Unet
from trainer.weights import files
from trainer.weights.layouts import Weights

pytestmark = [pytest.mark.download, pytest.mark.filterwarnings("ignore")]

LINEAR = (
    r"(single_)?transformer_blocks\..*|x_embedder|context_embedder|time_text_embed\..*|.*_out.*"
)
CLIP = r".*\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
WIDTHS = {"l": (768, 12), "g": (1280, 32), "h": (1024, 24)}
UNETS = {
    "sd1": ((1, 1, 1, 0), (1, 2, 4, 4), False, ("l",)),
    "sd2": ((1, 1, 1, 0), (1, 2, 4, 4), True, ("h",)),
    "sdxl": ((0, 2, 10), (1, 2, 4), True, ("l", "g")),
}
"""Transformers by level, channels by level, linear projections, text encoders."""


@dataclass
class Case:
    """One family: our modules, its naming, and ComfyUI's two models."""

    naming: object
    modules: dict
    model: nn.Module
    words: nn.Module
    clips: tuple


@pytest.fixture(scope="module")
def peer():
    """ComfyUI's packages by name, on the CPU."""
    sys.path.insert(0, str(Path(os.environ["COMFYUI_DIR"])))
    importlib.import_module("comfy.cli_args").args.cpu = True
    return lambda name: importlib.import_module(f"comfy.{name}")


@pytest.fixture(scope="module", params=[*UNETS, "flux"])
def case(request, peer):
    made = flux_case(peer) if request.param == "flux" else unet_case(peer, *UNETS[request.param])
    made.naming = {"flux": flux, "sdxl": sdxl}.get(request.param, sd).NAMING
    return made


def unet_case(peer, depths, channels, linear, clips):
    from diffusers import UNet2DConditionModel

    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=[32 * c for c in channels],
            down_block_types=down,
            up_block_types=[name.replace("Down", "Up") for name in reversed(down)],
            transformer_layers_per_block=[max(depth, 1) for depth in depths],
            attention_head_dim=8,
            cross_attention_dim=48,
            use_linear_projection=linear,
        )
    settings = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "num_res_blocks": [2] * len(depths),
        "channel_mult": list(channels),
        "transformer_depth": [depth for depth in depths for _ in range(2)],
        "transformer_depth_middle": max(depths[-1], 1),
        "transformer_depth_output": [depth for depth in depths for _ in range(3)],
        "use_linear_in_transformer": linear,
        "use_spatial_transformer": True,
        "context_dim": 48,
        "legacy": False,
        "dtype": torch.float32,
    }
    config = peer("supported_models").SD15(settings)
    model = peer("model_base").BaseModel(config, device="meta")
    text = {
        ("l",): ("sd1_clip", "SD1ClipModel"),
        ("h",): ("text_encoders.sd2_clip", "SD2ClipModel"),
        ("l", "g"): ("sdxl_clip", "SDXLClipModel"),
    }[clips]
    words = getattr(peer(text[0]), text[1])(device="meta", dtype=torch.float32)
    return Case(None, modules(unet, Unet.targets["linear+conv"], clips), model, words, clips)


def flux_case(peer):
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        network = FluxTransformer2DModel(
            attention_head_dim=16,
            num_attention_heads=2,
            axes_dims_rope=(4, 6, 6),
            joint_attention_dim=48,
            pooled_projection_dim=40,
            guidance_embeds=True,
        )
    settings = {
        "image_model": "flux",
        "in_channels": 16,
        "out_channels": 16,
        "patch_size": 2,
        "vec_in_dim": 40,
        "context_in_dim": 48,
        "hidden_size": 32,
        "mlp_ratio": 4.0,
        "num_heads": 2,
        "depth": 19,
        "depth_single_blocks": 38,
        "axes_dim": [4, 6, 6],
        "theta": 10000,
        "qkv_bias": True,
        "guidance_embed": True,
        "dtype": torch.float32,
    }
    config = peer("supported_models").Flux(settings)
    model = peer("model_base").Flux(config, device="meta")
    words = peer("text_encoders.flux").FluxClipModel(device="meta", dtype=torch.float32)
    return Case(None, modules(network, LINEAR, ("l",)), model, words, ("l",))


def modules(denoiser, pattern, clips):
    """Everything of ours that may carry a LoRA, by its name, without weights."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    found = {f"denoiser.{path}": module for path, module in layers(denoiser, pattern)}
    for part, clip in zip(("text_encoder", "text_encoder_2"), clips, strict=False):
        width, depth = WIDTHS[clip]
        config = CLIPTextConfig(
            hidden_size=width, intermediate_size=4 * width, num_hidden_layers=depth
        )
        with torch.device("meta"):
            words = (CLIPTextModelWithProjection if clip == "g" else CLIPTextModel)(config)
        found |= {f"{part}.{path}": module for path, module in layers(words, CLIP)}
    return found


def layers(network, pattern):
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and re.fullmatch(pattern, path):
            yield path, module


def drawn(case):
    """A LoRA on all of them; rank and alpha differ from module to module."""
    draws = torch.Generator().manual_seed(1)
    weights = Weights({}, {})
    for index, (name, module) in enumerate(case.modules.items()):
        rank, (out, *rest) = 2 + index % 3, module.weight.shape
        weights.tensors[f"{name}.lora_A"] = torch.randn(rank, *rest, generator=draws)
        b = torch.randn(out, rank, *[1 for _ in rest[1:]], generator=draws)
        weights.tensors[f"{name}.lora_B"] = b
        weights.alphas[name] = 1.0 + index % 2
    return weights


def load(peer, case, tensors, caplog):
    """What ComfyUI makes of a file: its patches by key, and the keys that it has no use for."""
    lora, keys = peer("lora"), {}
    keys = lora.model_lora_keys_unet(case.model, keys)
    keys = lora.model_lora_keys_clip(case.words, keys)
    with caplog.at_level(logging.WARNING):
        patches = lora.load_lora(peer("lora_convert").convert_lora(tensors), keys)
    unread = [r.getMessage() for r in caplog.records if "not loaded" in r.getMessage()]
    caplog.clear()
    placed, kept = {}, set()
    for network in (case.model, case.words):
        patcher = peer("model_patcher").ModelPatcher(network, "cpu", "cpu")
        kept |= set(patcher.add_patches(patches))
        placed |= patcher.patches
    unread += [f"NOT LOADED {key}" for key in patches if key not in kept]
    return placed, unread


def wanted(peer, case, name):
    """ComfyUI's key of one of our modules, and what its map does to the rows."""
    part, _, path = name.partition(".")
    if part != "denoiser":
        clip = case.clips[part == "text_encoder_2"]
        return f"clip_{clip}.transformer.text_model.{path.removeprefix('text_model.')}.weight", ()
    settings = case.model.model_config.unet_config
    utils = peer("utils")
    if "depth" in settings:
        found = utils.flux_to_diffusers(settings, output_prefix="diffusion_model.")[
            f"{path}.weight"
        ]
    else:
        found = "diffusion_model." + utils.unet_to_diffusers(settings)[f"{path}.weight"]
    return (found, ()) if isinstance(found, str) else (found[0], found[1:])


def differences(peer, case, weights, placed):
    """By module of ours: the largest difference of its update from ComfyUI's on its own weight."""
    own = {**case.model.state_dict(), **case.words.state_dict()}
    cache, found = {}, {}
    for name, a, b, alpha in weights:
        key, (place, *turn) = (lambda k, way: (k, way or (None,)))(*wanted(peer, case, name))
        if key not in placed:
            continue
        if key not in cache:
            cache.clear()
            zeros = torch.zeros(own[key].shape)
            cache[key] = peer("lora").calculate_weight(placed[key], zeros, key)
        theirs = cache[key].narrow(*place) if place else cache[key]
        theirs = turn[0](theirs) if turn else theirs
        update = (b.flatten(1) @ a.flatten(1)) * (alpha / a.shape[0])
        found[name] = (theirs.flatten(1) - update).abs().max().item()
        assert update.abs().max() > 0.1
    return found


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_comfyui_makes_our_updates_of_our_file(peer, case, tmp_path, layout, caplog, request):
    weights, path = drawn(case), tmp_path / "lora.safetensors"
    files.export(path, weights, about(), case.naming, layout=layout, precision="fp32")
    tensors = load_file(path)
    placed, unread = load(peer, case, dict(tensors), caplog)
    seen = differences(peer, case, weights, placed)
    say(
        request,
        keys=len(tensors),
        unread=len(unread),
        modules=len(weights.alphas),
        met=len(seen),
        off=max(seen.values()),
    )
    sys.stdout.write("".join(f"{line}\n" for line in unread[:3]))
    if layout == "diffusers" and case.naming is not flux.NAMING:
        assert unread
        assert all(re.search(r"unet\..*\.to_(q|k|v|out\.0)\.lora_", line) for line in unread)
    else:
        assert unread == []
        assert list(seen) == list(weights.alphas)
    assert max(seen.values()) < 1e-4
