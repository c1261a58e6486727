"""What a person asks for on the page that trains, and what is said of it."""

from __future__ import annotations

import pytest

from app import asking
from trainer.core.errors import DatasetError
from trainer.job.config import JobConfig
from trainer.job.file import parse_job


def test_a_folder_is_told_by_its_pictures_captions_and_who_is_called(pictures):
    folder = pictures(count=3)
    (folder / "notes.psd").write_bytes(b"none of ours")
    one, *others = sorted(folder.glob("*.txt"))
    one.write_text("a photo of ohwx fox", encoding="utf-8")
    for other in others:
        other.write_text("a photo of an ohwxx", encoding="utf-8")
    told = asking.glance(folder, " ohwx ")
    assert (told["pictures"], told["captions"], told["uncalled"]) == (3, 3, 2)
    assert told["faults"] == 1
    assert "notes.psd" in told["problems"][0]
    assert len(told["some"]) == 3


def test_a_folder_without_captions_is_no_error_yet(pictures):
    told = asking.glance(pictures(count=2, captions=False), "ohwx")
    assert (told["pictures"], told["captions"], told["uncalled"]) == (2, 0, 0)


def test_a_folder_without_pictures_is_told_in_a_sentence(tmp_path):
    with pytest.raises(DatasetError, match="no picture in this folder"):
        asking.glance(tmp_path, "")


def test_a_whole_disk_is_not_looked_through(pictures, monkeypatch):
    monkeypatch.setattr(asking, "_MOST_FILES", 3)
    with pytest.raises(DatasetError, match="more than 3 files"):
        asking.glance(pictures(count=2), "")


def job(**schedule) -> JobConfig:
    return parse_job({"dataset": {"folder": "/p", "class_word": "fox"}, "schedule": schedule})


@pytest.mark.parametrize(
    ("asked", "numbers", "words"),
    [
        (
            job(epochs=10),
            {"pictures": 12, "shown": 12, "an_epoch": 12, "steps": 120},
            "12 pictures, one at a time: 12 steps an epoch, 120 in 10 epochs",
        ),
        (
            job(steps=100, batch_size=4, accumulate=2),
            {"pictures": 12, "shown": 24, "an_epoch": 3, "steps": 100},
            "12 pictures, shown 24 times an epoch, 8 at a time (4 x 2 added up): "
            "3 steps an epoch, 100 in 33.3 epochs",
        ),
        (
            job(epochs=1),
            {"pictures": 1, "shown": 1, "an_epoch": 1, "steps": 1},
            "1 picture, one at a time: 1 step an epoch, 1 in 1 epoch",
        ),
    ],
)
def test_steps_are_explained_by_what_they_are_made_of(asked, numbers, words):
    assert asking.steps_in_words(asked, numbers) == words


def test_a_problem_with_a_file_of_the_folder_is_told_at_the_folder_s_field():
    tree = {"dataset": {"folder": "/pictures/fox"}, "model": {"base": "demo"}}
    told = {"problem": "it is damaged", "where": "/pictures/fox/a/1.png", "hint": ""}
    assert asking.at_field(told, tree) == {
        "problem": "it is damaged (a/1.png)",
        "where": "dataset.folder",
        "hint": "",
    }
    elsewhere = {"problem": "it is full", "where": "/elsewhere", "hint": ""}
    assert asking.at_field(elsewhere, tree) == elsewhere
