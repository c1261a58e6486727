"""kohya-ss/sd-scripts as the judge of our FLUX.1 files, on its own transformer. None of its code.

Set up as tests/oracle/kohya_lora.py says, then

    SD_SCRIPTS_DIR=sd-scripts python -m pytest -s -m download tests/oracle/kohya_flux.py

The figures seen are in docs/oracles.md.
"""

import importlib
import re
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.conftest import write_tiny_flux
from tests.oracle.kohya_lora import Wrapped, checkout, say
from tests.trainer.weights.tiny_models import about, randomise
from trainer.adapters.lora import LoraConfig
from trainer.core.device import Plan
from trainer.diffusion import patches
from trainer.engine.bank import Bank, Row
from trainer.families.flux import NAMING, Flux, FluxConfig
from trainer.weights import files, layouts
from trainer.weights.attach import _matching, attach
from trainer.weights.layouts import Weights

__all__ = ["checkout"]

pytestmark = [pytest.mark.download, pytest.mark.filterwarnings("ignore")]

NORMS = {
    r"transformer_blocks\.(\d+)\.attn\.norm_(.)\.weight": r"double_blocks.\1.img_attn.norm.\2",
    r"transformer_blocks\.(\d+)\.attn\.norm_added_(.)\.weight": (
        r"double_blocks.\1.txt_attn.norm.\2"
    ),
    r"single_transformer_blocks\.(\d+)\.attn\.norm_(.)\.weight": r"single_blocks.\1.norm.\2",
}
TIMES = torch.tensor([0.6])


@pytest.fixture(scope="module")
def peer(checkout):
    """The module networks.lora_flux of sd-scripts."""
    sys.path.insert(0, str(checkout))
    return importlib.import_module("networks.lora_flux")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_tiny_flux(tmp_path_factory.mktemp("models") / "tiny-flux")


@pytest.fixture(scope="module")
def make(peer):
    """Makes sd-scripts' transformer, empty and so deep."""
    module = importlib.import_module("library.flux_models")

    def make(depth, single):
        params = module.FluxParams(
            in_channels=64,
            vec_in_dim=32,
            context_in_dim=32,
            hidden_size=32,
            mlp_ratio=4.0,
            num_heads=2,
            depth=depth,
            depth_single_blocks=single,
            axes_dim=[4, 6, 6],
            theta=10_000,
            qkv_bias=True,
            guidance_embed=True,
        )
        return module.Flux(params).eval()

    return make


def load(folder):
    return FluxConfig(base=str(folder), resolution=64, max_tokens=16).load(Plan("cpu", "fp32"))


def fill(theirs, ours):
    """Our weights under the first code's names; that both then answer alike proves the names."""
    state, left = {}, ours.state_dict()
    (denoiser, *_) = NAMING.parts
    for original in denoiser.originals:
        for number in range(40):
            for end in ("weight", "bias"):
                keys = [f"{path.format(number)}.{end}" for path in original.members]
                if all(key in left for key in keys):
                    value = torch.cat([left.pop(key) for key in keys])
                    turned = torch.cat(value.chunk(2)[::-1]) if original.swapped else value
                    state[f"{original.name.format(number)}.{end}"] = turned
    for key, value in left.items():
        (name,) = [re.sub(o, n, key) for o, n in NORMS.items() if re.fullmatch(o, key)]
        word = {"q": "query_norm", "k": "key_norm"}[name[-1]]
        state[f"{name[:-1]}{word}.scale"] = value
    theirs.load_state_dict(state)
    return theirs


def answers(model, transformer=None):
    """The velocity that ours, or sd-scripts' transformer, sees after our text encoders."""
    noisy = torch.randn(1, 16, 8, 12, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        words = model.encode_captions(("a photo of sks fox",))
        if transformer is None:
            return model._answer(noisy, TIMES, words)
        told = transformer(
            img=patches.pack(noisy),
            img_ids=patches.places(8, 12)[None],
            txt=words["encoder_hidden_states"],
            txt_ids=torch.zeros(1, 16, 3),
            timesteps=TIMES,
            y=words["pooled_projections"],
            guidance=torch.tensor([1.0]),
        )
        return patches.unpack(told, 8, 12)


def largest(one, other):
    return (one - other).abs().max().item()


@pytest.mark.parametrize("targets", ["attention", "attention+ff", "linear"])
def test_sd_scripts_computes_what_the_trained_model_does(
    peer, make, folder, tmp_path, targets, request
):
    model = load(folder)
    theirs, base = fill(make(1, 2), model.denoiser), answers(model)
    apart = largest(answers(model, theirs), base)
    config = LoraConfig(rank=4, alpha=2.0, targets=targets)
    adapter = attach(model, config, text_encoders=("text_encoder",), seed=5)
    weights = Weights(randomise(adapter).state(), adapter.alphas())
    path, trained = tmp_path / "lora.safetensors", answers(model)
    told = about(modelspec=model.modelspec)
    files.export(path, weights, told, NAMING, precision="fp32")

    fresh = load(folder)
    texts = [Wrapped(fresh.text_encoders["text_encoder"]), fresh.text_encoders["text_encoder_2"]]
    network, loaded = peer.create_network_from_weights(1.0, str(path), None, texts, theirs)
    network.apply_to(texts, theirs, apply_text_encoder=True, apply_unet=True)
    fit = network.load_state_dict(loaded, strict=False)
    moved, off = largest(trained, base), largest(answers(fresh, theirs), trained)
    count = len(network.unet_loras) + len(network.text_encoder_loras)
    say(request, modules=len(adapter.modules), fused=count, apart=apart, moved=moved, off=off)
    assert fit.missing_keys == []
    assert fit.unexpected_keys == []
    assert count == len(files.read(path).pairs)
    assert apart <= 1e-5
    assert moved > 1e-2
    assert off <= 1e-5 * max(1.0, moved)


def test_what_sd_scripts_trained_is_read(peer, make, folder, tmp_path, request):
    model = load(folder)
    theirs, base = fill(make(1, 2), model.denoiser), answers(model)
    texts = [Wrapped(model.text_encoders["text_encoder"]), model.text_encoders["text_encoder_2"]]
    network = peer.create_network(1.0, 4, 2.0, None, texts, theirs, train_t5xxl="True")
    network.apply_to(texts, theirs, apply_text_encoder=True, apply_unet=True)
    torch.manual_seed(6)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    trained, path = answers(model, theirs), tmp_path / "theirs.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)

    fresh = load(folder)
    read = files.read(path).weights(NAMING)
    with Bank(fresh, {"theirs": read}).rows([Row("theirs", 1.0)]):
        moved, off = largest(trained, base), largest(answers(fresh), trained)
    fused, count = len(files.read(path).pairs), len(read.alphas)
    say(request, fused=fused, modules=count, moved=moved, off=off)
    assert fused == len(network.unet_loras) + len(network.text_encoder_loras)
    assert moved > 1e-2
    assert off <= 1e-5 * max(1.0, moved)


def test_names_for_the_real_transformer_are_sd_scripts_own(peer, make, request):
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        network = peer.LoRANetwork([], make(19, 38), lora_dim=1, alpha=1.0)
        own = FluxTransformer2DModel(
            attention_head_dim=16, num_attention_heads=2, axes_dims_rope=(4, 6, 6)
        )
    paths = [f"denoiser.{path}" for path in _matching(own, Flux.targets["linear"])]
    rows = {f"{path}.lora_{x}": torch.ones(1, 1) for path in paths for x in "AB"}
    tensors = layouts.to_kohya(Weights(rows, dict.fromkeys(paths, 1.0)), NAMING)
    names = {key.partition(".")[0] for key in tensors}
    say(request, modules=len(paths), fused=len(names))
    assert names == {lora.lora_name for lora in network.unet_loras}
