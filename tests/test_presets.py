"""Recipes that ship are jobs that can be read, for models and pictures that ship."""

from pathlib import Path

import pytest

from app.demo import DEMOS, demo_job
from trainer.core.device import Plan
from trainer.data.folder import scan
from trainer.job.file import load_job
from trainer.weights.attach import resolve

FILES = sorted(DEMOS.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_built_in_job_is_valid_and_its_pictures_are_there(path):
    job = load_job(path)
    found = scan(job.dataset)
    assert len(found.pictures) >= 6
    assert not [p for p in found.problems if p.path.suffix in (".png", ".txt")]


@pytest.mark.parametrize("subject", [False, True])
def test_the_demo_trains_where_it_is_told_to(subject, tmp_path):
    job = demo_job(subject=subject, runs=tmp_path / "out", overrides=["schedule.epochs=1"])
    assert job.runs == tmp_path / "out"
    assert job.schedule.epochs == 1
    assert Path(job.dataset.folder).is_dir()


def test_the_demo_adapts_no_layer_that_another_loader_would_leave_out():
    job = demo_job(subject=False, runs=Path("runs"), overrides=[])
    model = job.model.load(Plan("cpu", "fp32"))
    chosen = set(resolve(model, job.adapter.targets))
    assert chosen < set(resolve(model, "linear+conv"))
    assert not [path for path in chosen if path.endswith(("attn2.to_k", "attn2.to_v"))]
