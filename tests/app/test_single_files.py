"""A checkpoint in one file, as a person names it on the command line."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from tests.app.test_choosing import typed
from tests.trainer.families import first_code
from trainer.core.errors import ModelError


@pytest.fixture
def checkpoint(tiny_sdxl, tmp_path):
    """A file without its VAE, and a folder of settings and words that has one."""
    state = first_code.sdxl_state(tiny_sdxl)
    state = {k: v for k, v in state.items() if not k.startswith("first_stage_model.")}
    return first_code.write(state, tmp_path / "tiny.safetensors")


def test_the_family_of_a_file_is_told_and_its_missing_parts_are_taken_from_a_folder(
    checkpoint, tiny_sdxl, tmp_path, monkeypatch, capfd
):
    sample = ["sample", "a fox", "--steps", "2", "--size", "64", "--out", tmp_path / "one.png"]
    code, _, err = typed(monkeypatch, capfd, *sample, "--base", checkpoint)
    assert code == ModelError.exit_code
    assert "the checkpoint holds no vae" in err
    assert "model.parts_from" in err
    code, _, err = typed(monkeypatch, capfd, *sample, "--base", checkpoint, "--parts", tiny_sdxl)
    assert (code, "error" in err) == (0, False)
    told = json.loads(Image.open(tmp_path / "one.png").text["sweetspot"])
    assert (told["base"], told["family"]) == ("tiny.safetensors", "sdxl")
    sample[-1] = tmp_path / "other.png"
    assert typed(monkeypatch, capfd, *sample, "--base", tiny_sdxl)[0] == 0
    pictures = [Image.open(tmp_path / f"{name}.png") for name in ("one", "other")]
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_a_wrong_family_is_met_with_the_right_one(checkpoint, monkeypatch, capfd):
    code, _, err = typed(
        monkeypatch, capfd, "sample", "a fox", "--base", checkpoint, "--family", "flux"
    )
    assert code == ModelError.exit_code
    assert "this is a checkpoint of SDXL, and model.kind is 'flux'" in err
    assert "try: model.kind = 'sdxl'" in err


def test_offline_a_name_is_looked_up_on_this_machine_alone(monkeypatch, capfd):
    code, _, err = typed(
        monkeypatch, capfd, "--offline", "sample", "a fox", "--base", "someone/absent"
    )
    assert code == ModelError.exit_code
    assert "the network is not asked (--offline, HF_HUB_OFFLINE)" in err
