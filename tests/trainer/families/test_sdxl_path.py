"""SDXL from pictures to a verdict, on a tiny random model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from analysis.analyse import analyse
from analysis.crew import Crew
from analysis.judgements.base import Shown
from analysis.losses import Judge
from analysis.reference import shelf
from analysis.sweep import sweep_of_run
from app.sweeps import Named, sweep_of
from tests.conftest import write_pictures
from tests.trainer.training import lora_bytes, tiny_job, train_here
from tests.trainer.weights.tiny_models import about, randomise
from trainer.adapters.lora import LoraConfig
from trainer.core import events
from trainer.core.device import Plan
from trainer.core.errors import AdapterError, ConfigError, ProofError
from trainer.core.trees import merge
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import Recipe, encode, render_arrays, use_lora
from trainer.families.sd import SdConfig
from trainer.families.sdxl import NAMING, SdxlConfig
from trainer.weights import files
from trainer.weights.attach import attach
from trainer.weights.files import read
from trainer.weights.layouts import Weights

PLAN = Plan("cpu", "fp32")
PROMPT = "a photo of sks fox"
PRIOR = {
    "dataset": {"class_word": "fox"},
    "prior": {"enabled": True, "count": 3, "steps": 2, "weight": 0.5},
    "samples": {"every": 1, "steps": 2, "prompts": [PROMPT]},
    "validation": {"share": 0.25},
    "schedule": {"accumulate": 1},
    "save": {"diffusers": True},
}


def job_of(model, pictures, runs, **changes):
    """Both text encoders train, hard enough to be seen."""
    plain = {
        "model": {"kind": "sdxl"},
        "dataset": {"caption_dropout": 0.0},
        "optimizer": {"learning_rate": 5e-2},
        "adapter": {"dropout": 0.0},
        "text_encoder": {"train": True, "learning_rate": 5e-2},
    }
    return tiny_job(model, pictures, runs, **merge(plain, changes))


@pytest.fixture(scope="module")
def trained(tiny_sdxl, tmp_path_factory):
    """Two epochs with class pictures, samples, a picture held out, and both text encoders."""
    place = tmp_path_factory.mktemp("sdxl")
    write_pictures(place / "pictures", 5, (80, 64))
    job = job_of(tiny_sdxl, place / "pictures", place / "runs", **PRIOR)
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


def test_it_renders_samples_and_measures_held_out_pictures(trained):
    _, run, told = trained
    assert [event.epoch for event in told_of(events.Sampled, told)] == [0, 1, 2]
    assert len(list(run.samples.glob("*.png"))) == 3
    losses = [event.loss for event in told_of(events.Validated, told)]
    assert len(losses) == 2
    assert losses[0] != losses[1]


def test_both_text_encoders_and_the_denoiser_are_in_the_file(trained):
    _, run, _ = trained
    weights = read(kohya_file(run)).weights(NAMING)
    parts = {name.partition(".")[0] for name in weights.alphas}
    assert parts == {"denoiser", "text_encoder", "text_encoder_2"}
    assert all(bool(b.any()) for _, _, b, _ in weights)


def test_what_trains_is_told_before_the_model_is_read(trained):
    _, _, told = trained
    (planned,) = told_of(events.Planned, told)
    (started,) = told_of(events.Started, told)
    assert planned.facts["trains"].endswith(", and text_encoder and text_encoder_2")
    assert f"{started.trainable / 1e6:.2f} M parameters" in planned.facts["trains"]


def test_the_header_names_sdxl_as_readers_look_for_it(trained):
    _, run, _ = trained
    told = read(kohya_file(run)).metadata
    assert told["ss_base_model_version"] == "sdxl_base_v1-0"
    assert told["ss_v2"] == "False"
    assert told["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert "lora_adapter_metadata" not in told


def test_a_stopped_run_goes_on_to_the_same_weights(trained, tmp_path):
    job, whole, _ = trained
    run, _ = train_here(job.model_copy(update={"runs": tmp_path}), stop_after=1)
    _, again = train_here(run.job, run=run)
    assert told_of(events.Started, again)[0].resumed_from == 1
    assert lora_bytes(run) == lora_bytes(whole)


@pytest.mark.parametrize(("which", "part"), [("first", "te1"), ("second", "te2")])
def test_either_text_encoder_can_train_alone(tiny_sdxl, pictures, tmp_path, which, part):
    text = {"train": True, "which": which}
    job = job_of(tiny_sdxl, pictures(count=2), tmp_path / "runs", text_encoder=text)
    run, told = train_here(job)
    assert {name.split("_")[1] for name in read(kohya_file(run)).pairs} == {"unet", part}
    assert told_of(events.Proven, told)


def test_captions_are_encoded_ahead_when_no_text_encoder_trains(tiny_sdxl, pictures, tmp_path):
    text = {"train": False}
    changes = {"text_encoder": text, "samples": {"every": 2, "steps": 2}}
    job = job_of(tiny_sdxl, pictures(count=2), tmp_path / "runs", **changes)
    run, told = train_here(job)
    assert told_of(events.Proven, told)
    assert not told_of(events.Warned, told)
    assert len(told_of(events.Sampled, told)) == 4
    assert {name.split("_")[1] for name in read(kohya_file(run)).pairs} == {"unet"}
    assert list(job.cache_folder.glob("captions-*"))


def test_a_second_text_encoder_is_refused_where_there_is_one(tiny_sd, pictures, tmp_path):
    text = {"train": True, "which": "second"}
    job = tiny_job(tiny_sd, pictures(count=2), tmp_path / "runs", text_encoder=text)
    with pytest.raises(ConfigError, match=r"'second', and the model's text encoders are: text_enc"):
        train_here(job)


VARIED = {"text_encoder": {"train": False}, "dataset": {"shuffle_tags": True, "tag_dropout": 0.3}}


@pytest.mark.parametrize(("packed", "changes"), [(True, {}), (False, VARIED)])
def test_it_trains_in_16_bits_and_packed(tiny_sdxl, pictures, tmp_path, packed, changes):
    """Both text encoders learn, or say captions that chance makes."""
    compute = {"precision": "bf16", "packed": packed, "gradient_checkpointing": packed}
    job = job_of(
        tiny_sdxl,
        pictures(count=2),
        tmp_path / "runs",
        compute=compute,
        adapter={"targets": "linear+conv"},
        schedule={"epochs": 1},
        **changes,
    )
    _, told = train_here(job)
    (proof,) = told_of(events.Proven, told)
    assert proof.difference < 2


# The file, in other programs' hands


def by_diffusers(model, file, *, prompt=PROMPT):
    """What a fresh pipeline renders with the file: floats `(H, W, 3)`, and its LoRA layers."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(model, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    if file is not None:
        pipeline.load_lora_weights(file.parent, weight_name=file.name)
    picture = pipeline(
        prompt,
        width=64,
        height=64,
        num_inference_steps=4,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    networks = (pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2)
    return picture, sum(hasattr(m, "lora_A") for n in networks for m in n.modules())


def by_us(model, *, prompt=PROMPT):
    recipe = Recipe((64, 64), 4, 3.0)
    return render_arrays(model, encode(model, [prompt], ""), [7], recipe)[0]


@pytest.fixture(scope="module")
def strong(tiny_sdxl, tmp_path_factory):
    """A LoRA on every layer that can carry one, in both layouts; its modules, and its picture."""
    model = SdxlConfig(base=str(tiny_sdxl)).load(PLAN)
    config = LoraConfig(rank=4, alpha=2.0, targets="linear+conv")
    adapter = randomise(attach(model, config, text_encoders=model.text_encoders, seed=0), 0.1)
    weights, folder = Weights(adapter.state(), adapter.alphas()), tmp_path_factory.mktemp("strong")
    for layout in ("kohya", "diffusers"):
        path = folder / f"{layout}.safetensors"
        told = about(modelspec=model.modelspec)
        files.export(path, weights, told, NAMING, layout=layout, precision="fp32")
    return folder, len(adapter.modules), by_us(model)


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_a_fresh_pipeline_renders_what_the_trained_model_does(strong, tiny_sdxl, layout):
    folder, modules, ours = strong
    base, _ = by_diffusers(tiny_sdxl, None)
    theirs, layers = by_diffusers(tiny_sdxl, folder / f"{layout}.safetensors")
    assert layers == modules
    assert np.abs(ours - base).max() > 20 / 255
    assert np.abs(theirs - ours).max() < 2 / 255


def test_a_bank_renders_each_row_as_a_fresh_pipeline_does(strong, tiny_sdxl):
    folder, *_ = strong
    path = folder / "kohya.safetensors"
    model = SdxlConfig(base=str(tiny_sdxl)).load(PLAN)
    bank = Bank(model, {"strong": read(path).weights(NAMING)})
    assert bank.speaks("strong")
    pictures = []
    for row, file in ((Row("strong", 1.0), path), (Row(), None)):
        with bank.rows([row]):
            pictures.append(by_us(model))
        theirs, _ = by_diffusers(tiny_sdxl, file)
        assert np.abs(theirs - pictures[-1]).max() < 2 / 255
    assert np.abs(pictures[0] - pictures[1]).max() > 20 / 255


def test_a_sweep_ends_with_a_report(trained):
    _, run, _ = trained
    asked = (
        "analysis.strengths=[0.5, 1.0]",
        "analysis.seeds=2",
        "analysis.steps=2",
        f'analysis.prompts=["{PROMPT}", "a red sks dog"]',
        'analysis.plain_prompts=["a cat"]',
        "analysis.fine=false",
    )
    sweep = sweep_of_run(run, asked)
    told = []
    code = analyse(sweep, told.append, lambda: False)
    report = json.loads((sweep.path / "report.json").read_text(encoding="utf-8"))
    assert code in (0, 10)
    assert len(report["cells"]) == 2 * 2 * 3 * 2
    assert all(cell["status"] == "ok" for cell in report["cells"])
    assert set(report["judged"][0]["metrics"]) == {"fit", "drift"}
    assert (sweep.path / "report.html").stat().st_size > 1000


def test_pictures_that_a_sweep_compares_with_tell_their_own_sizes(trained):
    """The judge asks a model that was told sizes in training."""
    job, run, _ = trained
    model = job.model.load(PLAN)
    there = shelf(sweep_of_run(run, ()).config, model, (64, 64), lambda event: None)
    frames = {shown.frame for shown in (*there.training, *there.held_out)}
    assert frames == {(64, 80, 0, 8, 64, 64)}
    control = Shown.whole("control", there.training[0].pixels[:, :48], "a cat")
    assert control.frame == (64, 48, 0, 0, 64, 48)
    judge = Judge(model, Bank(model, {}), {}, draws=2, together=2)
    cut, whole = (
        judge.column("sizes", [], [shown], Crew(), lambda done, total: None).control
        for shown in (there.training[0], replace(there.training[0], frame=(64, 64, 0, 0, 64, 64)))
    )
    assert cut.shape == (1, 2)
    assert (cut != whole).all()


# Of another family


@pytest.fixture
def sd_lora(tiny_sd, pictures, tmp_path):
    schedule = {"epochs": 1, "accumulate": 1}
    run, _ = train_here(tiny_job(tiny_sd, pictures(count=2), tmp_path / "sd", schedule=schedule))
    return next(run.lora.glob("*.safetensors"))


def test_a_lora_of_sd_is_named_where_sdxl_is_the_base(sd_lora, tiny_sdxl):
    with pytest.raises(AdapterError, match=r"made for Stable Diffusion 1\.x, and the base .* SDXL"):
        read(sd_lora).weights(NAMING)
    with pytest.raises(AdapterError, match=r"was made for Stable Diffusion 1\.x"):
        use_lora(SdxlConfig(base=str(tiny_sdxl)).load(PLAN), sd_lora)


@pytest.mark.parametrize("file", [kohya_file, diffusers_file])
def test_a_lora_of_sdxl_is_named_where_sd_is_the_base(trained, tiny_sd, file):
    _, run, _ = trained
    with pytest.raises(AdapterError, match="made for SDXL, and the base model is Stable Diffusion"):
        read(file(run)).weights(SdConfig.naming)
    with pytest.raises(AdapterError, match="was made for SDXL"):
        use_lora(SdConfig(base=str(tiny_sd)).load(PLAN), file(run))


def test_a_sweep_of_a_lora_of_sd_on_sdxl_names_the_family(sd_lora, tiny_sdxl, tmp_path):
    named = Named(str(tiny_sdxl), "sdxl", overrides=['analysis.prompts=["a fox"]'])
    sweep = sweep_of([sd_lora], named, None, tmp_path)
    with pytest.raises(AdapterError, match=r"made for Stable Diffusion 1\.x"):
        analyse(sweep, lambda event: None, lambda: False)


def test_a_proof_fails_for_a_text_encoder_that_was_left_out(trained, tiny_sdxl, monkeypatch):
    """The pictures are compared with all parts of the adapter in place."""
    from trainer import proof

    job, run, _ = trained
    weights = read(kohya_file(run)).weights(NAMING)
    asked = proof.Asked(weights.tensors, {kohya_file(run): "kohya"}, PROMPT)
    loads = StableDiffusionXLPipeline.load_lora_into_text_encoder.__func__

    def only_first(cls, *args, prefix=None, **kwargs):
        if prefix == "text_encoder":
            loads(cls, *args, prefix=prefix, **kwargs)

    monkeypatch.setattr(
        StableDiffusionXLPipeline, "load_lora_into_text_encoder", classmethod(only_first)
    )
    with pytest.raises(ProofError, match="differs from the trained model's"):
        proof.prove(job, PLAN, asked, lambda event: None)
