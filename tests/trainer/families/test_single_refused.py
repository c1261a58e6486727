"""Files that are no model to train from are named, from their headers alone."""

import json
import os
import shutil
import struct

import pytest
import torch

from tests.trainer.families import first_code
from trainer.core.errors import ModelError
from trainer.families.base import families
from trainer.families.finding import downloads, find_model, look
from trainer.families.single.header import read_header

UNET = "model.diffusion_model."


def refused(file, kind="sd", **more):
    with pytest.raises(ModelError) as told:
        find_model(families[kind].model_validate({"base": str(file), **more}))
    assert told.value.where
    assert told.value.hint
    return told.value


def write_header(file, tensors, *, data=None):
    """A file of these tensors, name -> (dtype, shape, bytes), with holes for the data."""
    told, at = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        told[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(told).encode()
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
    os.truncate(file, 8 + len(text) + (at if data is None else data))
    return file


@pytest.fixture
def state(tiny_sd):
    return first_code.sd_state(tiny_sd)


def test_a_file_of_six_gigabytes_that_is_cut_short_is_found_out_by_its_header(tmp_path):
    six = 3_000_000_000
    tensors = {f"{UNET}out.2.weight": ("F16", (six,), 2 * six)}
    file = write_header(tmp_path / "model.safetensors", tensors, data=5_000_000_000)
    error = refused(file)
    assert "it is cut short: 5.00 GB are there of 6.00 GB" in error.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
        (b"PK\x03\x04" + bytes(64), "pickle"),
        (b"\x80\x02}q\x00" + bytes(64), "pickle"),
        (b"version https://git-lfs.example/spec/v1\noid sha256:0", "pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"", "no safetensors file"),
        (bytes(range(64)), "no safetensors file"),
        (struct.pack("<Q", 500) + b'{"a":', "inside its header"),
        (struct.pack("<Q", 5) + b"{nope", "not what safetensors writes"),
        (struct.pack("<Q", 2) + b"{}", "no tensors"),
    ],
)
def test_what_is_no_safetensors_file_is_named(tmp_path, content, problem):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    assert problem in refused(file).problem


def test_a_gguf_file_is_named_by_its_ending_too(tmp_path):
    file = tmp_path / "flux1-dev-Q4_K_S.gguf"
    file.write_bytes(b"GGUF" + bytes(64))
    error = refused(file, "flux")
    assert "memory.base = 'nf4'" in error.hint


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".bin", ".pth"])
def test_a_pickle_is_refused_by_its_ending(tmp_path, ending):
    file = tmp_path / f"model{ending}"
    file.write_bytes(b"whatever")
    assert "pickle" in refused(file).problem


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"a": ("F32", (2, 2), 12)}, "not what safetensors writes"),
        ({"a": ("F32", (4,), 16), "b": ("F32", (4,), -16)}, "not what safetensors writes"),
    ],
)
def test_sizes_that_do_not_agree_are_refused(tmp_path, tensors, problem):
    file = write_header(tmp_path / "model.safetensors", tensors, data=16)
    assert problem in refused(file).problem


def test_what_follows_the_last_tensor_is_refused(tmp_path):
    file = write_header(tmp_path / "model.safetensors", {"a": ("F32", (4,), 16)}, data=20)
    assert "4 bytes follow" in refused(file).problem


def test_tensors_that_lie_in_one_another_are_refused(tmp_path):
    told = {
        name: {"dtype": "F32", "shape": [4], "data_offsets": list(place)}
        for name, place in (("a", (0, 16)), ("b", (8, 24)))
    }
    text = json.dumps(told).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(24))
    assert "in one another" in refused(file).problem


@pytest.mark.parametrize(
    ("name", "dtype", "problem", "held"),
    [
        ("scaled_fp8", torch.float32, "scaled fp8", "'fp8'"),
        (f"{UNET}double_blocks.0.img_attn.qkv.scale_weight", torch.float32, "scaled fp8", "'fp8'"),
        (f"{UNET}out.2.weight_scale", torch.float32, "scaled fp8", "'fp8'"),
        (f"{UNET}a.weight.quant_state.bitsandbytes__nf4", torch.uint8, "NF4", "'nf4'"),
        (f"{UNET}a.weight.absmax", torch.float32, "NF4", "'nf4'"),
        (f"{UNET}a.SCB", torch.float32, "8 bits", "'int8'"),
        ("transformer_blocks.0.qkv_proj.wscales", torch.float16, "SVDQuant", "'nf4'"),
        ("a.qweight", torch.int32, "GPTQ or AWQ", "'nf4'"),
        ("a.comfy_quant", torch.uint8, "ComfyUI", "'fp8'"),
    ],
)
def test_weights_that_are_quantised_in_the_file_are_named(
    tmp_path, state, name, dtype, problem, held
):
    state |= {name: torch.zeros(2).to(dtype)}
    error = refused(first_code.write(state, tmp_path / "model.safetensors"))
    assert problem in error.problem
    assert held in error.hint


@pytest.mark.parametrize("place", ["middle_block.1.proj_in.weight", "out.2.bias"])
def test_whole_numbers_are_no_weights(tmp_path, state, place):
    name = UNET + place
    state[name] = state[name].to(torch.int8)
    error = refused(first_code.write(state, tmp_path / "model.safetensors"))
    assert f"{name!r} is held in I8" in error.problem


@pytest.mark.parametrize(
    ("left_out", "named"),
    [
        (("first_stage_model.",), "vae"),
        (("cond_stage_model.",), "text_encoder"),
        (("first_stage_model.", "cond_stage_model."), "vae, text_encoder"),
    ],
)
def test_parts_that_a_checkpoint_lacks_are_named_all_at_once(tmp_path, state, left_out, named):
    state = {k: v for k, v in state.items() if not k.startswith(left_out)}
    error = refused(first_code.write(state, tmp_path / "model.safetensors"))
    assert f"the checkpoint holds no {named}, and nothing else has them" in error.problem
    assert "model.parts_from = a folder in Diffusers format" in error.hint
    assert all(f"{part}/" in error.hint for part in named.split(", "))


def test_a_flux_transformer_alone_says_all_that_it_needs(tiny_flux, tmp_path):
    state = first_code.flux(first_code.weights(tiny_flux, "transformer"))
    error = refused(first_code.write(state, tmp_path / "flux.safetensors"), "flux")
    assert "holds no vae, text_encoder, text_encoder_2, tokenizer_2" in error.problem


def test_an_all_in_one_flux_file_lacks_the_words_of_t5(tiny_flux, tmp_path):
    file = first_code.write(first_code.flux_state(tiny_flux), tmp_path / "flux.safetensors")
    assert "holds no tokenizer_2, and" in refused(file, "flux").problem


def test_parts_from_a_model_of_another_family_are_refused(tmp_path, state, tiny_sdxl):
    state = {k: v for k, v in state.items() if not k.startswith("first_stage_model.")}
    file = first_code.write(state, tmp_path / "model.safetensors")
    error = refused(file, parts_from=str(tiny_sdxl))
    assert "StableDiffusionXLPipeline" in error.problem


@pytest.mark.parametrize(
    "parts_from",
    ["{file}", "nosuch.safetensors", "owner/name/file.safetensors", "no/such/folder", "owner/name"],
)
def test_parts_from_no_folder_says_what_it_takes(tmp_path, state, parts_from, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    state = {k: v for k, v in state.items() if not k.startswith("first_stage_model.")}
    file = first_code.write(state, tmp_path / "model.safetensors")
    error = refused(file, parts_from=parts_from.format(file=file))
    assert error.where == "model.parts_from"
    assert "a folder in Diffusers format of a model of the same family" in error.hint
    assert "demo" not in error.hint
    assert ".safetensors" not in error.hint


def test_one_file_of_a_repository_is_not_fetched_for_its_parts(tmp_path, state):
    file = first_code.write(state, tmp_path / "model.safetensors")
    asked = {"base": str(file), "parts_from": "owner/name/file.safetensors"}
    with pytest.raises(ModelError, match="taken from folders only"):
        list(downloads(families["sd"].model_validate(asked)))


def test_a_folder_of_settings_alone_gives_no_parts(tmp_path, state, tiny_sd):
    kit = first_code.without_weights(tiny_sd, tmp_path / "kit")
    state = {k: v for k, v in state.items() if not k.startswith("first_stage_model.")}
    error = refused(first_code.write(state, tmp_path / "model.safetensors"), parts_from=str(kit))
    assert "no weights" in error.problem
    assert error.where == str(kit / "vae")


def test_only_the_parts_that_are_taken_must_be_whole(tmp_path, state, tiny_sd):
    kit = shutil.copytree(tiny_sd, tmp_path / "kit")
    os.truncate(kit / "unet" / "diffusion_pytorch_model.safetensors", 1000)
    state = {k: v for k, v in state.items() if not k.startswith("first_stage_model.")}
    file = first_code.write(state, tmp_path / "model.safetensors")
    find_model(families["sd"].model_validate({"base": str(file), "parts_from": str(kit)}))
    os.truncate(kit / "vae" / "diffusion_pytorch_model.safetensors", 1000)
    assert "1,000 bytes" in refused(file, parts_from=str(kit)).problem


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(ModelError, match="cannot be read") as told:
        read_header(tmp_path)
    assert told.value.where == str(tmp_path)


def test_parts_that_a_folder_lacks_too_are_named(tmp_path, state, tiny_sd):
    kit = first_code.without_weights(tiny_sd, tmp_path / "kit")
    index = kit / "model_index.json"
    told = json.loads(index.read_text(encoding="utf-8"))
    told["vae"] = [None, None]
    index.write_text(json.dumps(told), encoding="utf-8")
    state = {k: v for k, v in state.items() if not k.startswith("first_stage_model.")}
    error = refused(first_code.write(state, tmp_path / "model.safetensors"), parts_from=str(kit))
    assert "holds no vae, and model.parts_from has not got them either" in error.problem


def test_a_file_of_another_family_names_it(tiny_sd, tiny_sdxl, tiny_flux, tmp_path):
    files = {
        "sd": first_code.write(first_code.sd_state(tiny_sd), tmp_path / "1.safetensors"),
        "sdxl": first_code.write(first_code.sdxl_state(tiny_sdxl), tmp_path / "2.safetensors"),
        "flux": first_code.write(first_code.flux_state(tiny_flux), tmp_path / "3.safetensors"),
    }
    for kind, file in files.items():
        for other in families:
            if other != kind:
                error = refused(file, other)
                assert error.hint == f"model.kind = {kind!r}"
                assert f"model.kind is {other!r}" in error.problem


def test_a_tensor_that_is_missing_is_named(tmp_path, state, tiny_sd):
    kit = first_code.without_weights(tiny_sd, tmp_path / "kit")
    del state[f"{UNET}middle_block.0.in_layers.2.bias"]
    file = first_code.write(state, tmp_path / "model.safetensors")
    asked = families["sd"].model_validate({"base": str(file), "parts_from": str(kit)})
    with pytest.raises(ModelError, match=r"missing.*'mid_block.resnets.0.conv1.bias'"):
        find_model(asked).empty("unet")


@pytest.mark.parametrize("name", ["out.2.weight", "input_blocks.0.0.weight", "time_embed.0.weight"])
def test_a_tensor_that_tells_the_size_and_is_missing_is_named(tmp_path, state, tiny_sd, name):
    kit = first_code.without_weights(tiny_sd, tmp_path / "kit")
    del state[UNET + name]
    file = first_code.write(state, tmp_path / "model.safetensors")
    asked = families["sd"].model_validate({"base": str(file), "parts_from": str(kit)})
    with pytest.raises(ModelError):
        find_model(asked).empty("unet")


def test_a_tensor_that_is_not_the_networks_is_named(tmp_path, state, tiny_sd):
    kit = first_code.without_weights(tiny_sd, tmp_path / "kit")
    state[f"{UNET}middle_block.3.weight"] = torch.zeros(2)
    file = first_code.write(state, tmp_path / "model.safetensors")
    asked = families["sd"].model_validate({"base": str(file), "parts_from": str(kit)})
    with pytest.raises(ModelError, match=r"not a UNet2DCondition.*middle_block.3.weight"):
        find_model(asked).empty("unet")


def test_a_tensor_of_another_size_is_named(tmp_path, state, tiny_sd):
    kit = first_code.without_weights(tiny_sd, tmp_path / "kit")
    state[f"{UNET}time_embed.0.weight"] = torch.zeros(7, 32)
    file = first_code.write(state, tmp_path / "model.safetensors")
    asked = families["sd"].model_validate({"base": str(file), "parts_from": str(kit)})
    with pytest.raises(ModelError, match=r"time_embed.0.weight' is \(7, 32\)"):
        find_model(asked).empty("unet")


def test_weights_that_are_no_numbers_are_named(tmp_path, state, tiny_sd):
    from trainer.core.device import Plan

    kit = first_code.without_weights(tiny_sd, tmp_path / "kit")
    state[f"{UNET}out.2.bias"][0] = torch.nan
    file = first_code.write(state, tmp_path / "model.safetensors")
    asked = families["sd"].model_validate({"base": str(file), "parts_from": str(kit)})
    with pytest.raises(ModelError, match="NaN"):
        asked.load(Plan("cpu", "fp32"))


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path, state, tiny_sd):
    from trainer.core.device import Plan

    kit = first_code.without_weights(tiny_sd, tmp_path / "kit")
    file = first_code.write(state, tmp_path / "model.safetensors")
    model = find_model(families["sd"].model_validate({"base": str(file), "parts_from": str(kit)}))
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(ModelError, match="it ends before"):
        [model.part(part, Plan("cpu", "fp32")) for part in ("unet", "vae", "text_encoder")]


OTHERS = [
    ("an inpainting model", {f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)}),
    ("an InstructPix2Pix model", {f"{UNET}input_blocks.0.0.weight": (320, 8, 3, 3)}),
    ("an upscaling model", {f"{UNET}input_blocks.0.0.weight": (320, 7, 3, 3)}),
    ("a depth model", {f"{UNET}input_blocks.0.0.weight": (320, 5, 3, 3)}),
    (
        "the SDXL refiner",
        {
            f"{UNET}input_blocks.0.0.weight": (384, 4, 3, 3),
            f"{UNET}label_emb.0.0.weight": (8, 8),
            "conditioner.embedders.0.model.ln_final.weight": (8,),
        },
    ),
    (
        "Playground 2.5",
        {
            f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
            f"{UNET}label_emb.0.0.weight": (8, 8),
            "edm_mean": (4,),
        },
    ),
    (
        "Stable unCLIP",
        {
            f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
            f"{UNET}label_emb.0.0.weight": (8, 8),
            f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight": (4, 1024),
        },
    ),
    ("FLUX.1 Fill", {"double_blocks.0.img_attn.qkv.weight": (3, 1), "img_in.weight": (4, 384)}),
    (
        "FLUX.1 Canny or Depth",
        {"double_blocks.0.img_attn.qkv.weight": (3, 1), "img_in.weight": (4, 128)},
    ),
    ("Chroma", {"double_blocks.0.img_attn.qkv.weight": (3, 1), "distilled_guidance_layer.x": (1,)}),
    ("FLUX.2", {"double_blocks.0.img_attn.a": (3, 1), "single_stream_modulation.lin.weight": (1,)}),
    ("Wan", {f"{UNET}head.modulation": (1, 2, 4), f"{UNET}blocks.0.self_attn.q.weight": (4, 4)}),
    ("Qwen-Image", {"txt_norm.weight": (4,), "transformer_blocks.0.img_mod.1.weight": (4, 4)}),
    ("HunyuanVideo", {"txt_in.individual_token_refiner.blocks.0.x": (4,)}),
    ("Stable Diffusion 3/3.5", {f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (12, 4)}),
    ("a ControlNet", {"control_model.input_hint_block.0.weight": (4, 3)}),
    ("a LoRA, not a base model", {"lora_unet_mid_block.lora_down.weight": (4, 8)}),
    ("a VAE alone", {"decoder.conv_in.weight": (4, 16, 3, 3)}),
    ("a text encoder alone", {"text_model.embeddings.token_embedding.weight": (8, 4)}),
    ("no model that Sweetspot knows", {"something.weight": (4,)}),
]


@pytest.mark.parametrize(("name", "tensors"), OTHERS, ids=[name for name, _ in OTHERS])
def test_models_that_are_not_trained_here_are_named(tmp_path, name, tensors):
    told = {n: ("F16", s, 2 * torch.Size(s).numel()) for n, s in tensors.items()}
    file = write_header(tmp_path / "model.safetensors", told)
    assert look(file).what.name.startswith(name)
    for kind in families:
        assert f"this is {name}" in refused(file, kind).problem


def test_a_header_is_read_without_the_rest(tmp_path):
    tensors = {"a.weight": ("F16", (1_000_000, 1_000), 2_000_000_000)}
    header = read_header(write_header(tmp_path / "model.safetensors", tensors))
    assert header.tensors["a.weight"].shape == (1_000_000, 1_000)
