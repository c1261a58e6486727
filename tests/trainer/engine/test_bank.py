"""Several LoRAs in one pass give what Diffusers gives for each alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.training import tiny_job
from trainer.core.device import Plan, plan
from trainer.core.errors import AdapterError
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import Recipe, Words, encode, render_arrays, use_lora
from trainer.families.sd import SdConfig
from trainer.weights import files
from trainer.weights.attach import attach
from trainer.weights.layouts import Weights, to_diffusers, to_kohya

RECIPE = Recipe((64, 64), 3, 4.0, "red")
PROMPTS = ("a photo of sks fox", "a red dog")


def random_lora(model, folder: Path, name: str, *, seed: int, targets: str, text: bool) -> Path:
    """A LoRA with every matrix drawn, strong enough to see."""
    config = tiny_job(Path("-"), Path("-"), Path("-")).adapter
    config = config.model_copy(update={"targets": targets, "rank": 3, "alpha": 2.0, "dropout": 0.0})
    adapter = attach(model, config, text_encoders=("text_encoder",) if text else (), seed=seed)
    torch.manual_seed(seed)
    for module in adapter.modules:
        torch.nn.init.normal_(module.b, std=0.3)
    weights = Weights(adapter.state(), adapter.alphas())
    make = to_diffusers if name.endswith("diffusers") else to_kohya
    path = folder / f"{name}.safetensors"
    files.save(path, make(weights, SdConfig.naming), {}, "fp32")
    return path


def exact(base: Path):
    """The model in fp64, where the order of additions hardly counts."""
    model = SdConfig(base=str(base)).load(plan("cpu", "fp32"))
    for network in (model.denoiser, model.vae, *model.text_encoders.values()):
        network.double()

    class Double(Plan):
        @property
        def dtype(self):
            return torch.float64

    model.plan = Double("cpu", "fp32")
    return model


@pytest.fixture(scope="module")
def loras(tiny_sd, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    made = {}
    for name, seed, targets, text in (
        ("one", 1, "attention", False),
        ("two-diffusers", 2, "linear+conv", False),
        ("speaks", 3, "attention", True),
    ):
        model = SdConfig(base=str(tiny_sd)).load(plan("cpu", "fp32"))
        made[name] = random_lora(model, folder, name, seed=seed, targets=targets, text=text)
    return made


def alone(base: Path, path: Path | None, strength: float, prompt: str, seed: int):
    """The picture as plain Diffusers renders it."""
    model = exact(base)
    if path is not None and strength:
        use_lora(model, path, strength)
        for network in (model.denoiser, *model.text_encoders.values()):
            network.double()
    return render_arrays(model, encode(model, [prompt], RECIPE.negative), [seed], RECIPE)[0]


def test_rows_of_several_loras_and_strengths_are_each_diffusers_own_picture(tiny_sd, loras):
    model = exact(tiny_sd)
    bank = Bank(model, {k: files.read(p).weights(SdConfig.naming) for k, p in loras.items()})
    asked = [
        ("", 0.0, 0, 5),
        ("one", 0.5, 0, 5),
        ("one", 1.0, 1, 6),
        ("two-diffusers", 0.7, 0, 5),
        ("speaks", 0.4, 1, 7),
        ("one", -0.5, 0, 5),
    ]
    rows = [Row(name, strength) for name, strength, _, _ in asked]
    words = []
    for row, (_, _, prompt, _) in zip(rows, asked, strict=True):
        speaks = bool(row.adapter) and bank.speaks(row.adapter)
        with bank.rows([row if speaks else Row()]):
            words.append(encode(model, [PROMPTS[prompt]], RECIPE.negative))
    with bank.rows(rows):
        ours = render_arrays(model, Words.stacked(words), [seed for *_, seed in asked], RECIPE)
    for picture, (name, strength, prompt, seed) in zip(ours, asked, strict=True):
        theirs = alone(tiny_sd, loras.get(name), strength, PROMPTS[prompt], seed)
        assert np.abs(picture - theirs).max() < 1e-6
        if strength:
            base = alone(tiny_sd, None, 0.0, PROMPTS[prompt], seed)
            assert np.abs(picture - base).max() > 0.01


def test_outside_its_rows_and_after_removal_the_model_is_untouched(tiny_sd, loras):
    model = SdConfig(base=str(tiny_sd)).load(plan("cpu", "fp32"))
    words = encode(model, PROMPTS[:1], "")
    before = render_arrays(model, words, [1], RECIPE)
    bank = Bank(model, {"one": files.read(loras["one"]).weights(SdConfig.naming)})
    assert np.array_equal(render_arrays(model, words, [1], RECIPE), before)
    with bank.rows([Row("one", 1.0)]):
        assert not np.array_equal(render_arrays(model, words, [1], RECIPE), before)
    bank.remove()
    assert np.array_equal(render_arrays(model, words, [1], RECIPE), before)


def test_only_a_lora_of_the_text_encoder_speaks(tiny_sd, loras):
    model = SdConfig(base=str(tiny_sd)).load(plan("cpu", "fp32"))
    bank = Bank(model, {k: files.read(p).weights(SdConfig.naming) for k, p in loras.items()})
    assert [bank.speaks(name) for name in loras] == [False, False, True]


def test_modules_that_have_no_place_are_listed(tiny_sd, loras):
    model = SdConfig(base=str(tiny_sd)).load(plan("cpu", "fp32"))
    weights = files.read(loras["one"]).weights(SdConfig.naming)
    name = next(iter(weights.alphas))
    strange = name.replace("down_blocks.0", "down_blocks.7")
    for matrix in ("lora_A", "lora_B"):
        weights.tensors[f"{strange}.{matrix}"] = weights.tensors.pop(f"{name}.{matrix}")
    weights.alphas[strange] = weights.alphas.pop(name)
    with pytest.raises(AdapterError, match=r"1 of the \d+ modules of 'one'.*down_blocks\.7"):
        Bank(model, {"one": weights})
