"""A base model is whole or refused, and is rendered and cached as it is trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer.training import tiny_job
from trainer.core.device import plan
from trainer.core.errors import ModelError
from trainer.engine.sampling import Recipe, encode, render_arrays
from trainer.families.sd import Sd, SdConfig
from trainer.prepare import _class_pictures

WEIGHTS = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}
TEXT = WEIGHTS["text_encoder"]


@pytest.fixture
def model(tiny_sd, tmp_path) -> Path:
    """A copy of the tiny model, to spoil."""
    return Path(shutil.copytree(tiny_sd, tmp_path / "model"))


def load(folder: Path, **noise: object) -> Sd:
    config = SdConfig.model_validate({"base": str(folder), "resolution": 64, "noise": noise})
    return config.load(plan("cpu", "fp32"))


def outline(folder: Path) -> object:
    return SdConfig(base=str(folder), resolution=64).outline("attention")


def rewrite(path: Path, change) -> None:
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def set_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")


def keep_only(folder: Path, *names: str) -> None:
    for file in folder.iterdir():
        if file.name not in names:
            file.unlink()


@pytest.mark.parametrize("part", list(WEIGHTS))
def test_a_network_that_lacks_a_tensor_is_refused_by_name(model, part):
    gone = sorted(load_file(model / WEIGHTS[part]))[5]
    rewrite(
        model / WEIGHTS[part],
        lambda tensors: {name: value for name, value in tensors.items() if name != gone},
    )
    with pytest.raises(ModelError, match="1 tensors are missing") as refused:
        load(model)
    assert repr(gone) in refused.value.problem
    assert refused.value.where == str(model / WEIGHTS[part])


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_a_text_encoder_loads_with_and_without_its_prefix(model, tiny_sd, prefix):
    whole = load(tiny_sd).encode_captions(("a red fox",))["encoder_hidden_states"]
    rewrite(
        model / TEXT,
        lambda tensors: {
            prefix + name.removeprefix("text_model."): value for name, value in tensors.items()
        },
    )
    again = load(model).encode_captions(("a red fox",))["encoder_hidden_states"]
    assert torch.equal(again, whole)


def test_a_text_encoder_file_with_position_numbers_loads(model):
    extra = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    rewrite(
        model / TEXT,
        lambda tensors: (
            {"text_model." + name.removeprefix("text_model."): t for name, t in tensors.items()}
            | extra
        ),
    )
    assert load(model).text_encoders


def test_a_vae_whose_attention_has_its_old_names_loads(model, tiny_sd):
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def as_of_old(name: str) -> str:
        for new, old in names.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        return name

    rewrite(
        model / WEIGHTS["vae"],
        lambda tensors: {as_of_old(name): value for name, value in tensors.items()},
    )
    assert any(".proj_attn." in name for name in load_file(model / WEIGHTS["vae"]))
    states = load(model).vae.state_dict(), load(tiny_sd).vae.state_dict()
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


@pytest.mark.parametrize("look", [load, outline])
@pytest.mark.parametrize(
    ("kept", "missing"),
    [((), "no vocab.json and no merges.txt"), (("vocab.json",), "no merges.txt")],
)
def test_a_tokenizer_without_a_vocabulary_is_refused(model, look, kept, missing):
    keep_only(model / "tokenizer", "tokenizer_config.json", *kept)
    with pytest.raises(ModelError, match=missing) as refused:
        look(model)
    assert refused.value.where == str(model / "tokenizer")


@pytest.mark.parametrize("kept", [("tokenizer.json",), ("vocab.json", "merges.txt")])
def test_either_form_of_a_vocabulary_will_do(model, tiny_sd, kept):
    keep_only(model / "tokenizer", "tokenizer_config.json", *kept)
    captions = ("a photo of sks fox", "a red dog")
    rows = [load(m).encode_captions(captions)["encoder_hidden_states"] for m in (model, tiny_sd)]
    assert torch.equal(*rows)


def test_a_tokenizer_with_more_tokens_than_the_text_encoder_is_refused(model):
    def cut(tensors):
        name = next(name for name in tensors if name.endswith("token_embedding.weight"))
        return tensors | {name: tensors[name][:520].clone()}

    rewrite(model / TEXT, cut)
    set_json(model / "text_encoder" / "config.json", vocab_size=520)
    with pytest.raises(ModelError, match="text encoder, which knows 520"):
        load(model)


def test_a_tokenizer_that_knows_a_fraction_of_the_text_encoders_tokens_is_refused(model):
    def grow(tensors):
        name = next(name for name in tensors if name.endswith("token_embedding.weight"))
        return tensors | {name: torch.zeros(49408, tensors[name].shape[1])}

    rewrite(model / TEXT, grow)
    set_json(model / "text_encoder" / "config.json", vocab_size=49408)
    with pytest.raises(ModelError, match="text encoder, which knows 49408"):
        load(model)


def test_captions_are_as_long_as_the_text_encoder_when_the_tokenizer_does_not_say(model):
    (model / "tokenizer" / "tokenizer_config.json").unlink()
    states = load(model).encode_captions(("a red fox",))["encoder_hidden_states"]
    assert states.shape == (1, 77, 32)


@pytest.mark.parametrize("look", [load, outline])
@pytest.mark.parametrize("told", ["sample", "flow_prediction"])
def test_a_model_that_answers_neither_noise_nor_velocity_is_refused(model, look, told):
    set_json(model / "scheduler" / "scheduler_config.json", prediction_type=told)
    with pytest.raises(ModelError, match=told) as refused:
        look(model)
    assert refused.value.where.endswith("scheduler_config.json")


@pytest.mark.parametrize("asked", ["epsilon", "v_prediction"])
def test_pictures_are_rendered_with_the_prediction_that_was_trained(tiny_sd, tiny_sd_v, asked):
    published, other = {"epsilon": (tiny_sd, tiny_sd_v), "v_prediction": (tiny_sd_v, tiny_sd)}[
        asked
    ]
    recipe = Recipe((64, 64), 2, 3.0)

    def picture(model):
        return render_arrays(model, encode(model, ["a red fox"], ""), [5], recipe)

    wanted = picture(load(published))
    assert np.array_equal(picture(load(other, prediction=asked)), wanted)


@pytest.mark.parametrize("change", ["prediction", "scheduler"])
def test_class_pictures_are_rendered_anew_when_what_renders_them_changes(
    model, pictures, tmp_path, change
):
    job = tiny_job(
        model,
        pictures(count=1),
        tmp_path / "runs",
        prior={"enabled": True, "prompt": "a fox", "count": 1, "steps": 1},
        cache=str(tmp_path / "cache"),
    )
    folders = [class_folder(job, load(model))]
    if change == "scheduler":
        set_json(model / "scheduler" / "scheduler_config.json", beta_end=0.02)
    noise = {"prediction": "v_prediction"} if change == "prediction" else {}
    folders.append(class_folder(job, load(model, **noise)))
    assert folders[0] != folders[1]


def class_folder(job, loaded):
    words = encode(loaded, [job.prior_prompt], "")
    return _class_pictures(job, loaded, words, lambda done, total: None)


@pytest.mark.parametrize("name", ["merges.txt", "vocab.json", "tokenizer_config.json"])
def test_cached_captions_belong_to_one_tokenizer(model, tiny_sd, name):
    file = model / "tokenizer" / name
    file.write_bytes(file.read_bytes() + b"\n")
    assert load(model).text_key != load(tiny_sd).text_key


def test_a_copy_of_a_model_shares_its_cached_captions(model, tiny_sd):
    assert load(model).text_key == load(tiny_sd).text_key
