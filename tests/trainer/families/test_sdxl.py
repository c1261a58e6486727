"""SDXL's own: words, sizes, loss, VAE; the Diffusers example script's formulas as judge."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.training_utils import compute_snr
from PIL import Image

from tests.conftest import write_tiny_sdxl
from tests.trainer.training import tiny_job
from trainer.adapters.lora import LoraConfig
from trainer.core.batch import Batch
from trainer.core.device import Plan
from trainer.core.draws import chance
from trainer.core.errors import ModelError
from trainer.core.events import Warned
from trainer.data.bucket import Frame
from trainer.engine.sampling import Recipe, encode, render_arrays
from trainer.families.sd import SdConfig
from trainer.families.sdxl import SdxlConfig
from trainer.prepare import _load, prepare
from trainer.weights.attach import attach

PLAN = Plan("cpu", "fp32")
CAPTIONS = ("a photo of sks fox", "red dog, ü", "")


@pytest.fixture(scope="module")
def model(tiny_sdxl):
    return SdxlConfig(base=str(tiny_sdxl)).load(PLAN)


@pytest.fixture(scope="module")
def pipeline(tiny_sdxl):
    loaded = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def changed(tiny_sdxl, tmp_path):
    """`changed("unet", layers_per_block=1)`: a copy of the model with other settings in a part."""

    def change(part, **values):
        folder = shutil.copytree(tiny_sdxl, tmp_path / "changed")
        path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        return folder

    return change


# Words


def test_words_and_pooled_words_are_those_of_the_pipeline(model, pipeline):
    with torch.no_grad():
        ours = model.encode_captions(CAPTIONS)
        words, _, pooled, _ = pipeline.encode_prompt(
            list(CAPTIONS), do_classifier_free_guidance=False
        )
    assert ours["encoder_hidden_states"].shape == (3, 77, 32 + 64)
    assert ours["text_embeds"].shape == (3, 48)
    assert torch.equal(ours["encoder_hidden_states"], words)
    assert torch.equal(ours["text_embeds"], pooled)


def test_each_text_encoder_reads_its_own_tokens(model):
    first, second = (model._tokens(name, ("a fox",)) for name in model.text_encoders)
    ends = (first[0] == model.tokenizers["text_encoder"].eos_token_id).nonzero()[0].item()
    assert torch.equal(first[0, : ends + 1], second[0, : ends + 1])
    assert not torch.equal(first, second), "SDXL's second tokenizer pads with '!'"


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("negative", ["", "a red dog"])
def test_a_picture_is_the_pipeline_s_own(tiny_sdxl, tmp_path, zeros, negative):
    folder = shutil.copytree(tiny_sdxl, tmp_path / "model")
    index = folder / "model_index.json"
    told = {**json.loads(index.read_text()), "force_zeros_for_empty_prompt": zeros}
    index.write_text(json.dumps(told))
    model = SdxlConfig(base=str(folder)).load(PLAN)
    ours = render_arrays(
        model, encode(model, ["a fox"], negative), [3], Recipe((48, 64), 3, 4.0, negative)
    )
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "a fox",
        negative_prompt=negative or None,
        width=48,
        height=64,
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images
    assert model.render_key.endswith(":zeros") == zeros
    assert ours.shape == theirs.shape == (1, 64, 48, 3)
    assert abs(ours - theirs).max() < 1e-6


def test_the_first_encoder_s_last_layer_has_no_part_in_the_words_and_is_not_trained(model):
    targets = model.text_targets
    own = {
        name: {path.split(".layers.")[1][0] for path in matching(encoder, targets[name])}
        for name, encoder in model.text_encoders.items()
    }
    assert own == {"text_encoder": {"0", "1"}, "text_encoder_2": {"0", "1"}}
    assert model.text_encoders["text_encoder"].config.num_hidden_layers == 3
    assert model.text_encoders["text_encoder_2"].config.num_hidden_layers == 2


def matching(encoder, pattern):
    return [path for path, _ in encoder.named_modules() if re.fullmatch(pattern, path)]


def test_every_adapted_layer_of_both_encoders_gets_a_gradient(tiny_sdxl):
    model = SdxlConfig(base=str(tiny_sdxl)).load(PLAN)
    adapter = attach(model, LoraConfig(rank=2), text_encoders=model.text_encoders, seed=0)
    batch = replace(batch_of(model), conditioning={})
    model.losses(batch).sum().backward()
    still = [m.name for m in adapter.modules if m.b.grad is None or not bool(m.b.grad.any())]
    assert still == []
    for encoder in model.text_encoders:
        kinds = {m.path.rpartition(".")[2] for m in adapter.modules if m.part == encoder}
        assert kinds == {"q_proj", "k_proj", "v_proj", "out_proj"}


# Sizes


@pytest.mark.parametrize(
    ("frame", "flip", "told"),
    [
        (Frame((64, 64), (80, 64), (8, 0)), False, (200, 250, 0, 8, 64, 64)),
        (Frame((64, 64), (81, 64), (8, 0)), True, (200, 250, 0, 9, 64, 64)),
        (Frame((64, 48), (64, 51), (0, 1)), True, (200, 250, 1, 0, 48, 64)),
    ],
)
def test_a_cut_is_told_by_height_before_width_and_as_the_mirror_shows_it(frame, flip, told):
    assert frame.told((250, 200), flip=flip) == told


def test_a_batch_tells_each_picture_s_own_size_cut_and_bucket(tiny_sdxl, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    sizes = {"wide.png": (151, 67), "tall.png": (67, 120)}
    for name, size in sizes.items():
        Image.effect_noise(size, 60).convert("RGB").save(folder / name)
    job = tiny_job(
        tiny_sdxl,
        folder,
        tmp_path / "runs",
        model={"kind": "sdxl"},
        dataset={"class_word": "fox", "trigger": "sks"},
        schedule={"batch_size": 1},
    )
    loader = prepare(job, PLAN, lambda event: None).material.loader
    seen = set()
    for epoch in range(1, 9):
        for (slot,) in (micro for group in loader.plan.epoch(epoch) for micro in group):
            batch, item = loader.batch((slot,), epoch), loader.plan.items[slot.item]
            width, height = sizes[item.picture.name]
            mirrored = chance(job.schedule.seed, "showing", epoch, slot.number).random() < 0.5
            left, top = item.frame.crop
            if mirrored:
                left = item.frame.scaled[0] - left - item.frame.size[0]
            cut = [2 * side for side in batch.latents.shape[2:]]
            assert batch.frames.tolist() == [[height, width, top, left, *cut]]
            seen.add((item.picture.name, mirrored, left))
    assert len({name for name, *_ in seen}) == 2
    assert len(seen) == 4, "the cut of one side has an odd pixel to spare"


def test_a_picture_of_another_size_has_another_loss(model):
    batch = batch_of(model)
    frames = batch.frames.clone()
    frames[1, 0] = 32
    with torch.no_grad():
        losses = model.losses(batch)
        others = model.losses(replace(batch, frames=frames))
    assert torch.equal(losses[[0, 2]], others[[0, 2]])
    assert losses[1] != others[1]


def batch_of(model):
    draws = torch.Generator().manual_seed(5)
    latents = torch.randn(3, 4, 24, 32, generator=draws)
    return Batch(
        names=("0", "1", "2"),
        captions=CAPTIONS,
        latents=latents,
        noise=torch.randn(latents.shape, generator=draws),
        times=torch.tensor([3, 480, 999]),
        weights=torch.full((3,), 1 / 3),
        frames=torch.tensor(
            [[67.0, 150, 0, 4, 48, 64], [1001, 777, 12, 0, 48, 64], [48, 64, 0, 0, 48, 64]]
        ),
        conditioning={k: v.detach() for k, v in model.encode_captions(CAPTIONS).items()},
    )


# Loss


@pytest.mark.parametrize(
    ("settings", "gamma"),
    [
        ({}, 0.0),
        ({}, 5.0),
        ({"prediction_type": "v_prediction"}, 0.0),
        ({"prediction_type": "v_prediction"}, 5.0),
        ({"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, 0.0),
    ],
    ids=["epsilon", "min-SNR", "velocity", "velocity and min-SNR", "velocity to zero signal"],
)
def test_the_loss_is_that_of_the_diffusers_example_script(tmp_path, settings, gamma):
    folder = write_tiny_sdxl(tmp_path / "model", **settings)
    model = SdxlConfig(base=str(folder), noise={"min_snr_gamma": gamma}).load(PLAN)
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    batch = batch_of(model)
    with torch.no_grad():
        ours = model.losses(batch)
        theirs = script_losses(pipeline, batch, gamma)
    assert theirs.std() > 1e-3
    assert (ours - theirs).abs().max() < 1e-6


def script_losses(pipeline, batch, gamma):
    """The lines of train_dreambooth_lora_sdxl.py between the noise and the loss, a picture each.

    Min-SNR for velocity is that of train_text_to_image_lora_sdxl.py and of the paper; the first
    script adds 1 to the weight instead of dividing by SNR + 1.
    """
    unet, scheduler = pipeline.unet, pipeline.scheduler
    model_input, noise, timesteps = batch.latents, batch.noise, batch.times
    noisy_model_input = scheduler.add_noise(model_input, noise, timesteps)

    def compute_time_ids(original_size, crops_coords_top_left, target_size):
        add_time_ids = list(original_size + crops_coords_top_left + target_size)
        return torch.tensor([add_time_ids])

    originals = [(67, 150), (1001, 777), (48, 64)]
    corners = [(0, 4), (12, 0), (0, 0)]
    add_time_ids = torch.cat(
        [compute_time_ids(s, c, (48, 64)) for s, c in zip(originals, corners, strict=True)]
    )
    embeds = []
    for tokenizer, encoder in (
        (pipeline.tokenizer, pipeline.text_encoder),
        (pipeline.tokenizer_2, pipeline.text_encoder_2),
    ):
        ids = tokenizer(
            list(batch.captions),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        told = encoder(ids, output_hidden_states=True, return_dict=False)
        pooled_prompt_embeds = told[0]
        embeds.append(told[-1][-2])
    model_pred = unet(
        noisy_model_input,
        timesteps,
        torch.concat(embeds, dim=-1),
        added_cond_kwargs={"time_ids": add_time_ids, "text_embeds": pooled_prompt_embeds},
        return_dict=False,
    )[0]
    if scheduler.config.prediction_type == "epsilon":
        target = noise
    else:
        target = scheduler.get_velocity(model_input, noise, timesteps)
    loss = torch.nn.functional.mse_loss(model_pred.float(), target.float(), reduction="none")
    loss = loss.mean(dim=list(range(1, len(loss.shape))))
    if gamma:
        snr = compute_snr(scheduler, timesteps)
        pair = torch.stack([snr, gamma * torch.ones_like(timesteps)], dim=1)
        over = snr if scheduler.config.prediction_type == "epsilon" else snr + 1
        loss = loss * pair.min(dim=1)[0] / over
    return loss


def test_a_model_without_signal_at_its_end_is_not_trained_on_noise(tmp_path):
    folder = write_tiny_sdxl(
        tmp_path / "model", prediction_type="v_prediction", rescale_betas_zero_snr=True
    )
    assert SdxlConfig(base=str(folder)).load(PLAN).prediction == "v_prediction"
    asked = SdxlConfig(base=str(folder), noise={"prediction": "epsilon"})
    for use in (lambda: asked.load(PLAN), lambda: asked.outline("attention")):
        with pytest.raises(ModelError, match="last timestep is noise alone"):
            use()


# The VAE in 16 bits


@pytest.fixture
def overflowing(tiny_sdxl, tmp_path):
    """A copy whose VAE passes fp16's largest number on its way, and gives small ones."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_sdxl, tmp_path / "overflowing")
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    for name in ("encoder.conv_in", "decoder.conv_in"):
        weights[f"{name}.weight"] *= 1e6
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def test_the_vae_computes_in_fp32_where_the_rest_is_in_fp16_and_says_so(overflowing):
    model = SdxlConfig(base=str(overflowing)).load(Plan("cpu", "fp16"))
    assert {model.vae.dtype, model.denoiser.dtype} == {torch.float32, torch.float16}
    (warning,) = model.warnings
    assert "overflows in fp16" in warning
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.no_grad():
        encoded = model.encode_images(pixels)
        plain = SdxlConfig(base=str(overflowing)).load(PLAN).encode_images(pixels)
        assert torch.equal(encoded, plain)
        assert torch.isfinite(encoded).all()
        assert not torch.isfinite(model.vae.half().encode(pixels.half()).latent_dist.mean).all()


def test_a_picture_in_fp16_is_decoded_in_fp32(overflowing):
    model = SdxlConfig(base=str(overflowing)).load(Plan("cpu", "fp16"))
    words = encode(model, ["a fox"], "")
    picture = render_arrays(model, words, [1], Recipe((32, 32), 2, 3.0))
    assert picture.std() > 0.01


def test_a_vae_that_bears_fp16_stays_in_it(changed):
    folder = changed("vae", force_upcast=False)
    model = SdxlConfig(base=str(folder)).load(Plan("cpu", "fp16"))
    assert model.vae.dtype == torch.float16
    assert model.warnings == ()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_in_other_formats_nothing_is_warned_of(tiny_sdxl, precision):
    assert SdxlConfig(base=str(tiny_sdxl)).load(Plan("cpu", precision)).warnings == ()


def test_latents_of_a_vae_in_fp32_are_shared_by_runs_in_fp16_and_fp32(tiny_sdxl):
    keys = {p: SdxlConfig(base=str(tiny_sdxl)).load(Plan("cpu", p)) for p in ("fp16", "fp32")}
    assert keys["fp16"].image_key == keys["fp32"].image_key
    assert keys["fp16"].text_key != keys["fp32"].text_key


def test_a_run_tells_what_the_model_warns_of(tiny_sdxl, pictures, tmp_path):
    folder = pictures(count=2)
    job = tiny_job(tiny_sdxl, folder, tmp_path / "runs", model={"kind": "sdxl", "resolution": 64})
    told = []
    _load(job, Plan("cpu", "fp16"), told.append)
    assert any("overflows in fp16" in e.message for e in told if isinstance(e, Warned))


# What it sees, and takes


def test_what_it_sees_is_the_same_each_time_and_differs_between_pictures(model):
    draws = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 32, 24, generator=draws)
    with torch.no_grad():
        seen, again = model.see(latents), model.see(latents)
    assert torch.equal(seen, again)
    assert torch.isfinite(seen).all()
    assert (seen[0] - seen[1]).abs().max() > 1e-4


def test_its_outline_counts_what_is_read(tiny_sdxl):
    config = SdxlConfig(base=str(tiny_sdxl), resolution=64)
    outline, model = config.outline("attention"), config.load(PLAN)
    parts = {"unet": model.denoiser, "vae": model.vae, **model.text_encoders}
    assert outline.weights == {k: sum(p.numel() for p in n.parameters()) for k, n in parts.items()}
    assert set(outline.text_adapted) == {"text_encoder", "text_encoder_2"}
    assert (outline.native_side, outline.size_step) == (model.native_side, model.size_step)
    assert (model.native_side, model.size_step) == (64, 8)
    assert outline.flops > 1e6
    assert outline.caption == 4 * 77 * 96


def test_keys_of_caches_name_both_text_encoders(tiny_sdxl, model, changed):
    other = SdxlConfig(base=str(changed("text_encoder_2", layer_norm_eps=1e-3))).load(PLAN)
    assert other.text_key != model.text_key
    assert other.image_key == model.image_key


# Bad input


def test_a_folder_of_sd_is_named(tiny_sd):
    with pytest.raises(ModelError, match="made for 'StableDiffusionPipeline'") as caught:
        SdxlConfig(base=str(tiny_sd)).outline("attention")
    assert "model.kind = 'sd'" in caught.value.hint


def test_a_folder_of_sdxl_is_named_where_sd_was_said(tiny_sdxl):
    with pytest.raises(ModelError, match="made for 'StableDiffusionXLPipeline'") as caught:
        SdConfig(base=str(tiny_sdxl)).outline("attention")
    assert "model.kind = 'sdxl'" in caught.value.hint


def refused(folder, said):
    for use in (SdxlConfig(base=str(folder)).load, lambda plan: outline(folder)):
        with pytest.raises(ModelError, match=said):
            use(PLAN)


def outline(folder):
    return SdxlConfig(base=str(folder)).outline("attention")


def test_a_unet_of_another_build_is_refused(changed):
    folder = changed("unet", layers_per_block=1)
    with pytest.raises(ModelError, match="has 3 blocks of 1 resnets, and SDXL's has 3 of 2"):
        outline(folder)


def test_a_unet_that_is_told_other_sizes_is_refused(changed):
    folder = changed("unet", projection_class_embeddings_input_dim=5 * 8 + 48)
    with pytest.raises(ModelError, match="is not told sizes and pooled words"):
        outline(folder)


def test_a_scheduler_of_other_noise_is_refused(changed):
    folder = changed("scheduler", _class_name="EDMEulerScheduler")
    index = folder / "model_index.json"
    told = {**json.loads(index.read_text()), "scheduler": ["diffusers", "EDMEulerScheduler"]}
    index.write_text(json.dumps(told))
    refused(folder, "EDMEulerScheduler has no DDPM timesteps")


@pytest.mark.parametrize("part", ["text_encoder_2", "tokenizer_2", "vae"])
def test_a_part_that_is_missing_is_named(tiny_sdxl, tmp_path, part):
    folder = shutil.copytree(tiny_sdxl, tmp_path / "cut")
    shutil.rmtree(folder / part)
    refused(folder, f"the model has no part '{part}'")
