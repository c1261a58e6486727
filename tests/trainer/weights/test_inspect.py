"""What a found LoRA file is said to be."""

import hashlib
import json

import pytest
import safetensors.torch
import torch

from tests.trainer.weights.tiny_models import about, adapted, load
from trainer.families.sd import NAMING as SD
from trainer.weights import files
from trainer.weights.inspect import inspect
from trainer.weights.layouts import Weights


@pytest.fixture(scope="module")
def made(sd1_folder, tmp_path_factory):
    """An adapter and its file in each layout."""
    adapter = adapted(load(sd1_folder))
    weights = Weights(adapter.state(), adapter.alphas())
    folder = tmp_path_factory.mktemp("files")
    for layout in ("kohya", "diffusers"):
        files.export(
            folder / f"{layout}.safetensors", weights, about(), SD, layout=layout, precision="fp32"
        )
    return adapter, folder


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_a_file_is_described(made, layout):
    adapter, folder = made
    seen = inspect(folder / f"{layout}.safetensors")
    assert (seen.layout, seen.family) == (layout, "Stable Diffusion 1.x")
    assert seen.ranks == {4: len(adapter.modules)}
    assert seen.alphas == {2.0 if layout == "kohya" else 4.0: len(adapter.modules)}
    assert sorted(seen.modules.values()) == [8, len(adapter.modules) - 8]
    assert (seen.trigger, seen.epoch, seen.step, seen.base) == ("sks", "3", "30", "ab" * 32)
    assert (seen.zeros, seen.broken, seen.unread) == ([], [], [])
    assert seen.hash_agrees


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_norms_are_those_of_the_adapter(made, layout):
    adapter, folder = made
    seen = inspect(folder / f"{layout}.safetensors")
    norms = sorted(adapter.norms().values())
    assert (seen.norm_min, seen.norm_max) == pytest.approx((norms[0], norms[-1]), rel=1e-5)
    assert [norm for _, norm in seen.strongest] == pytest.approx(norms[:-11:-1], rel=1e-5)


def test_hashes_are_those_that_civitai_shows(made):
    path = made[1] / "kohya.safetensors"
    seen, content = inspect(path), path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    assert seen.sha256 == hashlib.sha256(content).hexdigest()
    assert seen.autov2 == seen.sha256[:10]
    assert seen.autov3 == hashlib.sha256(content[start:]).hexdigest()[:12]


def test_it_goes_into_json(made):
    seen = inspect(made[1] / "kohya.safetensors")
    assert json.loads(json.dumps(seen.as_dict()))["layout"] == "kohya"


def test_modules_that_learned_nothing_or_broke_are_named(tmp_path):
    tensors = {
        "lora_unet_a.lora_down.weight": torch.ones(2, 3),
        "lora_unet_a.lora_up.weight": torch.zeros(3, 2),
        "lora_unet_b.lora_down.weight": torch.full((2, 3), torch.nan),
        "lora_unet_b.lora_up.weight": torch.ones(3, 2),
        "lora_unet_b.dora_scale": torch.ones(3),
    }
    path = tmp_path / "found.safetensors"
    safetensors.torch.save_file(tensors, path)
    seen = inspect(path)
    assert seen.zeros == ["lora_unet_a"]
    assert seen.broken == ["lora_unet_b.lora_down.weight"]
    assert seen.unread == ["lora_unet_b.dora_scale"]
    assert (seen.hash_agrees, seen.trigger, seen.norm_min) == (None, "", 0.0)


@pytest.mark.parametrize(
    ("key", "width", "family"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, "1.x"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 1024, "2.x"),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", 2048, "SDXL"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", 320, "SDXL"),
        ("lora_unet_double_blocks_0_img_attn_qkv", 3072, "FLUX"),
        ("transformer.single_transformer_blocks.0.attn.to_q", 3072, "FLUX"),
        ("lora_unet_down_blocks_0_resnets_0_conv1", 320, "unknown"),
    ],
)
def test_the_family_is_guessed_from_names_and_shapes(tmp_path, key, width, family):
    down, up = (".lora_A", ".lora_B") if "." in key else (".lora_down", ".lora_up")
    tensors = {f"{key}{down}.weight": torch.ones(1, width), f"{key}{up}.weight": torch.ones(8, 1)}
    path = tmp_path / "found.safetensors"
    safetensors.torch.save_file(tensors, path)
    assert family in inspect(path).family
