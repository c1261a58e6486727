"""A LoRA of one family swept on a model of another, as a person types it."""

from __future__ import annotations

import re

import pytest
import torch

from tests.app.test_choosing import typed
from tests.trainer.weights.tiny_models import about
from trainer.families import flux, sdxl
from trainer.weights import files
from trainer.weights.layouts import Weights

MODULES = {
    "sdxl": "denoiser.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
    "flux": "denoiser.single_transformer_blocks.0.attn.to_q",
}
NAMINGS = {"sdxl": sdxl.NAMING, "flux": flux.NAMING}


def lora(family, path, *, layout="kohya"):
    """One module's LoRA, with a header that tells nothing of the family."""
    name = MODULES[family]
    columns = 2048 if family == "sdxl" else 32
    rows = {f"{name}.lora_A": torch.ones(2, columns), f"{name}.lora_B": torch.ones(32, 2)}
    origin = about(modelspec={})
    files.export(path, Weights(rows, {name: 2.0}), origin, NAMINGS[family], layout=layout)
    return path


SAID = {
    "sdxl": "the LoRA was made for SDXL, and the base model is FLUX.1",
    "flux": "the LoRA was made for FLUX.1, and the base model is SDXL",
}


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
@pytest.mark.parametrize("made_for", SAID)
def test_a_lora_swept_on_another_family_is_refused_and_both_are_named(
    monkeypatch, capsys, request, tmp_path, made_for, layout
):
    path = lora(made_for, tmp_path / "lora.safetensors", layout=layout)
    monkeypatch.chdir(tmp_path)
    base = "flux" if made_for == "sdxl" else "sdxl"
    model = request.getfixturevalue(f"tiny_{base}")
    arguments = ["analyse", path, "--base", model, "--family", base, "--set"]
    code, out, err = typed(monkeypatch, capsys, *arguments, 'analysis.prompts=["a fox"]')
    told = re.sub(r"[\s│]+", " ", out + err)
    assert code == 5
    assert SAID[made_for] in told
    assert "Traceback" not in told
