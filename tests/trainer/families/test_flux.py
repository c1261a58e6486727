"""FLUX.1 from pictures to proven files, on a tiny random model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer.core import events
from trainer.core.batch import Batch
from trainer.core.device import plan
from trainer.core.draws import generator
from trainer.core.errors import AdapterError, ConfigError, ModelError
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import Recipe, Words, encode, render_arrays, use_lora
from trainer.families.flux import FluxConfig
from trainer.families.sd import SdConfig
from trainer.weights import files
from trainer.weights.attach import attach
from trainer.weights.inspect import inspect
from trainer.weights.layouts import Weights, to_diffusers, to_kohya

RECIPE = Recipe((64, 64), 2, 3.5)


@pytest.fixture
def make_job(tiny_flux, pictures, tmp_path):
    def make(base=tiny_flux, **changes):
        model = {"kind": "flux", "max_tokens": 16, **changes.pop("model", {})}
        folder = pictures(count=4, name=f"pictures-{len(list(tmp_path.iterdir()))}")
        return tiny_job(base, folder, tmp_path / "runs", model=model, **changes)

    return make


def load(base, **settings):
    values = {"base": str(base), "resolution": 64, "max_tokens": 16, **settings}
    return FluxConfig.model_validate(values).load(plan("cpu", "fp32"))


def told_of(kind, told):
    return [event for event in told if isinstance(event, kind)]


def random_lora(model, path, *, layout="kohya", targets="attention", text=False, seed=1):
    """A LoRA file with every matrix drawn, strong enough to see."""
    config = tiny_job(path, path, path).adapter
    config = config.model_copy(update={"targets": targets, "rank": 3, "alpha": 2.0, "dropout": 0.0})
    adapter = attach(model, config, text_encoders=("text_encoder",) if text else (), seed=seed)
    for module in adapter.modules:
        torch.nn.init.normal_(module.b, std=5, generator=generator(seed, module.name))
    weights = Weights(adapter.state(), adapter.alphas())
    make = to_kohya if layout == "kohya" else to_diffusers
    files.save(path, make(weights, FluxConfig.naming), {}, "fp32")
    return path


# The whole path


def test_a_run_trains_samples_and_proves_both_layouts(make_job):
    job = make_job(
        save={"diffusers": True},
        samples={"every": 1, "steps": 2, "prompts": ["a red fox"]},
        validation={"share": 0.3},
    )
    run, told = train_here(job)
    steps = told_of(events.Stepped, told)
    assert len(steps) == job.schedule.epochs * 1
    kohya, diffusers = told_of(events.Proven, told)
    assert kohya.moved > 0
    assert max(kohya.difference, diffusers.difference) < 2
    assert diffusers.moved == pytest.approx(kohya.moved, rel=0.1, abs=0.01)
    assert not [w for w in told_of(events.Warned, told) if "failed" in w.message]
    assert len(list(run.samples.iterdir())) == 3
    (first, *_) = [p for p in sorted(run.lora.iterdir()) if "diffusers" not in p.name]
    told = inspect(first)
    assert (told.family, told.layout) == ("FLUX.1", "kohya")
    header = {k: told.metadata[k] for k in ("modelspec.architecture", "ss_base_model_version")}
    assert header == {
        "modelspec.architecture": "flux-1-dev/lora",
        "ss_base_model_version": "flux1",
    }
    assert told.metadata["ss_network_module"] == "networks.lora_flux"
    assert "modelspec.prediction_type" not in told.metadata


WAYS = {
    "as it is": {},
    "prior preservation": {
        "dataset": {"class_word": "fox"},
        "prior": {"enabled": True, "count": 2, "steps": 2},
    },
    "CLIP's LoRA": {"text_encoder": {"train": True, "learning_rate": 1e-3}},
    "checkpointing": {"compute": {"gradient_checkpointing": True}},
}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_a_stopped_run_goes_on_to_the_same_weights(make_job, changes):
    job = make_job(**changes)
    whole, told = train_here(job)
    assert told_of(events.Proven, told)
    run, _ = train_here(job, stop_after=1)
    train_here(job, run=run)
    assert lora_bytes(run) == lora_bytes(whole)


@pytest.mark.parametrize("targets", ["attention+ff", "linear"])
def test_every_named_choice_trains_and_is_proven(make_job, targets):
    _, told = train_here(make_job(adapter={"targets": targets}))
    assert told_of(events.Proven, told)[0].difference < 2


def test_bf16_and_packed_weights_train_too(make_job):
    job = make_job(compute={"precision": "bf16", "packed": True}, adapter={"targets": "linear"})
    _, told = train_here(job)
    assert told_of(events.Proven, told)


def test_pictures_and_captions_are_encoded_once(make_job):
    job = make_job()
    train_here(job)
    cached = {f: f.stat().st_mtime_ns for f in job.cache_folder.rglob("*.safetensors")}
    assert cached
    train_here(job)
    again = {f: f.stat().st_mtime_ns for f in job.cache_folder.rglob("*.safetensors")}
    assert again == cached


# The objective


@pytest.mark.parametrize("weighting", ["none", "sigma_sqrt", "cosmap"])
@pytest.mark.parametrize("guided", [True, False], ids=["dev", "schnell"])
def test_the_loss_is_that_of_diffusers_script(tiny_flux, tiny_schnell, weighting, guided):
    """train_dreambooth_lora_flux.py, its formulas written out on the same tensors."""
    from diffusers import FluxPipeline
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    model = load(tiny_flux if guided else tiny_schnell, flow={"weighting": weighting})
    draws = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 3, 48, 64, generator=draws) * 2 - 1
    sigmas = torch.tensor([0.21, 0.5, 0.93])
    captions = ("a photo of sks fox", "red dog", "")
    with torch.no_grad():
        vae, transformer = model.vae, model.denoiser
        prompt_embeds, pooled, text_ids = model.pipeline().encode_prompt(
            list(captions), list(captions), max_sequence_length=16
        )
        model_input = vae.encode(pixels).latent_dist.mean
        model_input = (model_input - vae.config.shift_factor) * vae.config.scaling_factor
        noise = torch.randn(model_input.shape, generator=draws)
        spread = sigmas.view(-1, 1, 1, 1)
        noisy = (1.0 - spread) * model_input + spread * noise
        count, channels, height, width = model_input.shape
        packed = FluxPipeline._pack_latents(noisy, count, channels, height, width)
        ids = FluxPipeline._prepare_latent_image_ids(
            count, height // 2, width // 2, "cpu", torch.float32
        )
        prediction = transformer(
            hidden_states=packed,
            timestep=sigmas * 1000 / 1000,
            guidance=torch.tensor([1.0]).expand(count) if guided else None,
            pooled_projections=pooled,
            encoder_hidden_states=prompt_embeds,
            txt_ids=text_ids,
            img_ids=ids,
            return_dict=False,
        )[0]
        prediction = FluxPipeline._unpack_latents(prediction, height * 2, width * 2, 2)
        factor = compute_loss_weighting_for_sd3(weighting, sigmas=spread)
        target = noise - model_input
        theirs = torch.mean((factor * (prediction - target) ** 2).reshape(count, -1), 1)
        ours = model.losses(
            Batch(
                names=("1", "2", "3"),
                captions=captions,
                latents=model.encode_images(pixels)[:, 0],
                noise=noise,
                times=sigmas,
                weights=torch.full((3,), 1 / 3),
                frames=torch.zeros(3, 6),
                conditioning=model.encode_captions(captions),
            )
        )
    assert float((ours - theirs).abs().max()) < 1e-6 * max(1.0, float(theirs.max()))
    assert float(theirs.min()) > 0.1


def test_the_guidance_that_is_asked_for_reaches_the_transformer(tiny_flux):
    latents = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    answers = []
    for guidance in (None, 1.0, 3.5):
        model = load(tiny_flux, guidance=guidance)
        with torch.no_grad():
            words = model.encode_captions(("a fox",))
            answers.append(model._answer(latents, torch.tensor([0.5]), words))
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[1], answers[2])


@pytest.mark.parametrize(("side", "median"), [(32, 0.6225), (128, 0.7595)])
def test_times_are_shifted_by_each_picture_s_size(tiny_flux, side, median):
    model = load(tiny_flux)
    times = torch.stack(
        [model.draw_time((16, side, side), generator(0, "time", i)) for i in range(4000)]
    )
    assert float(times.median()) == pytest.approx(median, abs=0.02)


def test_schnell_s_times_are_not_shifted_and_an_asked_shift_is_taken(tiny_schnell):
    half = torch.logit(load(tiny_schnell).draw_time((16, 128, 128), generator(0, "time")))
    shifted = load(tiny_schnell, flow={"shift": np.e}).draw_time((16, 8, 8), generator(0, "time"))
    assert float(torch.logit(shifted) - half) == pytest.approx(1, abs=1e-4)


# What is made of it elsewhere


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
@pytest.mark.parametrize("text", [False, True], ids=["transformer", "with CLIP"])
def test_a_file_of_either_layout_gives_the_trained_model_s_picture(
    tiny_flux, tmp_path, layout, text
):
    trained = load(tiny_flux)
    base = picture(trained)
    path = random_lora(trained, tmp_path / "lora.safetensors", layout=layout, text=text)
    wanted = picture(trained)
    fresh = load(tiny_flux)
    use_lora(fresh, path)
    assert np.abs(picture(fresh) - wanted).max() < 2 / 255
    assert np.abs(wanted - base).max() > 8 / 255


def test_a_fresh_pipeline_of_diffusers_loads_the_file(tiny_flux, tmp_path):
    from diffusers import FluxPipeline

    trained = load(tiny_flux)
    path = random_lora(trained, tmp_path / "lora.safetensors", layout="diffusers")
    fresh = FluxPipeline.from_pretrained(tiny_flux)
    fresh.set_progress_bar_config(disable=True)
    fresh.load_lora_weights(tmp_path, weight_name=path.name)
    theirs = fresh(
        "a red fox",
        max_sequence_length=16,
        generator=torch.Generator().manual_seed(5),
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=3.5,
        output_type="np",
    ).images[0]
    wanted = picture(trained)
    assert np.abs(theirs - wanted).max() < 2 / 255
    assert np.abs(wanted - picture(load(tiny_flux))).max() > 8 / 255


def picture(model):
    return render_arrays(model, encode(model, ["a red fox"], ""), [5], RECIPE)[0]


def test_rows_of_a_bank_are_each_diffusers_own_picture(tiny_flux, tmp_path):
    loras = {
        "one": random_lora(load(tiny_flux), tmp_path / "one.safetensors", targets="linear"),
        "speaks": random_lora(load(tiny_flux), tmp_path / "speaks.safetensors", text=True, seed=2),
    }
    model = load(tiny_flux)
    bank = Bank(model, {k: files.read(p).weights(FluxConfig.naming) for k, p in loras.items()})
    rows = [Row(), Row("one", 0.5), Row("one", 1.0), Row("speaks", 0.7)]
    words = []
    for row in rows:
        with bank.rows([row if row.adapter == "speaks" else Row()]):
            words.append(encode(model, ["a red fox"], ""))
    with bank.rows(rows):
        ours = render_arrays(model, Words.stacked(words), [5] * 4, RECIPE)
    for row, seen in zip(rows, ours, strict=True):
        alone = load(tiny_flux)
        if row.adapter:
            use_lora(alone, loras[row.adapter], row.strength)
        assert np.abs(seen - picture(alone)).max() < 1e-4
    assert np.abs(ours[1:] - ours[0]).max() > 8 / 255


def test_the_model_sees_what_is_alike(tiny_flux):
    model = load(tiny_flux)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        one, other = torch.randn(2, 16, 8, 8, generator=draws)
        seen = model.see(torch.stack([one, one + 0.01 * other, other]))
    assert seen.shape == (3, 4 * 32)
    assert (seen[0] - seen[1]).norm() < 0.1 * (seen[0] - seen[2]).norm()


# Choices and refusals


def test_blocks_are_chosen_by_number_and_modules_by_expression(tiny_flux):
    model = load(tiny_flux, double_blocks="none", single_blocks="1")
    config = tiny_job(tiny_flux, tiny_flux, tiny_flux).adapter
    chosen = attach(model, config, text_encoders=(), seed=0)
    assert [m.path for m in chosen.modules] == [
        f"single_transformer_blocks.1.attn.to_{letter}" for letter in "qkv"
    ]
    settings = FluxConfig(base=str(tiny_flux), resolution=64, single_blocks="0-1", max_tokens=16)
    outline = settings.outline(r".*\.proj_mlp")
    assert list(outline.adapted) == [f"single_transformer_blocks.{i}.proj_mlp" for i in (0, 1)]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"single_blocks": "0-2"}, "there is no block 2: the model has 2"),
        ({"double_blocks": "1"}, "there is no block 1: the model has 1"),
    ],
)
def test_blocks_that_are_not_there_are_refused_before_the_model_is_read(
    tiny_flux, settings, problem
):
    config = FluxConfig(base=str(tiny_flux), resolution=64, **settings)
    with pytest.raises(ConfigError, match=problem):
        config.outline("attention")


@pytest.mark.parametrize("text", ["some", "3-1", "1,,2", "-1", ""])
def test_a_list_of_blocks_that_is_none_is_refused(make_job, text):
    with pytest.raises(ConfigError, match=r"double_blocks.*numbers and ranges"):
        make_job(model={"double_blocks": text})


def test_no_block_at_all_is_refused_and_both_settings_are_named(make_job):
    said = r"model\.double_blocks = 'none' and model\.single_blocks = 'none' no block learns"
    with pytest.raises(ConfigError, match=said):
        make_job(model={"double_blocks": "none", "single_blocks": " none"})


@pytest.mark.parametrize(
    "setting",
    [
        {"noise": {"min_snr_gamma": 5.0}},
        {"noise": {"offset": 0.1}},
        {"noise": {"prediction": "v_prediction"}},
    ],
)
def test_settings_of_noise_prediction_are_refused_in_a_sentence(make_job, setting):
    (name,) = setting["noise"]
    said = rf"model: noise\.{name} means nothing for FLUX\.1, which is trained by flow matching"
    with pytest.raises(ConfigError, match=said):
        make_job(model=setting)


def test_a_negative_prompt_is_refused(make_job):
    job = make_job(samples={"negative": "ugly"})
    with pytest.raises(ConfigError, match="'flux' are rendered without a negative prompt"):
        train_here(job)


def test_schnell_is_known_and_warned_of(make_job, tiny_schnell):
    run, told = train_here(make_job(tiny_schnell))
    assert "FLUX.1 schnell, distilled" in told_of(events.Warned, told)[0].message
    path = next(run.lora.iterdir())
    assert files.read(path).metadata["modelspec.architecture"] == "flux-1-schnell/lora"


def test_dev_is_not_warned_of_and_its_times_are_drawn_before_the_run(make_job):
    _, told = train_here(make_job())
    assert not told_of(events.Warned, told)
    (planned,) = told_of(events.Planned, told)
    assert "shifted by 1.65; half are above 0.62" in planned.facts["timesteps"]


def test_guidance_in_training_is_refused_for_schnell(make_job, tiny_schnell):
    job = make_job(tiny_schnell, model={"guidance": 1.0})
    with pytest.raises(ConfigError, match="has no guidance embedding"):
        train_here(job)


def test_t5_reads_512_tokens_for_dev_and_256_for_schnell(tiny_flux, tiny_schnell):
    lengths = [
        load(base, max_tokens=None).encode_captions(("fox",))["encoder_hidden_states"].shape[1]
        for base in (tiny_flux, tiny_schnell)
    ]
    assert lengths == [512, 256]


def test_captions_of_another_length_are_encoded_anew(tiny_flux):
    assert load(tiny_flux).text_key != load(tiny_flux, max_tokens=24).text_key


def test_a_folder_of_another_family_is_named(tiny_sd, tiny_flux):
    with pytest.raises(ModelError, match="made for 'StableDiffusionPipeline'") as refused:
        load(tiny_sd)
    assert "model.kind = 'sd'" in refused.value.hint
    with pytest.raises(ModelError, match="made for 'FluxPipeline'") as refused:
        SdConfig(base=str(tiny_flux)).outline("attention")
    assert "model.kind = 'flux'" in refused.value.hint


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_a_lora_of_stable_diffusion_is_named(tiny_sd, tiny_flux, tmp_path, layout):
    model = SdConfig(base=str(tiny_sd), resolution=64).load(plan("cpu", "fp32"))
    config = tiny_job(tiny_sd, tiny_sd, tiny_sd).adapter
    adapter = attach(model, config, text_encoders=(), seed=0)
    weights = Weights(adapter.state(), adapter.alphas())
    make = to_kohya if layout == "kohya" else to_diffusers
    path = tmp_path / "sd.safetensors"
    told = {"modelspec.architecture": "stable-diffusion-v1/lora"}
    files.save(path, make(weights, SdConfig.naming), told, "fp32")
    with pytest.raises(AdapterError, match=r"Stable Diffusion 1\.x|no place in this model family"):
        use_lora(load(tiny_flux), path)


@pytest.fixture
def spoilt(tiny_flux, tmp_path):
    """A copy of the tiny model, to spoil."""
    return shutil.copytree(tiny_flux, tmp_path / "model")


def test_a_scheduler_of_another_kind_is_refused(spoilt):
    index = json.loads((spoilt / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    (spoilt / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="'DDIMScheduler', and this family is trained by flow"):
        load(spoilt)


def test_a_relative_of_flux_is_refused(spoilt):
    path = spoilt / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shift_factor": None}))
    config = FluxConfig(base=str(spoilt), resolution=64)
    with pytest.raises(ModelError, match=r"not FLUX.1 dev or schnell"):
        config.outline("attention")


@pytest.mark.parametrize("part", ["tokenizer_2", "text_encoder_2", "transformer", "vae"])
def test_a_part_that_is_missing_is_named(spoilt, part):
    shutil.rmtree(spoilt / part)
    with pytest.raises(ModelError, match=f"no part '{part}'"):
        FluxConfig(base=str(spoilt), resolution=64).outline("attention")


def test_a_t5_without_its_vocabulary_is_refused(spoilt):
    (spoilt / "tokenizer_2" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no spiece.model, and no tokenizer.json"):
        FluxConfig(base=str(spoilt), resolution=64).outline("attention")
