"""kohya-ss/sd-scripts as the judge of our SD3 LoRA files, on its own MMDiT. Holds none of its code.

Set up as tests/oracle/kohya_lora.py says, then

    SD_SCRIPTS_DIR=sd-scripts python -m pytest -s -m download tests/oracle/kohya_sd3.py

Seen with sd-scripts 48d368f, diffusers 0.42.1, transformers 5.23: all pass. That version hands the
second attention of 3.5 medium the number of heads where its function takes their width (other
heads than Stability's and Diffusers', which differ from it by far more than rounding); it is told
the width here.
"""

import importlib
import sys

import pytest
import torch

from tests.oracle.kohya_lora import checkout, say
from tests.trainer.families.conftest import write_tiny_sd3
from tests.trainer.weights.tiny_models import about, randomise
from trainer.adapters.lora import LoraConfig
from trainer.core.device import Plan
from trainer.families.sd3 import NAMING, Sd3Config
from trainer.weights import files
from trainer.weights.attach import attach
from trainer.weights.files import read
from trainer.weights.layouts import Weights

__all__ = ["checkout"]

pytestmark = [pytest.mark.download, pytest.mark.filterwarnings("ignore")]

DEPTH, PLACES = 3, 48
NORMS = {
    "attn.norm_": "x_block.attn.ln_",
    "attn2.norm_": "x_block.attn2.ln_",
    "attn.norm_added_": "context_block.attn.ln_",
}
KINDS = {"3.5 medium": ((0, 1), "rms_norm"), "3.5 large": ((), "rms_norm"), "3": ((), None)}


@pytest.fixture(scope="module")
def peer(checkout):
    """The module networks.lora_sd3 of sd-scripts."""
    sys.path.insert(0, str(checkout))
    return importlib.import_module("networks.lora_sd3")


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    """Heads of 64 as many as blocks, since sd-scripts' MMDiT knows no other."""
    dual, norm = kind
    return write_tiny_sd3(
        tmp_path_factory.mktemp("sd3") / "model",
        num_layers=DEPTH,
        num_attention_heads=DEPTH,
        attention_head_dim=64,
        caption_projection_dim=64 * DEPTH,
        pos_embed_max_size=PLACES,
        dual_attention_layers=dual,
        qk_norm=norm,
    )


@pytest.fixture(scope="module")
def their_mmdit(peer, kind):
    """Makes sd-scripts' MMDiT with the weights of ours."""
    module = importlib.import_module("library.sd3_models")
    dual, norm = kind

    def make(ours):
        theirs = module.create_sd3_mmdit(
            module.SD3Params(
                patch_size=2,
                depth=DEPTH,
                num_patches=PLACES**2,
                pos_embed_max_size=PLACES,
                adm_in_channels=40,
                qk_norm="rms" if norm else None,
                x_block_self_attn_layers=list(dual),
                context_embedder_in_features=64,
                context_embedder_out_features=64 * DEPTH,
                model_type="",
            )
        ).eval()
        theirs.load_state_dict(dict(as_theirs(ours.state_dict())))
        for block in dual:
            second = theirs.joint_blocks[block].x_block.attn2
            second.num_heads = second.head_dim
        return theirs

    return make


def as_theirs(state):
    """Our weights by their names; that both then compute the same proves the names."""
    yield "pos_embed", state["pos_embed.pos_embed"]
    for block in range(DEPTH):
        for ours, theirs in NORMS.items():
            for letter in "qk":
                key = f"transformer_blocks.{block}.{ours}{letter}.weight"
                if key in state:
                    yield f"joint_blocks.{block}.{theirs}{letter}.weight", state[key]
    for original in NAMING.of_part("denoiser").originals:
        for block in range(DEPTH) if "{}" in original.name else ("",):
            members = [member.format(block) for member in original.members]
            if f"{members[0]}.weight" in state:
                yield from stacked(state, original, original.name.format(block), members)


def stacked(state, original, name, members):
    wide = state[f"{members[0]}.weight"].shape[1]
    for end in ("weight", "bias"):
        rows = torch.cat([state[f"{member}.{end}"] for member in members])
        swaps = original.swaps(len(rows), wide)
        yield f"{name}.{end}", torch.cat(rows.chunk(2)[::-1]) if swaps else rows


def load(folder):
    return Sd3Config(base=str(folder), resolution=64, max_tokens=16).load(Plan("cpu", "fp32"))


def words(model):
    with torch.no_grad():
        return model.encode_captions(("a photo of sks fox",))


def noisy():
    return torch.randn(1, 16, 8, 12, generator=torch.Generator().manual_seed(3))


def ours(model):
    with torch.no_grad():
        return model._answer(noisy(), torch.tensor([0.5]), words(model))


def theirs(model, mmdit):
    told = words(model)
    with torch.no_grad():
        return mmdit(
            noisy(),
            torch.tensor([500.0]),
            context=told["encoder_hidden_states"],
            y=told["pooled_projections"],
        )


def texts(model):
    return [model.text_encoders[name] for name in ("text_encoder", "text_encoder_2")] + [None]


@pytest.mark.parametrize("targets", ["attention", "linear", ".*"])
def test_sd_scripts_computes_what_the_trained_model_does(
    peer, their_mmdit, folder, tmp_path, targets, request
):
    model = load(folder)
    base = ours(model)
    mmdit = their_mmdit(model.denoiser)
    apart = (theirs(model, mmdit) - base).abs().max().item()
    config = LoraConfig(rank=4, alpha=2.0, targets=targets)
    adapter = randomise(attach(model, config, text_encoders=model.text_targets, seed=5), 0.1)
    trained = ours(model)
    path = tmp_path / "lora.safetensors"
    weights = Weights(adapter.state(), adapter.alphas())
    files.export(path, weights, about(modelspec=model.modelspec), NAMING, precision="fp32")

    fresh = load(folder)
    network, loaded = peer.create_network_from_weights(1.0, str(path), None, texts(fresh), mmdit)
    network.apply_to(texts(fresh), mmdit, apply_text_encoder=True, apply_unet=True)
    fit = network.load_state_dict(loaded, strict=False)
    seen = theirs(fresh, mmdit)

    moved, off = (trained - base).abs().max().item(), (seen - trained).abs().max().item()
    modules = len(network.unet_loras) + len(network.text_encoder_loras)
    say(request, modules=modules, apart=apart, moved=moved, off=off)
    assert fit.missing_keys == []
    assert fit.unexpected_keys == []
    assert modules == len(read(path).pairs)
    assert apart <= 1e-5
    assert moved > 1e-2
    assert off <= 1e-5 * max(1.0, moved)


def test_what_sd_scripts_trained_is_read(peer, their_mmdit, folder, tmp_path, request):
    fresh = load(folder)
    base = ours(fresh)
    mmdit = their_mmdit(fresh.denoiser)
    network = peer.create_network(1.0, 4, 2.0, None, texts(fresh), mmdit)
    network.apply_to(texts(fresh), mmdit, apply_text_encoder=True, apply_unet=True)
    torch.manual_seed(6)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
    trained = theirs(fresh, mmdit)
    path = tmp_path / "theirs.safetensors"
    files.write(path, dict(network.state_dict()), {})

    assert read(path).family == "Stable Diffusion 3/3.5"
    model = load(folder)
    every = dict.fromkeys(model.text_targets, r".*\.(self_attn\.\w+_proj|mlp\.fc[12])")
    model.text_targets = every
    config = LoraConfig(rank=4, alpha=4.0, targets=r"transformer_blocks\..*")
    adapter = attach(model, config, text_encoders=every, seed=1)
    weights = read(path).weights(NAMING)
    for module in adapter.modules:
        a, b = (weights.tensors[f"{module.name}.lora_{x}"] for x in "AB")
        module.layer.scaling["default"] = weights.alphas[module.name] / len(a)
        module.a.data, module.b.data = a, b
    seen = ours(model)

    moved, off = (trained - base).abs().max().item(), (seen - trained).abs().max().item()
    say(request, modules=len(adapter.modules), moved=moved, off=off)
    assert set(weights.alphas) == {module.name for module in adapter.modules}
    assert moved > 1e-2
    assert off <= 1e-5 * max(1.0, moved)
