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
from trainer.families.base import families
from trainer.families.finding import kind_of
from trainer.families.reading import _at_once
from trainer.families.sd import Sd, SdConfig
from trainer.families.shards import Shards, find_shards
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


def in_shards(file: Path, *, variant: str = "") -> list[Path]:
    """Exchange a file of weights for two shards and their index, as downloads leave them."""
    tensors, stem = load_file(file), file.stem
    names = sorted(tensors)
    listed: dict[str, str] = {}
    for number, some in enumerate((names[::2], names[1::2]), start=1):
        shard = f"{stem}{variant}-{number:05d}-of-00002.safetensors"
        save_file({n: tensors[n] for n in some}, file.with_name(shard), metadata={"format": "pt"})
        listed |= dict.fromkeys(some, shard)
    file.unlink()
    index = file.with_name(f"{stem}.safetensors.index{variant}.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": listed}), encoding="utf-8")
    return [file.with_name(name) for name in sorted(set(listed.values()))]


def as_fp16(model: Path, *, shards: bool) -> None:
    """Leave only the variant fp16 of every part."""
    for name in WEIGHTS.values():
        rewrite(model / name, lambda tensors: {n: t.half() for n, t in tensors.items()})
        if shards:
            in_shards(model / name, variant=".fp16")
        else:
            (model / name).rename((model / name).with_suffix(".fp16.safetensors"))


def cut(file: Path, size: int = 1000) -> None:
    with file.open("rb+") as opened:
        opened.truncate(size)


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


@pytest.mark.parametrize("part", list(WEIGHTS))
def test_a_file_that_is_cut_short_is_named_before_anything_is_read(model, part):
    file = model / WEIGHTS[part]
    size = file.stat().st_size
    cut(file, size - 1234)
    with pytest.raises(ModelError, match=r"cut short: .* MB are there .* 1,234 bytes are missing"):
        outline(model)
    with pytest.raises(ModelError) as refused:
        load(model)
    assert refused.value.where == str(file)
    assert "download it again" in refused.value.hint


def test_a_shard_that_is_cut_short_is_named(model):
    last = in_shards(model / WEIGHTS["unet"])[-1]
    assert outline(model)
    cut(last)
    with pytest.raises(ModelError, match="it ends after 1,000 bytes") as refused:
        outline(model)
    assert refused.value.where == str(last)


def test_a_shard_that_is_missing_is_named(model):
    last = in_shards(model / WEIGHTS["unet"])[-1]
    last.unlink()
    said = "1 of its 2 files of weights are missing, the first is 'diffusion_pytorch_model-00002"
    with pytest.raises(ModelError, match=said) as refused:
        outline(model)
    assert refused.value.where == str(model / "unet")


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_lists_no_files_is_named(model, text):
    in_shards(model / TEXT)
    index = model / "text_encoder" / "model.safetensors.index.json"
    index.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="does not list files of weights") as refused:
        outline(model)
    assert refused.value.where == str(index)


def test_a_part_without_its_weights_is_named(model):
    (model / WEIGHTS["vae"]).unlink()
    with pytest.raises(ModelError, match="no weights: there is no diffusion_pytorch_m") as refused:
        outline(model)
    assert refused.value.where == str(model / "vae")


def test_weights_that_are_a_pickle_are_named_before_anything_is_read(model):
    (model / WEIGHTS["vae"]).rename(model / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match=r"are a pickle \(diffusion_pytorch_model.bin\)"):
        outline(model)


def test_a_folder_of_settings_alone_can_be_planned_with(model):
    for name in WEIGHTS.values():
        (model / name).unlink()
    assert outline(model)


def assert_same_weights(one: Sd, other: Sd) -> None:
    for name in ("vae", "denoiser"):
        states = getattr(one, name).state_dict(), getattr(other, name).state_dict()
        assert all(torch.equal(states[0][n], t.half().float()) for n, t in states[1].items())


@pytest.mark.parametrize("shards", [False, True])
def test_a_folder_of_the_variant_fp16_alone_is_read(model, tiny_sd, shards):
    as_fp16(model, shards=shards)
    assert outline(model)
    assert_same_weights(load(model), load(tiny_sd))


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("part", list(WEIGHTS))
def test_the_librarys_own_reader_reads_the_variant_fp16_too(model, tiny_sd, shards, part):
    import diffusers
    import transformers

    as_fp16(model, shards=shards)
    cls = {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "text_encoder": transformers.CLIPTextModel,
    }[part]
    read, plain = (
        _at_once(cls, folder / part, torch.float32).state_dict() for folder in (model, tiny_sd)
    )
    assert all(torch.equal(read[n], tensor.half().float()) for n, tensor in plain.items())


def test_the_plain_files_go_before_the_variant(model, tiny_sd):
    other = (model / TEXT).with_suffix(".fp16.safetensors")
    shutil.copy(model / TEXT, other)
    rewrite(other, lambda tensors: {n: torch.zeros_like(t) for n, t in tensors.items()})
    assert find_shards(model / "text_encoder") == Shards((model / TEXT,), None)
    assert load(model).text_key == load(tiny_sd).text_key


def test_an_index_without_its_files_does_not_hide_the_variant(model):
    as_fp16(model, shards=True)
    half = model / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json"
    plain = half.with_name("diffusion_pytorch_model.safetensors.index.json")
    plain.write_text(half.read_text().replace(".fp16", ""), encoding="utf-8")
    assert outline(model)


def test_cached_captions_belong_to_the_weights_of_the_variant(model):
    as_fp16(model, shards=False)
    before = load(model).text_key
    file = (model / TEXT).with_suffix(".fp16.safetensors")
    rewrite(file, lambda tensors: {n: t * 2 for n, t in tensors.items()})
    assert load(model).text_key != before


@pytest.mark.parametrize("look", [lambda base: SdConfig(base=base).outline("attention"), kind_of])
def test_a_pickle_that_is_not_there_is_absent(tmp_path, look):
    with pytest.raises(ModelError, match="there is no such file") as refused:
        look(str(tmp_path / "nosuch.ckpt"))
    assert refused.value.where == str(tmp_path / "nosuch.ckpt")


@pytest.mark.parametrize(("kind", "single"), [("sdxl", True), ("sd3", False)])
def test_what_to_take_where_no_model_ships_is_what_the_family_reads(kind, single):
    with pytest.raises(ModelError, match="no model of this family ships") as refused:
        families[kind].model_validate({"base": "demo"}).outline("attention")
    assert ("a .safetensors file" in refused.value.hint) == single
