"""Stable Diffusion 3.5 from pictures to a verdict, on a tiny random model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from analysis.analyse import analyse
from analysis.sweep import sweep_of_run
from app.sweeps import Named, sweep_of
from tests.conftest import write_pictures
from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer.core import events
from trainer.core.device import Plan
from trainer.core.errors import AdapterError, ConfigError, ProofError
from trainer.core.trees import merge
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import Recipe, Words, encode, render_arrays, use_lora
from trainer.families.sd3 import NAMING, Sd3Config
from trainer.weights.files import read
from trainer.weights.inspect import inspect

PLAN = Plan("cpu", "fp32")
PROMPT = "a photo of sks fox"
PRIOR = {
    "dataset": {"class_word": "fox"},
    "prior": {"enabled": True, "count": 3, "steps": 2, "weight": 0.5},
    "samples": {"every": 1, "steps": 2, "prompts": [PROMPT], "negative": "red dog"},
    "validation": {"share": 0.25},
    "schedule": {"accumulate": 1},
    "save": {"diffusers": True},
}


def job_of(model, pictures, runs, **changes):
    """Both CLIPs train, hard enough to be seen."""
    plain = {
        "model": {"kind": "sd3", "max_tokens": 16},
        "dataset": {"caption_dropout": 0.0},
        "optimizer": {"learning_rate": 5e-2},
        "adapter": {"dropout": 0.0},
        "text_encoder": {"train": True, "learning_rate": 5e-2},
    }
    return tiny_job(model, pictures, runs, **merge(plain, changes))


@pytest.fixture(scope="module")
def trained(tiny_sd3, tmp_path_factory):
    """Two epochs with class pictures, samples, a picture held out, and both CLIPs."""
    place = tmp_path_factory.mktemp("sd3")
    write_pictures(place / "pictures", 5, (80, 64))
    job = job_of(tiny_sd3, place / "pictures", place / "runs", **PRIOR)
    return job, *train_here(job)


def told_of(kind, told):
    return [event for event in told if isinstance(event, kind)]


def kohya_file(run):
    return run.lora / "tiny-e0002.safetensors"


def diffusers_file(run):
    return run.lora / "tiny-e0002-diffusers.safetensors"


def test_a_run_ends_with_a_proof_of_both_layouts(trained):
    _, run, told = trained
    proofs = told_of(events.Proven, told)
    assert [proof.path for proof in proofs] == [kohya_file(run).name, diffusers_file(run).name]
    assert all(proof.moved > 0.5 and proof.difference < 0.1 for proof in proofs)
    assert not told_of(events.Warned, told)


def test_it_renders_samples_and_measures_held_out_pictures(trained):
    _, run, told = trained
    assert [event.epoch for event in told_of(events.Sampled, told)] == [0, 1, 2]
    assert len(list(run.samples.glob("*.png"))) == 3
    losses = [event.loss for event in told_of(events.Validated, told)]
    assert len(losses) == 2
    assert losses[0] != losses[1]


@pytest.mark.parametrize("file", [kohya_file, diffusers_file])
def test_everything_in_the_file_learned(trained, file):
    _, run, _ = trained
    weights = read(file(run)).weights(NAMING)
    parts = {name.partition(".")[0] for name in weights.alphas}
    assert parts == {"denoiser", "text_encoder", "text_encoder_2"}
    assert all(bool(b.any()) for _, _, b, _ in weights)
    assert sum(".attn2." in name for name in weights.alphas) == 2 * 4
    assert inspect(file(run)).zeros == []


def test_what_trains_is_told_before_the_model_is_read(trained):
    _, _, told = trained
    (planned,) = told_of(events.Planned, told)
    (started,) = told_of(events.Started, told)
    assert planned.facts["trains"].endswith(", and text_encoder and text_encoder_2")
    assert f"{started.trainable / 1e6:.2f} M parameters" in planned.facts["trains"]
    assert "shifted by 3" in planned.facts["timesteps"]


@pytest.mark.parametrize(("file", "layout"), [(kohya_file, "kohya"), (diffusers_file, "diffusers")])
def test_a_found_file_is_known(trained, file, layout):
    _, run, _ = trained
    told = inspect(file(run))
    assert (told.family, told.layout) == ("Stable Diffusion 3/3.5", layout)
    assert told.metadata["modelspec.architecture"] == "stable-diffusion-3-5-medium/lora"
    assert told.metadata["ss_network_module"] == "networks.lora_sd3"
    assert "modelspec.prediction_type" not in told.metadata


WAYS = {
    "both CLIPs and prior preservation": PRIOR,
    "the transformer alone": {"text_encoder": {"train": False}, "adapter": {"dropout": 0.1}},
    "checkpointing": {"compute": {"gradient_checkpointing": True}},
}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_a_stopped_run_goes_on_to_the_same_weights(tiny_sd3, pictures, tmp_path, changes):
    job = job_of(tiny_sd3, pictures(count=4), tmp_path / "runs", **changes)
    whole, _ = train_here(job)
    run, _ = train_here(job, stop_after=1)
    _, again = train_here(run.job, run=run)
    assert told_of(events.Started, again)[0].resumed_from == 1
    assert lora_bytes(run) == lora_bytes(whole)


@pytest.mark.parametrize(("which", "part"), [("first", "te1"), ("second", "te2")])
def test_either_clip_can_train_alone(tiny_sd3, pictures, tmp_path, which, part):
    text = {"train": True, "which": which}
    job = job_of(tiny_sd3, pictures(count=2), tmp_path / "runs", text_encoder=text)
    run, told = train_here(job)
    assert {name.split("_")[1] for name in read(kohya_file(run)).pairs} == {"unet", part}
    assert told_of(events.Proven, told)


@pytest.mark.parametrize("targets", ["attention+ff", "linear"])
def test_every_named_choice_trains_and_is_proven(tiny_sd3, pictures, tmp_path, targets):
    job = job_of(tiny_sd3, pictures(count=2), tmp_path / "runs", adapter={"targets": targets})
    _, told = train_here(job)
    assert told_of(events.Proven, told)[0].difference < 0.1


def test_captions_are_encoded_ahead_when_no_text_encoder_trains(tiny_sd3, pictures, tmp_path):
    changes = {"text_encoder": {"train": False}, "samples": {"every": 2, "steps": 2}}
    job = job_of(tiny_sd3, pictures(count=2), tmp_path / "runs", **changes)
    run, told = train_here(job)
    assert told_of(events.Proven, told)
    assert not told_of(events.Warned, told)
    assert {name.split("_")[1] for name in read(kohya_file(run)).pairs} == {"unet"}
    assert list(job.cache_folder.glob("captions-*"))


def test_a_model_without_t5_trains_and_is_proven(tiny_sd3_medium, pictures, tmp_path):
    job = job_of(tiny_sd3_medium, pictures(count=2), tmp_path / "runs")
    _, told = train_here(job)
    assert "without T5" in told_of(events.Warned, told)[0].message
    assert told_of(events.Proven, told)[0].difference < 0.1


@pytest.mark.parametrize("packed", [True, False])
def test_it_trains_in_16_bits_and_packed(tiny_sd3, pictures, tmp_path, packed):
    job = job_of(
        tiny_sd3,
        pictures(count=2),
        tmp_path / "runs",
        compute={"precision": "bf16", "packed": packed, "gradient_checkpointing": packed},
        adapter={"targets": "linear"},
        schedule={"epochs": 1},
    )
    _, told = train_here(job)
    assert told_of(events.Proven, told)[0].difference < 2


# The file, in other hands


def by_diffusers(model, file):
    """What a fresh pipeline renders with the file: floats `(H, W, 3)`, and its LoRA layers."""
    from diffusers import StableDiffusion3Pipeline

    pipeline = StableDiffusion3Pipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    if file is not None:
        pipeline.load_lora_weights(file.parent, weight_name=file.name)
    picture = pipeline(
        PROMPT,
        max_sequence_length=16,
        width=64,
        height=64,
        num_inference_steps=4,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    networks = (pipeline.transformer, pipeline.text_encoder, pipeline.text_encoder_2)
    return picture, sum(hasattr(m, "lora_A") for n in networks for m in n.modules())


def loaded(base):
    return Sd3Config(base=str(base), max_tokens=16).load(PLAN)


def by_us(model, words=None):
    words = words or encode(model, [PROMPT], "")
    return render_arrays(model, words, [7] * len(words.prompts), Recipe((64, 64), 4, 3.0))


def test_a_trained_file_gives_a_fresh_pipeline_of_diffusers_our_picture(trained, tiny_sd3):
    _, run, _ = trained
    pictures = {}
    for name, file in (("kohya", kohya_file(run)), ("diffusers", diffusers_file(run))):
        model = loaded(tiny_sd3)
        use_lora(model, file)
        pictures[name] = by_us(model)[0]
    theirs, layers = by_diffusers(tiny_sd3, diffusers_file(run))
    base, _ = by_diffusers(tiny_sd3, None)
    assert layers == len(read(diffusers_file(run)).pairs)
    assert np.abs(theirs - base).max() > 8 / 255
    assert all(np.abs(theirs - ours).max() < 2 / 255 for ours in pictures.values())


def test_rows_of_a_bank_are_each_diffusers_own_picture(trained, tiny_sd3):
    _, run, _ = trained
    model = loaded(tiny_sd3)
    bank = Bank(model, {"it": read(kohya_file(run)).weights(NAMING)})
    assert bank.speaks("it")
    rows = [Row(), Row("it", 1.0)]
    words = []
    for row in rows:
        with bank.rows([row]):
            words.append(encode(model, [PROMPT], ""))
    with bank.rows(rows):
        ours = by_us(model, Words.stacked(words))
    for seen, file in zip(ours, (None, diffusers_file(run)), strict=True):
        assert np.abs(seen - by_diffusers(tiny_sd3, file)[0]).max() < 2 / 255
    assert np.abs(ours[1] - ours[0]).max() > 8 / 255


def test_a_sweep_ends_with_a_report(trained):
    _, run, _ = trained
    asked = (
        "analysis.strengths=[0.5, 1.0]",
        "analysis.seeds=2",
        "analysis.steps=2",
        f'analysis.prompts=["{PROMPT}", "a red sks dog"]',
        'analysis.plain_prompts=["a cat"]',
        'analysis.negative="ugly"',
        "analysis.fine=false",
    )
    sweep = sweep_of_run(run, asked)
    code = analyse(sweep, lambda event: None, lambda: False)
    report = json.loads((sweep.path / "report.json").read_text(encoding="utf-8"))
    assert code in (0, 10)
    assert len(report["cells"]) == 2 * 2 * 3 * 2
    assert all(cell["status"] == "ok" for cell in report["cells"])
    assert set(report["judged"][0]["metrics"]) == {"fit", "drift"}
    assert (sweep.path / "report.html").stat().st_size > 1000


# Of another family


@pytest.fixture
def sdxl_lora(tiny_sdxl, pictures, tmp_path):
    changes = {"model": {"kind": "sdxl"}, "schedule": {"epochs": 1, "accumulate": 1}}
    run, _ = train_here(tiny_job(tiny_sdxl, pictures(count=2), tmp_path / "sdxl", **changes))
    return next(run.lora.glob("*.safetensors"))


def test_a_lora_of_sdxl_is_refused_by_name(sdxl_lora, tiny_sd3, tmp_path):
    with pytest.raises(AdapterError, match=r"made for SDXL, and .* Stable Diffusion 3/3\.5"):
        use_lora(loaded(tiny_sd3), sdxl_lora)
    named = Named(str(tiny_sd3), "sd3", overrides=['analysis.prompts=["a fox"]'])
    sweep = sweep_of([sdxl_lora], named, None, tmp_path)
    with pytest.raises(AdapterError, match="made for SDXL"):
        analyse(sweep, lambda event: None, lambda: False)


def test_a_second_clip_is_refused_where_t5_is_the_second(tiny_flux, pictures, tmp_path):
    text = {"train": True, "which": "second"}
    model = {"kind": "flux", "max_tokens": 16}
    job = tiny_job(tiny_flux, pictures(count=2), tmp_path, model=model, text_encoder=text)
    with pytest.raises(ConfigError, match=r"'second', and the model's text encoders are: text_enc"):
        train_here(job)


def test_a_proof_fails_for_a_clip_that_was_left_out(trained, monkeypatch):
    """The pictures are compared with all parts of the adapter in place."""
    from diffusers import StableDiffusion3Pipeline

    from trainer import proof

    job, run, _ = trained
    weights = read(kohya_file(run)).weights(NAMING)
    asked = proof.Asked(weights.tensors, {kohya_file(run): "kohya"}, PROMPT)
    loads = StableDiffusion3Pipeline.load_lora_into_text_encoder.__func__

    def only_first(cls, *args, prefix=None, **kwargs):
        if prefix == "text_encoder":
            loads(cls, *args, prefix=prefix, **kwargs)

    monkeypatch.setattr(
        StableDiffusion3Pipeline, "load_lora_into_text_encoder", classmethod(only_first)
    )
    with pytest.raises(ProofError, match="differs from the trained model's"):
        proof.prove(job, PLAN, asked, lambda event: None)
