"""The page of presets: finding, reading, comparing, giving away, taking in, libraries."""

from __future__ import annotations

import json
import struct
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from app import library
from app.preset_card import card, read_card
from app.received import received
from tests.trainer.job.importers import foreign
from trainer.core.errors import ConfigError
from trainer.job.preset import Preset, from_values, render_preset
from trainer.job.sharing import from_string, to_string

pytestmark = pytest.mark.ui


def preset(name: str = "ink", **about: Any) -> Preset:
    values = {
        "preset": 1,
        "about": {"name": name, "sentence": "Foxes in ink.", **about},
        "job": {"adapter": {"rank": 12}, "model": {"kind": "sd"}},
    }
    return from_values(values, name)


def asked(url: str, **body: Any) -> Any:
    content = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def given(server: str, name: str, content: bytes) -> Any:
    url = f"{server}/api/presets/read?name={urllib.parse.quote(name)}"
    request = urllib.request.Request(url, content, {"Content-Type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())


def test_presets_are_found_by_words_and_choices_that_a_reload_keeps(visit):
    page = visit("/presets")
    cards = page.locator("article.preset")
    assert cards.count() > 10
    page.get_by_label("Model family").select_option("sdxl")
    page.get_by_label("Card size").select_option("12")
    page.get_by_label("Search presets").fill("style")
    page.get_by_text("1 of 72 presets").wait_for()
    page.reload()
    page.get_by_text("1 of 72 presets").wait_for()
    assert page.get_by_role("link", name="sdxl-style-12gb", exact=True).is_visible()
    use = page.get_by_role("link", name="Use sdxl-style-12gb")
    assert use.get_attribute("href") == "/train?preset=sdxl-style-12gb"
    page.get_by_label("Search presets").fill("nothing like it")
    page.get_by_role("heading", name="No preset fits").wait_for()


def test_a_preset_is_told_in_words_and_compared_with_another(visit):
    page = visit("/presets?one=built+in%2Fsdxl-style-12gb")
    box = page.get_by_role("dialog")
    assert box.get_by_text("Learning rate 5e-05 x alpha 32 / rank 32").is_visible()
    assert box.get_by_text("it was not run on a card yet").is_visible()
    row = box.get_by_role("row", name="Resolution")
    assert "512 px" in row.inner_text()
    assert "1024 px" in row.inner_text()
    box.get_by_label("Compare with").select_option("built in/sdxl-style-24gb")
    row = box.get_by_role("row", name="Batch size")
    row.wait_for()
    assert box.get_by_role("row", name="Resolution").count() == 0
    page.keyboard.press("Escape")
    page.wait_for_function("() => !location.search.includes('one=')")


def test_what_is_shared_comes_back_by_string_file_and_card(visit, server, home):
    library.save(preset())
    page = visit("/presets?one=own%2Fink")
    box = page.get_by_role("dialog")
    text = box.get_by_label("The preset as a string").input_value()
    assert from_string(text).settings["adapter"]["rank"] == 12
    with page.expect_download() as got:
        box.get_by_role("button", name="Card").click()
    assert read_card(got.value.path()).name == "ink"
    with page.expect_download() as got:
        box.get_by_role("link", name="TOML file").click()
    assert got.value.suggested_filename == "ink.toml"
    assert given(server, "ink.toml", got.value.path().read_bytes())["name"] == "ink"


def test_a_pasted_string_is_looked_at_then_kept_and_never_over_another_unasked(visit, home):
    library.save(preset(author="me"))
    page = visit("/presets")
    page.get_by_role("button", name="Import").click()
    box = page.get_by_role("dialog", name="Import a preset")
    box.get_by_label("A preset's string").fill(to_string(preset(author="somebody")))
    box.get_by_role("button", name="Look at it").click()
    assert "12" in box.get_by_role("row", name="Rank").inner_text()
    assert [p.about.author for p in own()] == ["me"]
    box.get_by_role("button", name="Keep", exact=True).click()
    ask = page.get_by_role("dialog", name="You have a preset ink already")
    ask.get_by_role("button", name="Choose another name").click()
    assert [p.about.author for p in own()] == ["me"]
    box.get_by_label("Name", exact=True).fill("ink-too")
    box.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("dialog", name="ink-too").wait_for()
    assert {p.name for p in own()} == {"ink", "ink-too"}


def test_ones_own_is_deleted_only_after_asking(visit, home):
    library.save(preset())
    page = visit("/presets?one=own%2Fink")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete your preset ink?").get_by_text("Cancel").click()
    assert len(own()) == 1
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete your preset ink?").get_by_text("Delete").last.click()
    page.get_by_text("ink is deleted").wait_for()
    assert own() == []


def test_another_trainers_settings_are_accounted_for(visit, tmp_path, home):
    files = foreign.write_all(tmp_path)
    page = visit("/presets")
    page.get_by_role("button", name="Import").click()
    box = page.get_by_role("dialog", name="Import a preset")
    box.get_by_label("A file").set_input_files(files["kohya_ss"])
    box.get_by_role("heading", name="Settings of kohya_ss").wait_for()
    assert box.get_by_text("Left out (").is_visible()
    box.get_by_text("Taken over (").click()
    assert "16" in box.get_by_role("row").filter(has_text="Rank").last.inner_text()
    box.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_text("Kept as").wait_for()
    assert own()[0].settings["adapter"]["rank"] == 16


def test_a_preset_that_hides_one_that_ships_is_told_before_it_is_kept(visit, home):
    page = visit("/presets")
    page.get_by_role("button", name="Import").click()
    box = page.get_by_role("dialog", name="Import a preset")
    box.get_by_label("A preset's string").fill(f"try this: {to_string(preset('sd-style-demo'))} !")
    box.get_by_role("button", name="Look at it").click()
    box.get_by_text("the other is then called built in/sd-style-demo").wait_for()


def test_a_preset_is_made_of_a_run_without_what_is_personal(visit, made_run, home):
    run = made_run(dataset={"trigger": "zwx"})
    page = visit(f"/presets?run={run.name}")
    page.get_by_role("button", name="New from a run").click()
    box = page.get_by_role("dialog", name="New from a run")
    assert "zwx" in box.get_by_label("Dataset: trigger").locator("..").inner_text()
    box.get_by_label("Name", exact=True).fill("of-run")
    box.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("dialog", name="of-run").wait_for()
    (kept,) = own()
    assert "zwx" not in render_preset(kept)
    assert kept.about.tested.startswith("One run of sd: completed")


def test_a_folder_of_presets_is_a_library_until_it_is_removed(visit, tmp_path, home):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "fox.toml").write_text(render_preset(preset("fox")))
    (tmp_path / "shelf" / "bad.toml").write_text("preset = 1\n[job.adapter]\nrank = -3\n")
    page = visit("/presets")
    page.get_by_role("button", name="Libraries").click()
    box = page.get_by_role("dialog", name="Libraries")
    box.get_by_label("Folder, or").fill(str(tmp_path / "shelf"))
    box.get_by_role("button", name="Add", exact=True).click()
    box.get_by_text("1 presets").wait_for()
    page.keyboard.press("Escape")
    assert page.get_by_role("link", name="fox", exact=True).is_visible()
    assert page.get_by_text("1 file cannot be used").is_visible()
    page.get_by_role("button", name="Libraries").click()
    box.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog", name="Remove the library shelf?").get_by_text("Remove").last.click()
    box.get_by_text("No library was added yet").wait_for()
    assert (tmp_path / "shelf" / "fox.toml").is_file()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.toml", b"preset = 1\n[about]\nname = 'x'\n[job.adapter]\nrnak = 3\n", "rank"),
        ("x.toml", b"preset = 1\n[about]\nname = '../../x'\n[job]\n", "name"),
        ("x.toml", b"preset = 1\n[about]\nname='x'\n[job.dataset]\nfolder='/etc'\n", "personal"),
        ("x.toml", b"preset = 1\n# " + b"x" * 70_000, "larger than 64 KiB"),
        ("x.toml", b"preset = 9\n[about]\nname = 'x'\n", "format 9"),
        ("x.png", b"\x89PNG\r\n\x1a\n" + b"nothing", "no whole PNG"),
        ("../../x.txt", b"sweetspot:1:00000000:AAAA", "checksum"),
        ("x.bin", b"\x00\x01\x02", "x.bin"),
        ("empty.toml", b"  ", "empty"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_in_words(server, name, content, told):
    answer = given(server, name, content)
    assert told in f"{answer['where']} {answer['problem']} {answer['hint']}"
    assert "/tmp" not in answer["where"]


def test_of_a_lora_file_its_head_is_enough():
    head = json.dumps({"__metadata__": {"ss_network_dim": "8", "ss_network_alpha": "4"}}).encode()
    found = received("old.safetensors", struct.pack("<Q", len(head)) + head)
    assert not isinstance(found, Preset)
    assert found.values["adapter"]["rank"] == 8


def test_a_picture_that_is_no_card_says_so(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "cat.png")
    with pytest.raises(ConfigError, match="no preset inside"):
        received("cat.png", (tmp_path / "cat.png").read_bytes())
    assert received("a card.png", card(preset())) == preset()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colours(visit, require_accessible, home, scheme):
    library.save(preset())
    page = visit("/presets", color_scheme=scheme)
    require_accessible(page)
    page.get_by_role("link", name="ink", exact=True).click()
    page.get_by_role("dialog").wait_for()
    require_accessible(page)


def own() -> list[Preset]:
    return [entry.preset for entry in library.entries([]) if entry.shelf == library.OWN]
