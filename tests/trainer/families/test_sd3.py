"""Stable Diffusion 3.5 on tiny random models: words, loss, pictures, files, and refusals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from tests.trainer.training import tiny_job, train_here
from trainer.adapters.lora import LoraConfig
from trainer.core.batch import Batch
from trainer.core.device import plan
from trainer.core.draws import generator
from trainer.core.errors import AdapterError, ConfigError, ModelError
from trainer.engine.sampling import Recipe, encode, render_arrays, use_lora
from trainer.families.flux import FluxConfig
from trainer.families.sd3 import NAMING, Sd3Config
from trainer.families.sdxl import SdxlConfig
from trainer.weights import files
from trainer.weights.attach import attach
from trainer.weights.layouts import Weights, to_diffusers, to_kohya

PROMPT, NEGATIVE = "a photo of sks fox", "red dog"


@pytest.fixture(params=["3.5 medium", "3.5 large", "3 medium without T5"])
def each(request, tiny_sd3, tiny_sd35_large, tiny_sd3_medium):
    kinds = ("3.5 medium", "3.5 large", "3 medium without T5")
    return dict(zip(kinds, (tiny_sd3, tiny_sd35_large, tiny_sd3_medium), strict=True))[
        request.param
    ]


def config(base, **settings):
    values = {"base": str(base), "resolution": 64, "max_tokens": 16, **settings}
    return Sd3Config.model_validate(values)


def load(base, **settings):
    return config(base, **settings).load(plan("cpu", "fp32"))


def plain_pipeline(base):
    from diffusers import StableDiffusion3Pipeline

    there = (base / "text_encoder_3").exists()
    left_out = {} if there else {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = StableDiffusion3Pipeline.from_pretrained(base, **left_out)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# Words


def test_words_are_those_of_diffusers_pipeline(each):
    captions = [PROMPT, "a cat, and words that go on and on: " + "fox " * 120, ""]
    with torch.no_grad():
        wanted, _, pooled, _ = plain_pipeline(each).encode_prompt(
            captions, None, None, do_classifier_free_guidance=False, max_sequence_length=16
        )
        ours = load(each).encode_captions(tuple(captions))
    assert ours["encoder_hidden_states"].shape == (3, 77 + 16, 64)
    assert ours["pooled_projections"].shape == (3, 16 + 24)
    assert torch.allclose(ours["encoder_hidden_states"], wanted, atol=1e-6)
    assert torch.allclose(ours["pooled_projections"], pooled, atol=1e-6)


def test_t5_reads_256_tokens_unless_told_otherwise(tiny_sd3):
    model = Sd3Config(base=str(tiny_sd3)).load(plan("cpu", "fp32"))
    assert model.encode_captions(("fox",))["encoder_hidden_states"].shape == (1, 77 + 256, 64)


def test_captions_of_another_length_are_encoded_anew(tiny_sd3):
    assert load(tiny_sd3).text_key != load(tiny_sd3, max_tokens=24).text_key


# The objective


@pytest.mark.parametrize(
    ("ours", "theirs", "preconditioned"),
    [
        ("none", "logit_normal", False),
        ("sigma_sqrt", "sigma_sqrt", False),
        ("cosmap", "cosmap", False),
        ("picture", "logit_normal", True),
        ("none", "sigma_sqrt", True),
    ],
)
def test_the_loss_is_that_of_diffusers_script(each, ours, theirs, preconditioned):
    """train_dreambooth_lora_sd3.py, its formulas written out on the same tensors."""
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    model = load(each, flow={"weighting": ours})
    draws = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 3, 48, 64, generator=draws) * 2 - 1
    captions = (PROMPT, "red dog", "")
    indices = torch.tensor([100, 500, 930])
    timesteps, sigmas = (x[indices] for x in (model.scheduler.timesteps, model.scheduler.sigmas))
    with torch.no_grad():
        vae = model.vae
        prompt_embeds, _, pooled, _ = model.pipeline().encode_prompt(
            list(captions), None, None, do_classifier_free_guidance=False, max_sequence_length=16
        )
        model_input = vae.encode(pixels).latent_dist.mean
        model_input = (model_input - vae.config.shift_factor) * vae.config.scaling_factor
        noise = torch.randn(model_input.shape, generator=draws)
        spread = sigmas.view(-1, 1, 1, 1)
        noisy = (1.0 - spread) * model_input + spread * noise
        prediction = model.denoiser(
            hidden_states=noisy,
            timestep=timesteps,
            encoder_hidden_states=prompt_embeds,
            pooled_projections=pooled,
            return_dict=False,
        )[0]
        target = noise - model_input
        if preconditioned:
            prediction, target = prediction * (-spread) + noisy, model_input
        factor = compute_loss_weighting_for_sd3(theirs, sigmas=spread)
        wanted = torch.mean((factor * (prediction - target) ** 2).reshape(3, -1), 1)
        losses = model.losses(
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
    assert float((losses - wanted).abs().max()) < 1e-6 * max(1.0, float(wanted.max()))
    assert float(wanted.min()) > 0.01


def test_times_are_shifted_by_3_at_every_size_as_they_are_rendered(tiny_sd3):
    model = load(tiny_sd3)
    small, large = (
        torch.stack([model.draw_time((16, s, s), generator(0, "time", i)) for i in range(4000)])
        for s in (32, 128)
    )
    assert torch.equal(small, large)
    assert float(small.median()) == pytest.approx(0.75, abs=0.02)


def test_an_asked_shift_is_taken(tiny_sd3):
    draws = [load(tiny_sd3, flow={"shift": s}) for s in (1.0, np.e)]
    still, shifted = (torch.logit(m.draw_time((16, 8, 8), generator(0, "time", 1))) for m in draws)
    assert float(shifted - still) == pytest.approx(1, abs=1e-4)


# Pictures


def picture(model, *, guidance=4.5, size=(64, 64)):
    words = encode(model, [PROMPT], NEGATIVE)
    return render_arrays(model, words, [5], Recipe(size, 3, guidance))[0]


def by_diffusers(pipeline, *, guidance=4.5, size=(64, 64)):
    return pipeline(
        PROMPT,
        negative_prompt=NEGATIVE,
        max_sequence_length=16,
        generator=torch.Generator().manual_seed(5),
        width=size[0],
        height=size[1],
        num_inference_steps=3,
        guidance_scale=guidance,
        output_type="np",
    ).images[0]


@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_a_picture_is_a_plain_pipeline_s(each, guidance):
    model, pipeline = load(each), plain_pipeline(each)
    ours = picture(model, guidance=guidance, size=(64, 80))
    theirs = by_diffusers(pipeline, guidance=guidance, size=(64, 80))
    assert ours.shape == (80, 64, 3)
    assert np.abs(ours - theirs).max() < 1e-4


def test_guidance_and_the_negative_prompt_matter(tiny_sd3):
    model = load(tiny_sd3)
    plain = picture(model, guidance=1.0)
    assert np.abs(picture(model) - plain).max() > 1 / 255
    assert model._config.guidance_or(None) == 4.5


def test_the_model_sees_what_is_alike(tiny_sd3):
    model = load(tiny_sd3)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        one, other = torch.randn(2, 16, 8, 8, generator=draws)
        seen = model.see(torch.stack([one, one + 0.01 * other, other]))
    assert seen.shape == (3, 4 * 32)
    assert (seen[0] - seen[1]).norm() < 0.1 * (seen[0] - seen[2]).norm()


# A file, in other programs' hands


def strong(model, path, *, layout, targets="linear"):
    """A LoRA file with every matrix drawn, on both CLIPs too, strong enough to see."""
    lora = LoraConfig(targets=targets, rank=3, alpha=2.0, dropout=0.0)
    adapter = attach(model, lora, text_encoders=tuple(model.text_targets), seed=1)
    for module in adapter.modules:
        torch.nn.init.normal_(module.b, std=0.5, generator=generator(1, module.name))
    weights = Weights(adapter.state(), adapter.alphas())
    make = to_kohya if layout == "kohya" else to_diffusers
    files.save(path, make(weights, NAMING), model.modelspec, "fp32")
    return path, len(adapter.modules)


def test_a_fresh_pipeline_of_diffusers_loads_the_file(each, tmp_path):
    trained = load(each)
    path, modules = strong(trained, tmp_path / "lora.safetensors", layout="diffusers")
    fresh = plain_pipeline(each)
    fresh.load_lora_weights(tmp_path, weight_name=path.name)
    networks = (fresh.transformer, fresh.text_encoder, fresh.text_encoder_2)
    assert sum(hasattr(m, "lora_A") for n in networks for m in n.modules()) == modules
    wanted = picture(trained)
    assert np.abs(by_diffusers(fresh) - wanted).max() < 2 / 255
    assert np.abs(wanted - picture(load(each))).max() > 8 / 255


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_a_file_of_either_layout_gives_the_trained_model_s_picture(each, tmp_path, layout):
    trained = load(each)
    path, _ = strong(trained, tmp_path / "lora.safetensors", layout=layout)
    wanted = picture(trained)
    fresh = load(each)
    base = picture(fresh)
    use_lora(fresh, path)
    assert np.abs(picture(fresh) - wanted).max() < 2 / 255
    assert np.abs(wanted - base).max() > 8 / 255


def test_a_lora_of_sdxl_is_named(tiny_sdxl, tiny_sd3, tmp_path):
    model = SdxlConfig(base=str(tiny_sdxl), resolution=64).load(plan("cpu", "fp32"))
    adapter = attach(model, LoraConfig(rank=2), text_encoders=(), seed=0)
    weights = Weights(adapter.state(), adapter.alphas())
    for make in (to_kohya, to_diffusers):
        path = tmp_path / "sdxl.safetensors"
        files.save(path, make(weights, SdxlConfig.naming), {}, "fp32")
        for use in (lambda p: use_lora(load(tiny_sd3), p), lambda p: files.read(p).weights(NAMING)):
            with pytest.raises(
                AdapterError, match=r"made for SDXL, and .* Stable Diffusion 3/3\.5"
            ):
                use(path)


def test_its_lora_is_named_on_sdxl_and_flux(tiny_sd3, tiny_sdxl, tiny_flux, tmp_path):
    path, _ = strong(load(tiny_sd3), tmp_path / "lora.safetensors", layout="kohya")
    for family, base in ((SdxlConfig, tiny_sdxl), (FluxConfig, tiny_flux)):
        other = family(base=str(base), resolution=64).load(plan("cpu", "fp32"))
        with pytest.raises(AdapterError, match=r"was made for Stable Diffusion 3/3\.5, and"):
            use_lora(other, path)


# Before a run


def test_the_outline_is_what_the_loaded_model_is(each):
    outline, model = config(each).outline("attention"), load(each)
    parts = {"transformer": model.denoiser, "vae": model.vae, **model.text_encoders}
    assert outline.weights == {n: sum(p.numel() for p in m.parameters()) for n, m in parts.items()}
    adapter = attach(model, LoraConfig(), text_encoders=tuple(model.text_targets), seed=0)
    found = {part: [] for part in adapter.parts}
    for module in adapter.modules:
        found[module.part].append(module.path)
    assert found.pop("denoiser") == list(outline.adapted)
    assert found == {part: list(paths) for part, paths in outline.text_adapted.items()}
    assert (outline.native_side, outline.size_step) == (model.native_side, model.size_step)
    assert outline.native_side == 64
    words = model.encode_captions(("fox",))["encoder_hidden_states"]
    assert outline.caption == 4 * words.numel()
    assert outline.flops > 1e6
    assert "shifted by 3; half are above 0.75" in outline.facts["timesteps"]


def test_a_model_without_t5_says_so(tiny_sd3_medium, tiny_sd3):
    (told,) = config(tiny_sd3_medium).outline("attention").warnings
    assert "without T5" in told
    assert config(tiny_sd3).outline("attention").warnings == ()


@pytest.mark.parametrize(
    ("base", "kind"),
    [("tiny_sd3", "5-medium"), ("tiny_sd35_large", "5-large"), ("tiny_sd3_medium", "medium")],
)
def test_the_header_names_the_model_as_readers_look_for_it(request, base, kind):
    told = load(request.getfixturevalue(base)).modelspec
    assert told["modelspec.architecture"] == f"stable-diffusion-3-{kind}/lora"
    assert told["ss_network_module"] == "networks.lora_sd3"


# Choices and refusals


def test_a_model_of_which_no_block_learns_is_refused(tiny_sd3):
    with pytest.raises(ValueError, match=r"with model\.joint_blocks = 'none' no block learns"):
        config(tiny_sd3, joint_blocks="none")


def test_blocks_are_chosen_by_number_and_modules_by_expression(tiny_sd3):
    chosen = attach(load(tiny_sd3, joint_blocks="2"), LoraConfig(), text_encoders=(), seed=0)
    assert {module.path.rpartition(".attn.")[0] for module in chosen.modules} == {
        "transformer_blocks.2"
    }
    outline = config(tiny_sd3, joint_blocks="0-1").outline(r".*\.attn2\.to_q")
    assert list(outline.adapted) == [f"transformer_blocks.{i}.attn2.to_q" for i in (0, 1)]


def test_blocks_that_are_not_there_are_refused_before_the_model_is_read(tiny_sd3):
    with pytest.raises(ConfigError, match="there is no block 3: the model has 3"):
        config(tiny_sd3, joint_blocks="1, 3").outline("attention")


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"noise": {"min_snr_gamma": 5.0}}, "noise"),
        ({"noise": {"offset": 0.1}}, "noise"),
        ({"flow": {"min_snr_gamma": 5.0}}, r"flow\.min_snr_gamma"),
        ({"guidance": 1.0}, "guidance"),
        ({"single_blocks": "all"}, "single_blocks"),
    ],
)
def test_settings_that_mean_nothing_here_do_not_exist(tiny_sd3, tmp_path, setting, name):
    with pytest.raises(ConfigError, match=rf"model\.{name}.*there is no such setting"):
        tiny_job(tiny_sd3, tmp_path, tmp_path, model={"kind": "sd3", **setting})


def test_a_folder_of_another_family_is_named(tiny_sdxl, tiny_sd3):
    with pytest.raises(ModelError, match="made for 'StableDiffusionXLPipeline'") as refused:
        load(tiny_sdxl)
    assert "model.kind = 'sdxl'" in refused.value.hint
    with pytest.raises(ModelError, match="made for 'StableDiffusion3Pipeline'") as refused:
        SdxlConfig(base=str(tiny_sd3)).outline("attention")
    assert "model.kind = 'sd3'" in refused.value.hint


@pytest.fixture
def spoilt(tiny_sd3, tmp_path):
    """A copy of the tiny model, to spoil."""
    return shutil.copytree(tiny_sd3, tmp_path / "model")


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("vae", {"shift_factor": None}),
        ("transformer", {"in_channels": 32}),
        ("transformer", {"pooled_projection_dim": 48}),
        ("text_encoder_3", {"d_model": 32}),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(spoilt, part, change):
    rewrite(spoilt / part / "config.json", **change)
    with pytest.raises(ModelError, match="which its VAE and encoders do not make"):
        config(spoilt).outline("attention")


def test_a_scheduler_of_another_kind_is_refused(spoilt):
    rewrite(spoilt / "model_index.json", scheduler=["diffusers", "DDIMScheduler"])
    with pytest.raises(ModelError, match="'DDIMScheduler', and this family is trained by flow"):
        load(spoilt)


def test_a_part_of_another_kind_is_refused(spoilt):
    rewrite(spoilt / "model_index.json", text_encoder=["transformers", "CLIPTextModel"])
    with pytest.raises(ModelError, match=r"part 'text_encoder' is a 'transformers.CLIPTextModel'"):
        load(spoilt)


@pytest.mark.parametrize(
    "part", ["tokenizer_2", "tokenizer_3", "text_encoder", "text_encoder_3", "transformer", "vae"]
)
def test_a_part_that_is_missing_is_named(spoilt, part):
    shutil.rmtree(spoilt / part)
    with pytest.raises(ModelError, match=f"no part '{part}'"):
        config(spoilt).outline("attention")


def test_a_model_that_says_it_has_no_clip_is_refused(spoilt):
    rewrite(spoilt / "model_index.json", text_encoder=[None, None])
    with pytest.raises(ModelError, match="no part 'text_encoder'"):
        config(spoilt).outline("attention")


def test_a_picture_longer_than_the_model_knows_places_for_is_refused(tiny_sd3, pictures, tmp_path):
    folder = pictures(count=2, size=(224, 64))
    job = tiny_job(
        tiny_sd3,
        folder,
        tmp_path / "runs",
        model={"kind": "sd3", "resolution": 120, "max_tokens": 16},
    )
    with pytest.raises(
        ConfigError, match="patches long, and the model knows places for 48"
    ) as told:
        train_here(job)
    assert told.value.where == "model.resolution"


def test_a_third_text_encoder_cannot_learn(tiny_sd3, pictures, tmp_path):
    with pytest.raises(ConfigError, match=r"text_encoder\.which"):
        tiny_job(
            tiny_sd3,
            pictures(count=2),
            tmp_path / "runs",
            model={"kind": "sd3"},
            text_encoder={"train": True, "which": "third"},
        )


def test_only_the_weights_that_are_read_are_fetched():
    from fnmatch import fnmatch

    from trainer.families.hub import _SETTINGS, _weights

    published = {
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors": True,
        "text_encoder_3/model-00002-of-00002.safetensors": True,
        "text_encoder_3/model.safetensors.index.json": True,
        "tokenizer_3/spiece.model": True,
        "text_encoder/model.safetensors": True,
        "text_encoder/model.fp16.safetensors": False,
        "text_encoder_3/model.fp16-00001-of-00002.safetensors": False,
        "sd3.5_medium.safetensors": False,
        "text_encoders/t5xxl_fp16.safetensors": False,
    }
    patterns = [*_SETTINGS, *_weights(Sd3Config.parts, list(published))]
    for name, wanted in published.items():
        assert any(fnmatch(name, pattern) for pattern in patterns) == wanted, name
