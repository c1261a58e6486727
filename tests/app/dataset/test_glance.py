"""What cards show is what training does."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from app.checks import shown
from app.dataset.glance import Headers, glance, signature
from trainer.core.errors import DatasetError
from trainer.job.file import override_job


def test_cuts_and_words_are_those_that_the_command_line_lists(pictures, lens, tiny_sd):
    folder = pictures(count=3, size=(100, 70))
    (folder / "00.txt").write_text("sks, a, b, c, d")
    settings = {"shuffle_tags": True, "trigger": "sks", "bucket_step": 8}
    job = override_job(
        {
            "dataset": {"folder": folder, **settings},
            "model": {"base": str(tiny_sd), "resolution": 64},
            "schedule": {"seed": 0},
        },
        [],
    )
    view = glance(lens(folder, **settings), Headers())
    listed = {row.name: row for row in shown(job, epoch=1)}
    for card in view.cards:
        row = listed[card.name]
        assert (card.frame.size, card.frame.scaled, card.frame.crop) == (
            row.size,
            row.scaled,
            row.crop,
        )
        assert card.final == row.caption


def test_a_header_is_read_again_only_when_its_file_changed(pictures, tmp_path):
    path = next(pictures(count=1).glob("*.png"))
    headers = Headers()
    first = headers.look(path, 100)
    Image.new("RGB", (30, 20)).save(path)
    assert first[:2] == (64, 64)
    assert headers.look(path, 100)[:2] == (30, 20)


def test_findings_stand_beside_the_picture_they_concern(pictures, seen):
    folder = pictures(count=4, size=(64, 64))
    names = sorted(path.name for path in folder.glob("*.png"))
    stems = [name.removesuffix(".png") for name in names]
    (folder / f"{stems[0]}.txt").unlink()
    (folder / f"{stems[1]}.txt").write_text("")
    (folder / f"{stems[2]}.txt").write_bytes("föx".encode("latin-1"))
    Image.new("RGB", (4, 4)).save(folder / names[3])
    told = {card.name: [f.kind for f in card.findings] for card in seen(folder).cards}
    assert told[names[0]] == ["no caption"]
    assert told[names[1]] == ["empty caption"]
    assert told[names[2]] == ["bad caption"]
    assert "too small" in told[names[3]]


def test_a_picture_that_cannot_be_read_is_told_of_and_is_no_card(pictures, seen):
    folder = pictures(count=2)
    (folder / "fake.png").write_text("<html>")
    view = seen(folder)
    assert len(view.cards) == 2
    assert [p["name"] for p in view.problems] == ["fake.png"]
    assert "not a picture" in view.problems[0]["what"]


def test_a_folder_that_went_away_is_told_of_in_one_sentence(pictures):
    folder = pictures(count=1)
    shutil.rmtree(folder)
    with pytest.raises(DatasetError, match="not there any more"):
        signature(folder)
