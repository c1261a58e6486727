"""Every preset that ships is valid, says where its numbers come from, and trains."""

from __future__ import annotations

import pytest

from app import library
from tests.conftest import write_pictures
from tests.trainer.families.conftest import write_tiny_sd3
from tests.trainer.training import train_here
from trainer.core.events import Proven, Stepped
from trainer.families.base import families
from trainer.job.layers import Layer, job_of, preset_layer, settle
from trainer.job.preset import parse_preset, render_preset
from trainer.job.rates import rate_in_words
from trainer.job.sharing import from_string, to_string

PROBLEMS: list = []
SHIPPED = [e.preset for e in library.entries(PROBLEMS) if e.shelf == library.SHIPPED]
EACH = pytest.mark.parametrize("preset", SHIPPED, ids=lambda p: p.name)
PURPOSES = ("subject", "character", "style", "object")
CARDS = ("8gb", "12gb", "16gb", "24gb")


@pytest.fixture(scope="module")
def tiny_models(tiny_sd, tiny_sdxl, tiny_flux, tmp_path_factory):
    sd3 = write_tiny_sd3(tmp_path_factory.mktemp("models") / "sd3")
    return {"sd": tiny_sd, "sdxl": tiny_sdxl, "flux": tiny_flux, "sd3": sd3}


@pytest.fixture(scope="module")
def sixty_four(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "fox"
    write_pictures(folder, 3, (64, 64), captions=True, seed=0)
    return folder


def test_every_family_has_each_purpose_for_each_card():
    names = {preset.name for preset in SHIPPED}
    wanted = {f"{f}-{p}-{c}" for f in families for p in PURPOSES for c in CARDS}
    assert not PROBLEMS
    assert wanted <= names
    assert {n for n in names - wanted if not n.endswith("-demo")} == set()


@EACH
def test_a_preset_tells_its_sources_and_what_was_run(preset):
    about = preset.about
    assert len(about.sources) >= 2
    assert about.tested
    assert about.licence == "CC0-1.0"
    assert preset.family == preset.name.split("-")[0]


@EACH
def test_a_preset_comes_back_from_its_file_and_its_string(preset):
    assert parse_preset(render_preset(preset), "here") == preset
    text = to_string(preset)
    assert from_string(text) == preset
    assert len(text) < 2000, "a chat message holds 2000 characters"


@EACH
def test_a_preset_trains_as_hard_as_published_recipes_do(preset):
    told = rate_in_words(job_of(preset))
    assert preset.name.endswith("-demo") or "than any published" not in told


@EACH
def test_a_preset_takes_two_steps(preset, tiny_models, sixty_four, tmp_path):
    changes = {
        "runs": str(tmp_path),
        "model": {"base": str(tiny_models[preset.family]), "resolution": 64},
        "dataset": {"folder": str(sixty_four), "class_word": "fox", "bucket_step": 16},
        "prior": {"count": 2, "steps": 1},
        "schedule": {"steps": 2},
        "compute": {"device": "cpu"},
        "samples": {"every": 0},
    }
    job = settle([preset_layer(preset), Layer("test", changes)]).job
    _, told = train_here(job)
    assert sum(isinstance(event, Stepped) for event in told) == 2
    assert any(isinstance(event, Proven) for event in told)
