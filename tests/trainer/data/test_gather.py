"""Which pictures train, which are held out, which are of the class."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import write_pictures
from tests.trainer.training import tiny_job
from trainer.core.errors import ConfigError, DatasetError
from trainer.core.events import Warned
from trainer.data.folder import scan
from trainer.data.gather import choose, gather


@pytest.fixture
def job_with(tiny_sd, pictures, tmp_path):
    folder = pictures(count=4)
    return lambda **changes: tiny_job(tiny_sd, folder, tmp_path / "runs", **changes)


def gathered(job):
    from trainer.core import device

    told = []
    model = job.model.load(device.plan("cpu", "fp32"))
    chosen = choose(job, model, scan(job.dataset), told.append)
    material = gather(job, model, chosen, lambda progress: None, told.append)
    return material, [event.message for event in told if isinstance(event, Warned)]


@pytest.mark.parametrize("where", ["validation", "prior"])
@pytest.mark.parametrize("place", ["inside", ".", ".."])
def test_other_pictures_must_lie_apart_from_those_that_train(job_with, where, place):
    folder = job_with().dataset.folder / place
    with pytest.raises(ConfigError, match="lie one in the other") as caught:
        job_with(**{where: {"folder": str(folder)}}).require_apart()
    assert caught.value.where == f"{where}.folder"


@pytest.mark.parametrize("where", ["validation", "prior"])
def test_other_pictures_may_lie_beside_those_that_train(job_with, where):
    beside = job_with().dataset.folder.with_name("pictures2")
    job_with(**{where: {"folder": str(beside)}}).require_apart()


def test_a_picture_that_is_held_out_too_does_not_train_and_is_named(job_with, tmp_path):
    held = tmp_path / "held"
    write_pictures(held, 2, (64, 64), captions=True, seed=9)
    shutil.copy(job_with().dataset.folder / "01.png", held / "copy.png")
    (held / "copy.txt").write_text("a fox", encoding="utf-8")
    material, warned = gathered(job_with(validation={"folder": str(held)}))
    assert [f.picture.name for f in material.training] == ["00.png", "02.png", "03.png"]
    assert len(material.held_out) == 3
    assert any("held out too" in message and "01.png" in message for message in warned)


def test_pictures_that_are_all_held_out_leave_nothing_to_train_on(job_with, tmp_path):
    shutil.copytree(job_with().dataset.folder, tmp_path / "held")
    with pytest.raises(DatasetError, match="leaves none to train on"):
        gathered(job_with(validation={"folder": str(tmp_path / "held")}))


def test_small_class_pictures_are_enlarged_to_the_training_size(job_with, tmp_path):
    write_pictures(tmp_path / "class", 2, (32, 32), captions=False, seed=9)
    prior = {"enabled": True, "folder": str(tmp_path / "class"), "prompt": "a fox"}
    material, _ = gathered(job_with(prior=prior))
    classes = material.loader.plan.items[len(material.training) :]
    assert {framed.frame.size for framed in classes} == {(64, 64)}
