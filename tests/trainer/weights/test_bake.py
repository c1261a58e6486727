"""A baked file at strength 1 is the original at the strength that was chosen."""

import hashlib
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.trainer.weights.tiny_models import about, adapted
from trainer.core.device import Plan
from trainer.core.errors import AdapterError
from trainer.engine.sampling import Recipe, encode, render_arrays, use_lora
from trainer.families.sd import NAMING, SdConfig
from trainer.weights import files
from trainer.weights.bake import bake
from trainer.weights.inspect import inspect
from trainer.weights.layouts import Weights

RECIPE = Recipe(size=(64, 64), steps=3, guidance=2.0)
SAVED = {"kohya": "fp16", "diffusers": "fp32"}
"""Kohya's layout loses nothing at any precision; B in fp16 is rounded once more."""


@pytest.fixture(scope="module")
def made(tiny_sd, tmp_path_factory):
    """A LoRA for the tiny model in each layout."""
    adapter = adapted(SdConfig(base=str(tiny_sd)).load(Plan("cpu", "fp32")))
    weights = Weights(adapter.state(), adapter.alphas())
    folder = tmp_path_factory.mktemp("baked")
    for layout, precision in SAVED.items():
        path = folder / f"{layout}.safetensors"
        files.export(path, weights, about(), NAMING, layout=layout, precision=precision)
    return folder


@pytest.fixture
def bare(tmp_path):
    """Kohya's layout without alpha, as some trainers write it."""
    path = tmp_path / "bare.safetensors"
    tensors = {
        "lora_unet_a.lora_down.weight": torch.ones(4, 3).half(),
        "lora_unet_a.lora_up.weight": torch.ones(5, 4).bfloat16(),
    }
    safetensors.torch.save_file(tensors, path, {"ss_network_alpha": "None"})
    return path


def picture(tiny_sd, path, strength):
    model = SdConfig(base=str(tiny_sd)).load(Plan("cpu", "fp32"))
    use_lora(model, path, strength)
    return render_arrays(model, encode(model, ["a photo of sks fox"], ""), [3], RECIPE)


def values(path):
    return safetensors.torch.load_file(path)


@pytest.mark.parametrize("layout", list(SAVED))
def test_baked_and_used_at_1_is_the_original_at_its_strength(tiny_sd, made, tmp_path, layout):
    source, to = made / f"{layout}.safetensors", tmp_path / "baked.safetensors"
    bake(source, to, 0.6, {})
    baked, wanted = picture(tiny_sd, to, 1.0), picture(tiny_sd, source, 0.6)
    assert np.abs(baked - wanted).max() < 1e-5
    assert np.abs(picture(tiny_sd, source, 1.0) - wanted).max() > 1e-3


@pytest.mark.parametrize("layout", list(SAVED))
def test_our_own_reader_sees_the_update_scaled(made, tmp_path, layout):
    source, to = made / f"{layout}.safetensors", tmp_path / "baked.safetensors"
    bake(source, to, 0.6, {})
    before, after = inspect(source), inspect(to)
    assert after.norm_median == pytest.approx(0.6 * before.norm_median, rel=1e-6)
    assert after.formats["F16" if layout == "kohya" else "F32"]
    assert after.ranks == before.ranks


@pytest.mark.parametrize("layout", list(SAVED))
def test_strength_1_is_a_plain_copy_with_more_in_the_header(made, tmp_path, layout):
    source, to = made / f"{layout}.safetensors", tmp_path / "copy.safetensors"
    bake(source, to, 1.0, {"sweetspot.verdict": "Wiese, grün"})
    before, after = files.read(source), files.read(to)
    assert after.metadata == {**before.metadata, "sweetspot.verdict": "Wiese, grün"}
    assert all(torch.equal(tensor, values(to)[name]) for name, tensor in values(source).items())
    assert after.formats == before.formats


@pytest.mark.parametrize("layout", list(SAVED))
def test_hashes_in_the_header_are_those_of_the_new_tensors(made, tmp_path, layout):
    to = tmp_path / "baked.safetensors"
    bake(made / f"{layout}.safetensors", to, 0.6, {})
    content = to.read_bytes()
    data = hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
    told = files.read(to).metadata
    assert (told["sshs_model_hash"], told["modelspec.hash_sha256"]) == (data, f"0x{data}")


def test_every_place_that_tells_alpha_agrees(made, tmp_path):
    to = tmp_path / "baked.safetensors"
    bake(made / "kohya.safetensors", to, 0.6, {})
    told = files.read(to).metadata
    assert float(told["ss_network_alpha"]) == pytest.approx(1.2)
    assert float(json.loads(told["ss_network_args"])["conv_alpha"]) == pytest.approx(1.2)
    assert list(inspect(to).alphas) == [pytest.approx(1.2)]


def test_diffusers_metadata_stays_true_since_b_carries_the_strength(made, tmp_path):
    source, to = made / "diffusers.safetensors", tmp_path / "baked.safetensors"
    bake(source, to, 0.6, {})
    key = "lora_adapter_metadata"
    assert files.read(to).metadata[key] == files.read(source).metadata[key]
    assert inspect(to).alphas == inspect(source).alphas


def test_an_alpha_that_is_not_told_is_the_rank_and_is_written(bare, tmp_path):
    to = tmp_path / "baked.safetensors"
    bake(bare, to, 0.5, {})
    assert values(to)["lora_unet_a.alpha"].item() == 2.0
    assert files.read(to).metadata["ss_network_alpha"] == "None"


def test_tensors_keep_the_formats_they_have(bare, tmp_path):
    to = tmp_path / "baked.safetensors"
    bake(bare, to, 0.5, {})
    assert [values(to)[f"lora_unet_a.{end}"].dtype for end in ("lora_down.weight", "alpha")] == [
        torch.float16,
        torch.float32,
    ]
    assert values(to)["lora_unet_a.lora_up.weight"].dtype == torch.bfloat16


def test_a_file_that_is_there_is_replaced_only_when_asked(bare, tmp_path):
    to = tmp_path / "taken.safetensors"
    to.write_text("mine")
    with pytest.raises(AdapterError, match="not overwritten unasked"):
        bake(bare, to, 0.5, {})
    assert to.read_text() == "mine"
    bake(bare, to, 0.5, {}, overwrite=True)
    assert files.read(to).ranks == {"lora_unet_a": 4}


def test_the_source_is_never_replaced(bare, tmp_path):
    before = bare.read_bytes()
    link = tmp_path / "link.safetensors"
    link.hardlink_to(bare)
    for to in (bare, bare.parent / "." / bare.name, link):
        with pytest.raises(AdapterError, match="made from"):
            bake(bare, to, 0.5, {}, overwrite=True)
    assert bare.read_bytes() == before


def test_a_folder_is_no_place_for_a_file(bare, tmp_path):
    with pytest.raises(AdapterError, match="folder"):
        bake(bare, tmp_path, 0.5, {}, overwrite=True)


@pytest.mark.parametrize("strength", [0.0, float("nan"), float("inf")])
def test_a_strength_that_makes_no_sense_is_refused(bare, tmp_path, strength):
    with pytest.raises(AdapterError, match="nothing of use"):
        bake(bare, tmp_path / "new.safetensors", strength, {})


def test_what_is_more_than_a_plain_lora_is_copied_but_not_scaled(tmp_path):
    source = tmp_path / "dora.safetensors"
    tensors = {
        "lora_unet_a.lora_down.weight": torch.ones(4, 3),
        "lora_unet_a.lora_up.weight": torch.ones(5, 4),
        "lora_unet_a.dora_scale": torch.ones(5),
    }
    safetensors.torch.save_file(tensors, source)
    bake(source, tmp_path / "copy.safetensors", 1.0, {})
    assert values(tmp_path / "copy.safetensors").keys() == tensors.keys()
    with pytest.raises(AdapterError, match="dora_scale"):
        bake(source, tmp_path / "scaled.safetensors", 0.5, {})


def test_values_that_the_format_cannot_hold_are_refused(tmp_path):
    source, to = tmp_path / "large.safetensors", tmp_path / "new.safetensors"
    tensors = {
        "unet.a.lora_A.weight": torch.ones(1, 3).half(),
        "unet.a.lora_B.weight": torch.full((3, 1), 60_000.0).half(),
    }
    safetensors.torch.save_file(tensors, source)
    with pytest.raises(AdapterError, match="F16 cannot hold"):
        bake(source, to, 1.2, {})
    assert not to.exists()


def test_any_family_is_baked(tmp_path):
    source, to = tmp_path / "flux.safetensors", tmp_path / "new.safetensors"
    key = "transformer.single_transformer_blocks.0.attn.to_q"
    tensors = {f"{key}.lora_A.weight": torch.ones(1, 8), f"{key}.lora_B.weight": torch.ones(8, 1)}
    safetensors.torch.save_file(tensors, source)
    bake(source, to, -0.5, {})
    assert torch.equal(values(to)[f"{key}.lora_B.weight"], torch.full((8, 1), -0.5))
