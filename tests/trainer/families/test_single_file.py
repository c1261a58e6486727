"""Checkpoints in one file are the models that they were written from."""

import shutil
from dataclasses import replace

import pytest
import torch
from diffusers.loaders import single_file_utils as theirs
from safetensors.torch import load_file

from tests.conftest import write_tiny_sd
from tests.trainer.families import first_code
from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer.core.device import Plan, Thrift
from trainer.engine.sampling import Recipe, encode, render
from trainer.families.base import families
from trainer.families.finding import find_model
from trainer.families.flux_names import SINGLE
from trainer.families.single.header import read_header
from trainer.families.single.pending import Pending
from trainer.families.single.sorting import sort

PLAN = Plan("cpu", "fp32")
WRITE = {"sd": first_code.sd_state, "sdxl": first_code.sdxl_state, "flux": first_code.flux_state}
KINDS = ("sd", "sd2", "sdxl", "flux")


class Pair:
    """A folder, the same model as one file, and its settings without weights."""

    def __init__(self, kind, folder, place):
        self.kind, self.folder = kind.removesuffix("2"), folder
        self.kit = first_code.without_weights(folder, place / "kit")
        self.second = kind == "sd2"
        more = {"second": True} if self.second else {}
        self.state = WRITE[self.kind](folder, **more)
        self.file = first_code.write(self.state, place / f"{kind}.safetensors")

    def load(self, plan=PLAN):
        config = families[self.kind].model_validate({"base": str(self.folder)})
        return config.load(plan)

    def load_file(self, plan=PLAN, **more):
        if self.second:
            more = {"noise": {"prediction": "v_prediction"}, **more}
        asked = {"base": str(self.file), "parts_from": str(self.kit), **more}
        return families[self.kind].model_validate(asked).load(plan)


@pytest.fixture(scope="module")
def pairs(tiny_sd, tiny_sd_v, tiny_sdxl, tiny_flux, tmp_path_factory):
    folders = {"sd": tiny_sd, "sd2": tiny_sd_v, "sdxl": tiny_sdxl, "flux": tiny_flux}
    folders["sd2"] = write_second(tmp_path_factory.mktemp("second") / "model")
    return {
        kind: Pair(kind, folder, tmp_path_factory.mktemp(f"one-file-{kind}"))
        for kind, folder in folders.items()
    }


def write_second(folder):
    """Stable Diffusion 2.x's kind: matrices around the transformers, velocity."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    write_tiny_sd(folder, prediction="v_prediction", seed=4)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    settings = dict(pipeline.unet.config) | {"use_linear_projection": True}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        pipeline.unet = UNet2DConditionModel.from_config(settings)
    shutil.rmtree(folder / "unet")
    pipeline.unet.save_pretrained(folder / "unet")
    return folder


def networks(model):
    return {"denoiser": model.denoiser, "vae": model.vae, **model.text_encoders}


def same(one, other):
    """Whether two networks hold the same weights in the same format."""
    ours, others = one.state_dict(), other.state_dict()
    assert ours.keys() == others.keys()
    return all(torch.equal(v, others[k]) and v.dtype == others[k].dtype for k, v in ours.items())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_the_networks_of_its_folder(pairs, kind, precision):
    plan = Plan("cpu", precision)
    folder, file = pairs[kind].load(plan), pairs[kind].load_file(plan)
    for name, network in networks(folder).items():
        assert same(network, networks(file)[name]), name
        assert not any(p.requires_grad for p in networks(file)[name].parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_renders_the_picture_of_its_folder(pairs, kind):
    pictures = []
    for model in (pairs[kind].load(), pairs[kind].load_file()):
        words = encode(model, ["a photo of sks fox"], "")
        pictures += render(model, words, [3], Recipe((64, 64), 2, 3.0, ""))
    assert pictures[0].tobytes() == pictures[1].tobytes()
    assert len(set(pictures[0].tobytes())) > 50


@pytest.mark.parametrize("held", [Thrift("int8"), Thrift("nf4"), Thrift("plain", offload=0.5)])
@pytest.mark.parametrize("kind", ["sdxl", "flux"])
def test_a_file_is_held_in_few_bits_as_its_folder_is(pairs, kind, held, monkeypatch):
    monkeypatch.setattr("trainer.networks.held.SMALLEST", 64)
    plan = replace(PLAN, precision="bf16", thrift=held)
    one, other = pairs[kind].load(plan).denoiser, pairs[kind].load_file(plan).denoiser
    assert [type(m) for m in one.modules()] == [type(m) for m in other.modules()]
    assert same(one, other)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_diffusers_reads_the_same_unet_and_vae_out_of_the_file(pairs, kind):
    pair = pairs[kind]
    state = load_file(pair.file)
    unet = theirs.convert_ldm_unet_checkpoint(dict(state), first_code.settings(pair.folder, "unet"))
    vae = theirs.convert_ldm_vae_checkpoint(dict(state), first_code.settings(pair.folder, "vae"))
    for part, found in (("unet", unet), ("vae", vae)):
        ours = {n: p.read() for n, p in parts_of(pair)[part].items()}
        assert ours.keys() == found.keys()
        assert all(torch.equal(ours[name], found[name]) for name in ours)


def test_diffusers_reads_the_same_words_out_of_the_file(pairs):
    pair = pairs["sdxl"]
    config = type("Config", (), {"hidden_size": 64})
    wanted = theirs.convert_open_clip_checkpoint(
        type("Network", (), {"config": config}),
        load_file(pair.file),
        prefix="conditioner.embedders.1.model.",
    )
    ours = {n: p.read() for n, p in parts_of(pair)["text_encoder_2"].items()}
    assert ours.keys() == wanted.keys()
    # Diffusers cuts query, key and value where the projection ends, which is right where it is
    # as wide as the encoder; here it is not.
    cut = ("q_proj", "k_proj", "v_proj")
    assert all(torch.equal(ours[n], wanted[n]) for n in ours if n.split(".")[-2] not in cut)


def test_diffusers_reads_the_same_transformer_out_of_the_file(tmp_path):
    """Its converter knows one width, so rows are as many as in the published model, columns one."""
    rows = {"qkv": 3 * 3072, "linear1": 7 * 3072, "lin": 6 * 3072}
    state = {}
    original = first_code.flux(first_code.weights(_flux_names(tmp_path), "transformer"))
    for number, name in enumerate(original):
        module = name.split(".")[-2]
        count = rows.get(module, 6 if "adaLN" in name else 4)
        values = torch.arange(count, dtype=torch.float32) + number / 1000
        state[name] = values[:, None] if name.endswith("weight") else values
    file = first_code.write(state, tmp_path / "flux.safetensors")
    wanted = theirs.convert_flux_transformer_checkpoint_to_diffusers(dict(state))
    ours = sort(read_header(file), SINGLE).parts["transformer"]
    assert ours.keys() == wanted.keys()
    assert all(torch.equal(piece.read(), wanted[name]) for name, piece in ours.items())


def _flux_names(place):
    from tests.conftest import write_tiny_flux

    return write_tiny_flux(place / "names")


def parts_of(pair):
    return sort(read_header(pair.file), families[pair.kind].single).parts


@pytest.mark.parametrize("spelling", ["bare", "prefixed", "diffusers", "diffusers-prefixed"])
def test_a_flux_transformer_alone_takes_the_rest_from_elsewhere(pairs, spelling, tmp_path):
    pair = pairs["flux"]
    state = first_code.weights(pair.folder, "transformer")
    if "diffusers" not in spelling:
        state = first_code.flux(state)
    if spelling == "prefixed":
        state = first_code.under("model.diffusion_model.", state)
    if spelling == "diffusers-prefixed":
        state = first_code.under("transformer.", state)
    file = first_code.write(state, tmp_path / "flux.safetensors")
    alone = families["flux"].model_validate({"base": str(file), "parts_from": str(pair.folder)})
    whole, model = networks(pair.load()), networks(alone.load(PLAN))
    assert all(same(network, model[name]) for name, network in whole.items())


def test_a_unet_in_diffusers_names_takes_the_rest_from_elsewhere(pairs, tmp_path):
    pair = pairs["sdxl"]
    file = first_code.write(first_code.weights(pair.folder, "unet"), tmp_path / "unet.safetensors")
    asked = families["sdxl"].model_validate({"base": str(file), "parts_from": str(pair.folder)})
    assert same(pair.load().denoiser, asked.load(PLAN).denoiser)


def test_schnell_is_told_from_dev(tiny_schnell, tmp_path):
    pair = Pair("flux", tiny_schnell, tmp_path)
    assert pair.load_file().modelspec["modelspec.architecture"] == "flux-1-schnell/lora"


def test_fp8_without_scales_is_its_values(pairs, tmp_path):
    pair = pairs["flux"]
    eight = {k: v.to(torch.float8_e4m3fn) for k, v in pair.state.items() if v.is_floating_point()}
    file = first_code.write(eight, tmp_path / "fp8.safetensors")
    asked = {"base": str(file), "parts_from": str(pair.kit)}
    found = networks(families["flux"].model_validate(asked).load(Plan("cpu", "bf16")))
    wanted = networks(pair.load())
    for name, network in wanted.items():
        for key, value in network.state_dict().items():
            given = value.to(torch.float8_e4m3fn).to(torch.bfloat16)
            assert torch.equal(found[name].state_dict()[key].to(torch.bfloat16), given), key


def test_a_part_is_read_without_the_others(pairs, monkeypatch):
    read = []
    first = Pending.read
    monkeypatch.setattr(Pending, "read", lambda self: read.append(self.name) or first(self))
    plan = replace(PLAN, thrift=Thrift(staged=True))
    model = pairs["sdxl"].load_file(plan)
    assert read == []
    _ = model.vae
    assert read
    assert all(name.startswith("first_stage_model.") for name in read)


def test_two_steps_from_a_file_are_those_from_its_folder(pairs, pictures, tmp_path):
    pair, shots = pairs["sd"], pictures(count=4)
    job = tiny_job(pair.folder, shots, tmp_path / "one", schedule={"epochs": 1})
    model = {"base": str(pair.file), "parts_from": str(pair.kit)}
    single = tiny_job(pair.folder, shots, tmp_path / "other", schedule={"epochs": 1}, model=model)
    assert lora_bytes(train_here(job)[0]) == lora_bytes(train_here(single)[0])


@pytest.mark.parametrize("kind", ["sd", "sdxl", "flux"])
def test_a_run_from_a_file_is_resumed_with_the_same_result(pairs, kind, pictures, tmp_path):
    pair = pairs[kind]
    model = {"kind": kind, "base": str(pair.file), "parts_from": str(pair.kit)}
    job = tiny_job(pair.folder, pictures(count=4), tmp_path / "runs", model=model)
    whole, _ = train_here(job)
    stopped, _ = train_here(job, stop_after=1)
    again, _ = train_here(job, run=stopped)
    assert lora_bytes(again) == lora_bytes(whole)
    assert lora_bytes(whole)


def test_averaged_weights_in_a_file_are_told_of(pairs, tmp_path):
    pair = pairs["sd"]
    file = first_code.write(
        pair.state | {"model_ema.diffusion_modelout2weight": torch.zeros(1)},
        tmp_path / "ema.safetensors",
    )
    asked = {"base": str(file), "parts_from": str(pair.kit)}
    model = families["sd"].model_validate(asked).load(PLAN)
    assert ["averaged weights" in warning for warning in model.warnings] == [True]


def test_a_file_whose_weights_change_is_another_model(pairs, tmp_path):
    pair = pairs["sd"]
    changed = dict(pair.state)
    changed["model.diffusion_model.out.2.bias"] = changed["model.diffusion_model.out.2.bias"] + 1
    file = first_code.write(changed, tmp_path / "changed.safetensors")
    one = pair.load_file()
    other = (
        families["sd"].model_validate({"base": str(file), "parts_from": str(pair.kit)}).load(PLAN)
    )
    assert one.base_hash != other.base_hash
    assert (one.image_key, one.text_key) == (other.image_key, other.text_key)


def test_a_folder_of_another_generation_brings_its_vae_and_nothing_else(pairs, tiny_sd, tmp_path):
    """Its heads, its schedule and what it answers are not this model's."""
    state = {k: v for k, v in pairs["sd2"].state.items() if "first_stage_model" not in k}
    file = first_code.write(state, tmp_path / "model.safetensors")
    asked = {
        "base": str(file),
        "parts_from": str(tiny_sd),
        "noise": {"prediction": "v_prediction"},
    }
    files = find_model(families["sd"].model_validate(asked))
    assert files.scheduler().config.prediction_type == "v_prediction"
    assert files.told_in("vae").startswith(str(tiny_sd))
    assert files.told_in("scheduler").startswith(str(file))
    assert files._settings("unet")["attention_head_dim"] == [1, 1]
