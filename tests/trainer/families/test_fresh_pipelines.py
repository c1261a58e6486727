"""Every family's export in a fresh Diffusers pipeline: both layouts, with text encoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from tests.trainer.weights.tiny_models import about, randomise
from trainer.adapters.lora import LoraConfig
from trainer.core.device import Plan
from trainer.engine.sampling import Recipe, encode, render_arrays
from trainer.families.flux import FluxConfig
from trainer.families.sd import SdConfig
from trainer.families.sdxl import SdxlConfig
from trainer.weights import files
from trainer.weights.attach import attach
from trainer.weights.layouts import Weights

PROMPT = "a photo of sks fox"
FAMILIES = {
    "sd": ("tiny_sd", SdConfig, {}, ("text_encoder",), 3.0, {}),
    "sd velocity": ("tiny_sd_v", SdConfig, {}, ("text_encoder",), 3.0, {}),
    "sdxl": ("tiny_sdxl", SdxlConfig, {}, ("text_encoder", "text_encoder_2"), 3.0, {}),
    "flux dev": (
        "tiny_flux",
        FluxConfig,
        {"max_tokens": 16},
        ("text_encoder",),
        3.5,
        {"max_sequence_length": 16},
    ),
    "flux schnell": (
        "tiny_schnell",
        FluxConfig,
        {"max_tokens": 16},
        ("text_encoder",),
        0.0,
        {"max_sequence_length": 16},
    ),
}
"""Model, configuration, settings, text encoders, guidance, and what the pipeline is told."""


def fresh_picture(folder, file, guidance, told):
    """What Diffusers alone renders with the file, and how many layers it has put a LoRA on."""
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    if file is not None:
        pipeline.load_lora_weights(file.parent, weight_name=file.name)
    image = pipeline(
        PROMPT,
        width=64,
        height=64,
        num_inference_steps=3,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
        **told,
    ).images[0]
    networks = (part for part in pipeline.components.values() if hasattr(part, "modules"))
    return image, sum(hasattr(m, "lora_A") for network in networks for m in network.modules())


BOTH = [
    (family, layout)
    for family in FAMILIES
    for layout in ("kohya", "diffusers")
    if not (family.startswith("flux") and layout == "kohya")
]
"""Diffusers reads kohya's layout of FLUX for the published sizes only: that file is taken apart in
tests/trainer/weights/test_flux_layouts.py."""


@pytest.mark.parametrize("words", [False, True], ids=["denoiser", "with text encoders"])
@pytest.mark.parametrize(("family", "layout"), BOTH)
def test_a_fresh_pipeline_renders_the_trained_model_s_picture(
    request, tmp_path, family, words, layout
):
    fixture, config, settings, encoders, guidance, told = FAMILIES[family]
    folder = request.getfixturevalue(fixture)
    model = config(base=str(folder), **settings).load(Plan("cpu", "fp32"))
    lora = LoraConfig(rank=3, alpha=2.0, targets="linear" if "flux" in family else "linear+conv")
    adapter = attach(model, lora, text_encoders=encoders if words else (), seed=0)
    size = 0.7 if "flux" in family else 0.15
    weights = Weights(randomise(adapter, size).state(), adapter.alphas())
    path = tmp_path / "lora.safetensors"
    origin = about(modelspec=model.modelspec)
    files.export(path, weights, origin, model.naming, layout=layout, precision="fp32")
    trained = render_arrays(model, encode(model, [PROMPT], ""), [7], Recipe((64, 64), 3, guidance))[
        0
    ]
    base, _ = fresh_picture(folder, None, guidance, told)
    seen, layers = fresh_picture(folder, path, guidance, told)
    assert layers == len(adapter.modules)
    assert np.abs(trained - base).max() > 8 / 255
    assert np.abs(seen - trained).max() < 2 / 255
