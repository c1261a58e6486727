"""Captions are written where they are read from, whole, and never over what nobody saw."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from app.dataset.glance import Headers
from app.dataset.saving import Change, save
from trainer.core.errors import ResourceError

ODD = ["🦊 a fox 👩‍🚀", "ثعلب أحمر", "x" * 20_000, 'quotes " and , commas', "日本語"]


def first(view):
    return view.cards[0]


@pytest.mark.parametrize("text", ODD, ids=["emoji", "rtl", "20,000 signs", "quotes", "japanese"])
def test_any_words_come_back_as_they_were_written(pictures, lens, seen, text):
    folder = pictures(count=2)
    card = first(seen(folder))
    told = save(lens(folder), Headers(), [Change(card.name, text, card.own)])
    assert told.written == (card.name,)
    assert first(seen(folder)).own == text


def test_line_breaks_become_spaces_as_training_reads_them(pictures, lens, seen):
    folder = pictures(count=1)
    card = first(seen(folder))
    save(lens(folder), Headers(), [Change(card.name, "one\n two\r\n\nthree ", card.own)])
    assert first(seen(folder)).own == "one two three"


def test_what_another_program_changed_is_left_alone_and_told(pictures, lens, seen):
    folder = pictures(count=2)
    one, other = seen(folder).cards
    (folder / one.name).with_suffix(".txt").write_text("meanwhile")
    changes = [Change(one.name, "mine", one.own), Change(other.name, "good", other.own)]
    told = save(lens(folder), Headers(), changes)
    assert told.written == (other.name,)
    assert "another program" in told.refused[one.name]
    assert (folder / one.name).with_suffix(".txt").read_text() == "meanwhile"


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_captions_of_a_metadata_file_are_written_into_it(pictures, lens, seen, kind):
    folder = pictures(count=2, captions=False)
    names = sorted(path.name for path in folder.glob("*.png"))
    table = folder / f"metadata.{kind}"
    if kind == "jsonl":
        rows = [{"file_name": name, "text": "old", "more": 7} for name in names]
        table.write_text("\n".join(map(json.dumps, rows)) + "\n")
    else:
        table.write_text("file_name,text,more\n" + "".join(f"{n},old,7\n" for n in names))
    save(lens(folder), Headers(), [Change(names[1], 'new, "one"', "old")])
    assert [card.own for card in seen(folder).cards] == ["old", 'new, "one"']
    assert not list(folder.glob("*.txt"))
    assert table.read_text().count("7") == 2


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "nothing.png", ""])
def test_only_pictures_of_the_folder_get_captions(pictures, lens, tmp_path, name):
    folder = pictures(count=1)
    (tmp_path / "outside.png").touch()
    told = save(lens(folder), Headers(), [Change(name, "x", "")])
    assert told.written == ()
    assert not (tmp_path / "outside.txt").exists()


def test_a_caption_file_that_is_a_link_is_not_written_through(pictures, lens, seen, tmp_path):
    folder = pictures(count=1)
    card = first(seen(folder))
    text = (folder / card.name).with_suffix(".txt")
    target = tmp_path / "elsewhere.txt"
    target.write_text(card.own)
    text.unlink()
    text.symlink_to(target)
    told = save(lens(folder), Headers(), [Change(card.name, "mine", card.own)])
    assert "link" in told.refused[card.name]
    assert target.read_text() == card.own


def test_a_file_that_is_not_utf8_is_not_replaced(pictures, lens, seen):
    folder = pictures(count=1)
    card = first(seen(folder))
    text = (folder / card.name).with_suffix(".txt")
    text.write_bytes("föx".encode("latin-1"))
    told = save(lens(folder), Headers(), [Change(card.name, "mine", "")])
    assert "UTF-8" in told.refused[card.name]
    assert text.read_bytes() == "föx".encode("latin-1")


def test_two_pictures_of_one_name_do_not_share_what_is_written(pictures, lens, seen):
    folder = pictures(count=1, captions=False)
    png = next(folder.glob("*.png"))
    png.with_suffix(".webp").write_bytes(png.read_bytes())
    told = save(lens(folder), Headers(), [Change(png.name, "mine", "")])
    assert "two pictures" in told.refused[png.name]


@pytest.fixture
def forbidden(pictures):
    """A folder that this process may read and not write, whoever runs the tests."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(pictures(count=1, captions=False), Path(place, "pictures")))
        Path(place).chmod(0o755)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        yield folder
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps rights otherwise")
def test_a_place_that_cannot_be_written_is_told_in_one_sentence(forbidden, lens, seen):
    view = seen(forbidden)
    assert "cannot be written" in view.locked
    with pytest.raises(ResourceError, match="cannot be written"):
        save(lens(forbidden), Headers(), [Change(first(view).name, "mine", "")])
