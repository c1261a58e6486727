"""What the report writes, without a browser (tests/e2e/test_report_page.py has one)."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from analysis import report
from analysis.report_album import look_for
from analysis.report_file import read
from analysis.report_view import percent
from tests.analysis.report_data import NASTY, Made, write_analysis
from trainer.core.errors import ResourceError, RunError

SMALL = Made(epochs=(2, 4, 6, 8), strengths=(0.4, 0.8, 1.0, 1.2), side=32, broken=(2, 0.4, 0, 0))


class Page(HTMLParser):
    """A page as a browser takes it apart."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.links, self.words = [], {}, [], []
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.append((tag, told))
        self.links += [told[name] for name in ("src", "href", "srcset") if name in told]
        self._script = told.get("id", "code") if tag == "script" else None

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        if self._script is None:
            self.words.append(data)
        else:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = write_analysis(tmp_path_factory.mktemp("report") / "one", SMALL)
    report.write(made)
    return made


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def changed(folder, **changes):
    path = folder / "report.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**told, **changes}), encoding="utf-8")


# The page


def test_the_page_asks_for_nothing_outside_its_folder(page):
    assert {link for link in page.links if not link.startswith("#")} == {
        "report.json",
        "scores.csv",
        "contact-sheet.png",
    }
    policy = next(t["content"] for _, t in page.tags if t.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:")


def test_every_picture_is_in_the_page_once(folder, page):
    pictures = json.loads(page.scripts["album"])
    files = {f"cells/{path.name}" for path in (folder / "cells").iterdir()}
    assert set(pictures) == files
    with Image.open(io.BytesIO(base64.b64decode(pictures["cells/c-0-0.png"]))) as picture:
        assert (picture.format, picture.size) == ("WEBP", (32, 32))
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count(pictures["cells/8-0.8-0-0.png"]) == 1


def test_a_prompt_is_text_and_never_markup(page):
    assert [told.get("id", "code") for tag, told in page.tags if tag == "script"] == [
        "data",
        "album",
        "code",
    ]
    assert json.loads(page.scripts["data"])["prompts"][3]["text"] == NASTY
    assert "And a prompt with </script> in it changes nothing." in page.words


def test_numbers_in_the_page_are_short_and_finite(page):
    assert not re.search(r"\d\.\d{12}", page.scripts["data"])
    assert not re.search(r"\bNaN\b|\bInfinity\b", page.scripts["data"])


def test_how_sure_it_is_stands_beside_the_choice(page):
    words = [word.strip() for word in page.words if word.strip()]
    at = words.index("Chance to be the very best")
    assert words[at : at + 4] == [
        "Chance to be the very best",
        "31%",
        "Cannot be told apart from it",
        "1 other setting",
    ]
    assert any(word.startswith("The evidence is thin") for word in words)


@pytest.mark.parametrize(
    ("share", "words"), [(0, "under 1%"), (0.009, "under 1%"), (0.594, "59%"), (1, "over 99%")]
)
def test_no_chance_is_called_certain(share, words):
    assert percent(share) == words


def test_what_failed_is_told_with_its_reason_and_place(page):
    assert ": the memory is too small for <this> picture" in " ".join(page.words)
    assert "epoch 2 at strength 0.4, “sks fox in the snow”, seed 1000" in page.words


def test_settings_are_ruled_out_by_reason(page):
    assert "epochs 4, 6 and 8 at strength 1.2" in page.words


@pytest.mark.parametrize("state", ["nothing learned", "nothing safe"])
def test_without_a_choice_the_page_shows_the_last_epoch_and_says_so(tmp_path, state):
    none = {"state": state, "choice": None, "headline": "There is no choice.", "tied": []}
    made = write_analysis(
        tmp_path / "none", Made(SMALL.epochs, SMALL.strengths, side=16, verdict=none)
    )
    words = Page(report.write(made).read_text(encoding="utf-8")).words
    assert "No setting was chosen; this is epoch 8 at strength 1." in words


def test_nothing_scored_is_still_a_page(tmp_path):
    made = write_analysis(tmp_path / "bare", SMALL)
    verdict = {
        **json.loads((made / "report.json").read_text(encoding="utf-8"))["verdict"],
        "state": "nothing scored",
        "headline": "Nothing could be scored, so there is no choice.",
        "choice": None,
    }
    lists = {
        name: [] for name in ("tied", "vetoed", "chance", "copies", "safe_strengths", "sentences")
    }
    empty = {name: [] for name in ("metrics", "cells", "controls", "summary", "judged")}
    changed(made, verdict={**verdict, **lists}, **empty)
    words = Page(report.write(made).read_text(encoding="utf-8")).words
    assert "Nothing could be scored, so there is no choice." in words
    assert not (made / "contact-sheet.png").exists()


def test_a_damaged_picture_is_told_and_the_rest_is_shown(tmp_path):
    made = write_analysis(tmp_path / "cut", SMALL)
    whole = made / "cells" / "4-0.8-1-0.png"
    whole.write_bytes(whole.read_bytes()[:60])
    page = Page(report.write(made).read_text(encoding="utf-8"))
    assert len(json.loads(page.scripts["album"])) == 16 * 10 - 1 + 10 - 1
    assert "cannot be shown" in page.words


def test_writing_twice_gives_the_same_page(folder):
    before = (folder / "report.html").read_bytes()
    report.write(folder)
    assert (folder / "report.html").read_bytes() == before


# Its weight


def test_the_demo_sweep_stays_under_twelve_megabytes(tmp_path):
    made = write_analysis(tmp_path / "demo", Made(side=128, noise=60))
    assert report.write(made).stat().st_size < 12e6


def test_five_thousand_photos_are_kept_small_enough_for_a_page_under_sixty_megabytes(tmp_path):
    names = [f"{n:05}.png" for n in range(5000)]
    photo = Image.effect_noise((256, 256), 60).convert("RGB")
    photo.save(tmp_path / names[0], compress_level=1)
    for name in names[1:]:
        (tmp_path / name).hardlink_to(tmp_path / names[0])
    look = look_for(tmp_path, names)
    photo.thumbnail((look.side, look.side))
    buffer = io.BytesIO()
    photo.save(buffer, format="WEBP", quality=look.quality)
    assert look.side < 256
    assert 20e6 < 5000 * len(buffer.getvalue()) * 4 / 3 < 60e6
    assert look_for(tmp_path, names[:20]).side == 768


@pytest.mark.slow
def test_a_sweep_of_five_thousand_cells_is_written(tmp_path):
    prompts = [f"prompt {n}" for n in range(25)]
    made = Made(range(10, 110, 10), (0.2, 0.4, 0.6, 0.8, 1.0), prompts, range(4), 256, noise=60)
    page = report.write(write_analysis(tmp_path / "many", made))
    assert 10e6 < page.stat().st_size < 60e6
    with (page.parent / "scores.csv").open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == 1 + 5000 + 100


def test_a_page_with_shrunk_pictures_says_so(tmp_path):
    made = write_analysis(
        tmp_path / "large", Made((2, 4, 6, 8), (0.4, 0.6, 0.8, 1.0), ("a",), (1,), 800)
    )
    words = " ".join(Page(report.write(made).read_text(encoding="utf-8")).words)
    assert "shown at up to 768 px so that this page stays light" in words


# Tables and the contact sheet


def test_the_csv_has_a_row_a_picture_with_texts_as_they_are(folder):
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 * 10 + 10
    assert {row["prompt"] for row in rows} == set(SMALL.prompts)
    told = read(folder)
    for row, cell in zip(rows, told["cells"], strict=False):
        stored = cell["scores"]["fidelity"]
        assert row["fidelity"] == ("" if stored is None else repr(stored))
    assert [row["status"] for row in rows].count("failed") == 1
    assert "fit" not in rows[0]


def test_the_parquet_table_says_the_same_as_the_csv(folder):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    table = parquet.read_table(folder / "scores.parquet").to_pylist()
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in table
    ] == rows


def test_the_contact_sheet_has_a_block_for_each_prompt_and_seed(folder):
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert sheet.width > 2 * 5 * 128
        colours = sheet.convert("RGB").getcolors(maxcolors=sheet.width * sheet.height)
    assert len(colours) > 50


# What cannot be


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 2, this Sweetspot reads version 1"),
        ({"version": "one"}, "damaged: version"),
        ({"cells": [{"epoch": 1}]}, "damaged: cells.0"),
        ({"verdict": None}, "damaged: verdict"),
        ({"prompts": []}, "prompt 0 and seed 0, which are not listed"),
    ],
)
def test_a_report_of_another_kind_is_refused_in_one_sentence(tmp_path, change, words):
    made = write_analysis(
        tmp_path / "odd", Made((2, 4, 6, 8), (0.4, 0.6, 0.8, 1.0), ("a",), (1,), 8)
    )
    changed(made, **change)
    with pytest.raises(RunError, match=re.escape(words)) as caught:
        report.write(made)
    assert "\n" not in caught.value.problem
    assert not (made / "report.html").exists()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"version": 1, "made": NaN}', "\udcff"])
def test_a_report_cut_short_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "report.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RunError, match="damaged") as caught:
        report.write(tmp_path)
    assert "\n" not in caught.value.problem


def test_a_folder_without_a_report_says_what_makes_one(tmp_path):
    with pytest.raises(RunError, match=r"no report\.json") as caught:
        report.write(tmp_path)
    assert "analyse" in caught.value.hint


@pytest.mark.parametrize("name", ["scores.csv", "report.html", "contact-sheet.png"])
def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left_half(tmp_path, name):
    made = write_analysis(
        tmp_path / "shut", Made((2, 4, 6, 8), (0.4, 0.6, 0.8, 1.0), ("a",), (1,), 8)
    )
    (made / name).mkdir()
    with pytest.raises(ResourceError) as caught:
        report.write(made)
    assert str(made / name) in caught.value.where
    assert [path for path in made.iterdir() if ".tmp-" in path.name] == []
