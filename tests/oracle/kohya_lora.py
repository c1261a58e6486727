"""kohya-ss/sd-scripts as the judge of our LoRA files. Holds none of its code.

    git clone https://github.com/kohya-ss/sd-scripts
    pip install opencv-python-headless einops toml voluptuous imagesize
    SD_SCRIPTS_DIR=sd-scripts python -m pytest -s -m download tests/oracle/kohya_lora.py

The figures seen are in docs/oracles.md.
"""

import ast
import hashlib
import importlib
import os
import sys
from io import BytesIO
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from tests.trainer.weights import tiny_models
from trainer.families.sd import NAMING as SD
from trainer.weights import files, layouts
from trainer.weights.attach import _matching
from trainer.weights.layouts import Weights

pytestmark = [
    pytest.mark.download,
    pytest.mark.filterwarnings("ignore"),
]


class Wrapped(nn.Module):
    """CLIP as it was before transformers 5, which sd-scripts expects."""

    def __init__(self, text_model):
        super().__init__()
        self.text_model = text_model

    def forward(self, tokens):
        return self.text_model(tokens)


@pytest.fixture(scope="module")
def checkout():
    return Path(os.environ["SD_SCRIPTS_DIR"])


@pytest.fixture(scope="module")
def peer(checkout):
    """The module networks.lora of sd-scripts."""
    sys.path.insert(0, str(checkout))
    return importlib.import_module("networks.lora")


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    return tiny_models.make_folder(place, **tiny_models.SHAPES[request.param])


def parts(model):
    return model.denoiser, Wrapped(model.text_encoders["text_encoder"])


def say(request, **figures):
    told = ", ".join(f"{name} {value:.3g}" for name, value in figures.items())
    sys.stdout.write(f"\n{request.node.name}: {told}\n")


@pytest.mark.parametrize("targets", ["attention", "linear", "linear+conv"])
def test_sd_scripts_computes_what_the_trained_model_does(peer, folder, tmp_path, targets, request):
    model = tiny_models.load(folder)
    base = tiny_models.answer(*parts(model))
    adapter = tiny_models.adapted(model, targets=targets)
    trained = tiny_models.answer(*parts(model))
    path = tmp_path / "lora.safetensors"
    weights = Weights(adapter.state(), adapter.alphas())
    files.export(path, weights, tiny_models.about(), SD, precision="fp32")

    unet, words = parts(tiny_models.load(folder))
    network, loaded = peer.create_network_from_weights(1.0, str(path), None, words, unet)
    network.apply_to(words, unet, apply_text_encoder=True, apply_unet=True)
    fit = network.load_state_dict(loaded, strict=False)
    seen = tiny_models.answer(unet, words)

    moved, off = (trained - base).abs().max().item(), (seen - trained).abs().max().item()
    say(request, modules=len(adapter.modules), moved=moved, off=off)
    assert fit.missing_keys == []
    assert fit.unexpected_keys == []
    assert len(network.unet_loras) + len(network.text_encoder_loras) == len(adapter.modules)
    assert moved > 1e-2
    assert off <= 1e-5


def test_what_sd_scripts_trained_is_read(peer, folder, tmp_path, request):
    unet, words = parts(tiny_models.load(folder))
    base = tiny_models.answer(unet, words)
    network = peer.create_network(1.0, 4, 2.0, None, words, unet, conv_dim=4, conv_alpha=2.0)
    network.apply_to(words, unet, apply_text_encoder=True, apply_unet=True)
    torch.manual_seed(6)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    trained = tiny_models.answer(unet, words)
    path = tmp_path / "theirs.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)

    back = files.read(path).weights(SD)
    model = tiny_models.load(folder)
    config = tiny_models.LoraConfig(rank=4, alpha=2.0, targets="linear+conv")
    every = r".*\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
    model.text_targets = dict.fromkeys(model.text_encoders, every)
    adapter = tiny_models.attach(model, config, text_encoders=model.text_encoders, seed=1)
    adapter.load_state(back.tensors)
    seen = tiny_models.answer(*parts(model))

    moved, off = (trained - base).abs().max().item(), (seen - trained).abs().max().item()
    say(request, modules=len(adapter.modules), moved=moved, off=off)
    assert back.alphas == adapter.alphas()
    assert moved > 1e-2
    assert off <= 1e-5


@pytest.mark.parametrize(("width", "linear"), [(768, False), (1024, True)])
def test_names_for_the_real_unet_are_sd_scripts_own(peer, width, linear, request):
    """Both UNets at full size on the meta device: theirs names modules, ours is exported."""
    from diffusers import UNet2DConditionModel

    theirs = importlib.import_module("library.original_unet")
    with torch.device("meta"):
        unet = theirs.UNet2DConditionModel(64, 8, width, use_linear_projection=linear)
        own = UNet2DConditionModel(cross_attention_dim=width, use_linear_projection=linear)
        network = peer.LoRANetwork([], unet, lora_dim=1, alpha=1.0, conv_lora_dim=1, conv_alpha=1.0)
    paths = _matching(own, tiny_models.Sd.targets["linear+conv"])
    ours = Weights(
        {f"denoiser.{p}.lora_{x}": torch.ones(1, 1) for p in paths for x in "AB"},
        {f"denoiser.{p}": 1.0 for p in paths},
    )
    names = {key.partition(".")[0] for key in layouts.to_kohya(ours, SD)}
    say(request, modules=len(names))
    assert names == {lora.lora_name for lora in network.unet_loras}


def test_hashes_are_sd_scripts_own(checkout, tmp_path):
    """Its train_util cannot be imported beside transformers 5, so three functions are cut out."""
    wanted = {
        "precalculate_safetensors_hashes",
        "addnet_hash_legacy",
        "addnet_hash_safetensors",
    }
    tree = ast.parse((checkout / "library" / "train_util.py").read_text(encoding="utf-8"))
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in wanted]
    theirs = {"hashlib": hashlib, "BytesIO": BytesIO, "safetensors": safetensors}
    exec(compile(tree, "train_util", "exec"), theirs)

    key = "denoiser.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{key}.lora_A": torch.randn(32, 9000), f"{key}.lora_B": torch.randn(9000, 32)}
    path = tmp_path / "lora.safetensors"
    files.export(path, Weights(tensors, {key: 16.0}), tiny_models.about(), SD, precision="fp32")
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    loaded = safetensors.torch.load_file(path)
    told = (metadata["sshs_model_hash"], metadata["sshs_legacy_hash"])
    assert told == theirs["precalculate_safetensors_hashes"](loaded, metadata)
