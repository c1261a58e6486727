"""What is dropped lands in a new folder, is what it says, and stays where it belongs."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from app.dataset import receiving
from app.dataset.receiving import copy_of, new_folder, receive, safe_name
from trainer.core.errors import ConfigError, ResourceError


def png(size=(8, 8)) -> io.BytesIO:
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "PNG")
    out.seek(0)
    return out


def bomb() -> io.BytesIO:
    """110 megapixels in a few kilobytes."""
    out = io.BytesIO()
    Image.new("1", (11_000, 10_000)).save(out, "PNG")
    out.seek(0)
    return out


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd.png", "etc/passwd.png"),
        ("C:\\Users\\me\\cat.png", "C_/Users/me/cat.png"),
        ("/abs/cat.png", "abs/cat.png"),
        ("con.png", "_con.png"),
        ("a\u202egnp.exe.png", "a_gnp.exe.png"),
        ("...hidden.png", "hidden.png"),
        ("10_sks fox/ä 🦊.png", "10_sks fox/ä 🦊.png"),
        ("..", "unnamed"),
        ("a/b/c/d/e/f.png", "c/d/e/f.png"),
    ],
)
def test_names_lead_nowhere_else_and_are_names_on_every_system(name, kept):
    assert safe_name(name).as_posix() == kept


def test_a_long_name_keeps_its_suffix():
    assert len(safe_name("é" * 300 + ".png").name.encode()) <= 190
    assert safe_name("é" * 300 + ".png").suffix == ".png"


def test_pictures_and_captions_are_taken(home):
    made = new_folder("My fox")
    assert made == home / "pictures" / "My fox"
    assert receive(made, "a.png", png()).problem == ""
    assert receive(made, "a.txt", io.BytesIO("füchs".encode())).problem == ""
    assert (made / "a.txt").read_text() == "füchs"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.png", io.BytesIO(b"<html><script>"), "not a picture"),
        ("a.jpg", io.BytesIO(b""), "not a picture"),
        ("a.svg", io.BytesIO(b"<svg/>"), "neither"),
        ("a.exe", io.BytesIO(b"MZ"), "neither"),
        ("a.png", bomb(), "larger than 100 megapixels"),
        ("a.txt", io.BytesIO(b"\xff\xfea\0"), "UTF-8"),
        ("a.txt", io.BytesIO(b"x" * 1_000_001), "larger than 1 MB"),
        ("a.png", io.BytesIO(b"\0" * 64_000_001), "larger than 64 MB"),
    ],
    ids=["disguised", "empty", "svg", "program", "bomb", "utf16", "long text", "huge"],
)
def test_what_is_not_what_it_says_stays_out(name, data, said):
    made = new_folder("set")
    assert said in receive(made, name, data).problem
    assert [path.name for path in made.iterdir()] == [receiving.MARK]


def test_no_file_is_ever_replaced():
    made = new_folder("set")
    receive(made, "a.png", png())
    assert receive(made, "a.png", png()).problem == ""
    assert "there already" in receive(made, "a.png", png((9, 9))).problem


def test_only_folders_that_were_made_here_receive(pictures):
    folder = pictures(count=1)
    with pytest.raises(ConfigError, match="not made"):
        receive(folder, "b.png", png())


def test_a_name_that_is_taken_is_told():
    new_folder("set")
    with pytest.raises(ConfigError, match="already"):
        new_folder("set")


@pytest.mark.parametrize("name", ["", "  ", "..", "/", "\x00"])
def test_a_folder_needs_a_name_that_is_one(name):
    with pytest.raises(ConfigError, match="needs a name"):
        new_folder(name)


def test_a_place_that_cannot_hold_a_folder_is_told(home, tmp_path):
    home.mkdir()
    (home / "pictures").write_text("a file stands here")
    with pytest.raises(ResourceError, match="cannot be written"):
        new_folder("set")


def test_a_copy_holds_the_same_pictures_and_captions(pictures):
    folder = pictures(count=2)
    made = copy_of(folder, "mine")
    inside = {path.name: path.read_bytes() for path in folder.iterdir()}
    copied = {p.name: p.read_bytes() for p in made.iterdir() if p.name != receiving.MARK}
    assert copied == inside
