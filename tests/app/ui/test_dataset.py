"""The page of pictures and their words, in a real browser."""

from __future__ import annotations

import io
import re
import shutil
from urllib.parse import quote

import pytest
from PIL import Image

from app.ui.desk import ROOT
from tests.conftest import write_pictures

pytestmark = pytest.mark.ui

DEMO = ROOT / "assets" / "demo" / "style"


@pytest.fixture
def show(visit):
    """`show(folder)`: the page with the folder open and its cards drawn."""

    def open_page(folder, query="", **how):
        page = visit(f"/dataset?folder={quote(str(folder))}{query}", **how)
        page.locator(".cards > li").first.wait_for()
        return page

    return open_page


def card(page, name):
    return page.locator(f'.cards > li[data-name="{name}"]')


def field(page, path):
    return page.locator(f'.field[data-path="{path}"] input')


def write(page, name, text):
    """Replace a caption with the keyboard."""
    card(page, name).focus()
    page.keyboard.press("Enter")
    area = card(page, name).locator("textarea")
    area.fill(text)
    page.keyboard.press("Enter")


def save(page, count):
    page.keyboard.press("Control+s")
    words = "Write it" if count == 1 else f"Write {count}"
    page.get_by_role("button", name=words, exact=True).click()
    page.get_by_role("button", name="Saved").wait_for()


def captions(folder):
    return {path.stem: path.read_text().strip() for path in folder.glob("*.txt")}


# Choosing


def test_a_newcomer_tries_the_demo_and_goes_on_to_training(visit):
    page = visit("/dataset")
    page.get_by_role("button", name="A style: 3D emoji").click()
    page.get_by_role("heading", name="Ready to train").wait_for()
    page.get_by_text("12 pictures, 12 shown an epoch").wait_for()
    page.expected += ["404"]  # the next page may not be there yet
    page.get_by_role("button", name="Use these pictures").click()
    there = f"/train?folder={quote(str(DEMO), safe='')}&preset=sd-style-demo"
    page.wait_for_url(re.compile(re.escape(there)))


def test_pictures_that_ship_are_shown_and_not_changed_but_copied(show, home):
    page = show(DEMO)
    card(page, "fish.png").focus()
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("ship with Sweetspot").wait_for()
    assert page.locator("textarea").count() == 0
    page.get_by_role("button", name="Make a copy").click()
    page.wait_for_url("**pictures*style")
    write(page, "fish.png", "a blue fish")
    save(page, 1)
    assert (home / "pictures" / "style" / "fish.txt").read_text() == "a blue fish\n"
    assert (DEMO / "fish.txt").read_text().strip() == "a fish"


def test_a_folder_is_found_in_the_list_and_remembered(visit, pictures):
    folder = pictures(count=2)
    page = visit("/dataset")
    page.get_by_label("Path of a folder").fill(str(folder.parent))
    page.get_by_role("button", name="Browse…").click()
    page.get_by_role("dialog").get_by_role("button", name="pictures", exact=True).click()
    page.get_by_text("2 pictures in this folder").wait_for()
    page.get_by_role("button", name="Choose this folder").click()
    page.locator(".cards > li").first.wait_for()
    page.get_by_role("link", name="Choose others").click()
    page.get_by_role("button", name=str(folder)).wait_for()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/no/such/folder", "There is no such folder"),
        ("//server/share", "Network paths are not opened"),
        (" ", "No folder was named"),
    ],
)
def test_what_cannot_be_opened_is_told_and_another_can_be_chosen(visit, path, said):
    page = visit(f"/dataset?folder={quote(path)}", ready=False)
    page.expected += ["400"]
    page.get_by_role("alert").get_by_text(said).wait_for()
    assert page.get_by_role("button", name="Browse…").is_visible()


def test_a_folder_without_pictures_says_what_to_do(visit, tmp_path):
    page = visit(f"/dataset?folder={quote(str(tmp_path))}", ready=False)
    page.expected += ["400"]
    page.get_by_role("alert").get_by_text("There is no picture in this folder").wait_for()


def test_dropped_pictures_and_captions_land_in_a_new_folder(visit, home):
    page = visit("/dataset")
    good = io.BytesIO()
    Image.new("RGB", (80, 60), "red").save(good, "PNG")
    files = [
        {"name": "a 🦊.png", "mimeType": "image/png", "buffer": good.getvalue()},
        {"name": "a 🦊.txt", "mimeType": "text/plain", "buffer": "ein Füchslein".encode()},
        {"name": "fake.png", "mimeType": "image/png", "buffer": b"<html>"},
        {"name": "virus.exe", "mimeType": "image/png", "buffer": b"MZ"},
    ]
    page.locator("input[type=file][multiple]:not([webkitdirectory])").first.set_input_files(files)
    page.get_by_text("1 files stay out: virus.exe").wait_for()
    page.get_by_label("Name of the new folder").fill("fox")
    page.get_by_role("button", name="Bring them in").click()
    page.wait_for_url("**fox")
    card(page, "a 🦊.png").get_by_text("ein Füchslein").wait_for()
    assert sorted(p.name for p in (home / "pictures" / "fox").iterdir())[1:] == [
        "a 🦊.png",
        "a 🦊.txt",
    ]


@pytest.mark.slow
def test_three_thousand_pictures_dropped_at_once_are_all_taken(visit, home, tmp_path):
    good = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(good, "PNG")
    paths = [tmp_path / f"{number:04}.png" for number in range(3000)]
    for path in paths:
        path.write_bytes(good.getvalue())
    page = visit("/dataset")
    page.locator("input[type=file][multiple]:not([webkitdirectory])").first.set_input_files(paths)
    page.get_by_text("3000 pictures and 0 caption files").wait_for()
    page.get_by_role("button", name="Bring them in").click()
    page.get_by_text("of 3000 files").wait_for()
    page.wait_for_url("**my-pictures", timeout=120_000)
    page.get_by_text("3000 pictures, 3000 shown an epoch").wait_for(timeout=60_000)
    assert len(list((home / "pictures" / "my-pictures").glob("*.png"))) == 3000


def test_pictures_are_dropped_on_the_page_itself(visit, home):
    page = visit("/dataset")
    page.evaluate(
        """async () => {
          const canvas = new OffscreenCanvas(70, 50);
          canvas.getContext("2d").fillRect(0, 0, 9, 9);
          const blob = await canvas.convertToBlob({ type: "image/png" });
          const held = new DataTransfer();
          held.items.add(new File([blob], "dropped.png", { type: "image/png" }));
          dispatchEvent(new DragEvent("drop", { dataTransfer: held, cancelable: true }));
        }"""
    )
    page.get_by_label("Name of the new folder").press("Enter")
    page.wait_for_url("**my-pictures")
    card(page, "dropped.png").wait_for()


# Looking


def test_the_cut_drawn_is_the_one_that_training_makes(show, pictures):
    page = show(pictures(count=1, size=(200, 100)), "&set.resolution=64&set.dataset.bucket_step=64")
    card(page, "00.png").get_by_text("200×100 → 64×64, 50 % kept").wait_for()
    cut = card(page, "00.png").locator(".cut").get_attribute("style")
    assert "left:25.000%" in cut
    assert "width:50.000%" in cut


def test_settings_change_what_is_shown_are_judged_at_their_field_and_stay_on_reload(show, pictures):
    page = show(pictures(count=2, size=(96, 96), captions=False))
    page.get_by_text("2 pictures have no caption").wait_for()
    field(page, "dataset.trigger").fill("sks")
    field(page, "dataset.class_word").fill("fox")
    card(page, "00.png").get_by_text("a sks fox").wait_for()
    page.get_by_role("heading", name="Ready to train").wait_for()
    page.expected += ["400"]
    field(page, "dataset.bucket_step").fill("7")
    page.locator('[data-path="dataset.bucket_step"] .wrong').get_by_text("8").wait_for()
    field(page, "dataset.bucket_step").fill("32")
    page.wait_for_url("**bucket_step=32*")
    page.reload()
    card(page, "00.png").get_by_text("a sks fox").wait_for()
    assert field(page, "dataset.bucket_step").input_value() == "32"


def test_shuffled_words_are_shown_as_the_epoch_says_them(show, pictures):
    folder = pictures(count=1)
    (folder / "00.txt").write_text("sks, one, two, three, four, five")
    page = show(folder, "&set.dataset.shuffle_tags=true")
    said = card(page, "00.png").locator(".final")
    said.get_by_text("Read as:").wait_for()
    first = said.inner_text()
    assert first != "Read as: sks, one, two, three, four, five"
    field(page, "epoch").fill("2")
    page.wait_for_url("**set.epoch=2*")
    page.wait_for_function(
        "first => document.querySelector('.cards .final').innerText !== first", arg=first
    )


def test_duplicates_and_damage_stand_beside_their_pictures(show, pictures):
    folder = pictures(count=3)
    shutil.copy(folder / "00.png", folder / "twin.png")
    (folder / "twin.txt").write_text("other words")
    broken = (folder / "01.png").read_bytes()
    (folder / "01.png").write_bytes(broken[: len(broken) // 2])
    page = show(folder)
    page.expected += ["404"]
    card(page, "01.png").get_by_text("Damaged").wait_for(timeout=40_000)
    card(page, "00.png").get_by_text("The same file as twin.png").wait_for()
    page.get_by_role("button", name="Duplicates 2").click()
    assert page.locator(".cards > li").count() == 2
    page.get_by_role("button", name="See side by side").click()
    page.get_by_text("Their captions differ").wait_for()
    assert page.locator(".beside img").count() == 2


def test_sizes_filter_pictures(show, pictures):
    folder = pictures(count=2, size=(64, 64))
    Image.new("RGB", (128, 64)).save(folder / "wide.png")
    page = show(folder)
    page.get_by_role("button", name="128 × 64").click()
    assert page.locator(".cards > li").count() == 1
    page.reload()
    card(page, "wide.png").wait_for()
    assert page.locator(".cards > li").count() == 1
    assert page.get_by_text("1 of 3 shown").is_visible()


def test_two_pages_that_ask_for_the_check_at_once_both_see_it(visit, pictures):
    folder = pictures(count=3, size=(64, 64))
    page = visit("/dataset")
    answers = page.evaluate(
        """async (folder) => {
          const { post } = await import("/ui/core.js");
          const ask = () => post("/api/dataset/check", { folder, settings: {}, start: true });
          return (await Promise.allSettled([ask(), ask(), ask(), ask()])).map((one) => one.status);
        }""",
        str(folder),
    )
    assert answers == ["fulfilled"] * 4


# Writing


def test_captions_are_written_only_when_asked_and_undone_before(show, pictures):
    folder = pictures(count=3)
    before = captions(folder)
    page = show(folder)
    write(page, "00.png", "a 🦊 in the rain")
    write(page, "01.png", "ثعلب أحمر")
    page.get_by_role("button", name="Save 2 changes").wait_for()
    assert captions(folder) == before
    page.keyboard.press("Control+z")
    page.get_by_role("button", name="Save 1 change").wait_for()
    save(page, 1)
    assert captions(folder) == {**before, "00": "a 🦊 in the rain"}
    page.keyboard.press("Control+z")
    page.get_by_role("button", name="Save 1 change").wait_for()
    save(page, 1)
    assert captions(folder) == before


def test_a_reload_keeps_what_was_typed_even_in_the_middle(show, pictures):
    page = show(pictures(count=2))
    card(page, "00.png").focus()
    page.keyboard.press("Enter")
    page.keyboard.type(", half a sent")
    page.wait_for_timeout(400)
    page.reload()
    card(page, "00.png").get_by_text("half a sent").wait_for()
    page.get_by_role("button", name="Save 1 change").wait_for()


def test_the_keyboard_alone_goes_through_pictures(show, pictures):
    page = show(pictures(count=6))
    active = "document.activeElement.closest('li')?.dataset.name"
    card(page, "00.png").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(active) == "01.png"
    page.keyboard.press("End")
    assert page.evaluate(active) == "05.png"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.keyboard.type(" one")
    page.keyboard.press("Control+Enter")
    page.keyboard.type(" two")
    page.keyboard.press("Escape")
    assert page.evaluate(active) == "01.png"
    page.get_by_role("button", name="Save 2 changes").wait_for()
    page.keyboard.press("Space")
    page.get_by_role("dialog", name="Picture").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="02.png").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function(f"() => {active} === '02.png'")


def test_many_captions_are_changed_in_one_step_after_a_preview(show, pictures):
    folder = pictures(count=4)
    for number in range(3):
        (folder / f"{number:02}.txt").write_text("a cat, red, cat")
    (folder / "03.txt").write_text("a dog")
    page = show(folder)
    page.get_by_role("button", name="Change many…").click()
    page.get_by_label("Find", exact=True).fill("cat")
    page.get_by_label("Put in its place").fill("fox $& \\1")
    page.get_by_text("3 of 4 captions change").wait_for()
    page.get_by_role("button", name="Change 3").click()
    page.get_by_role("button", name="Change many…").click()
    page.get_by_role("button", name="Remove a tag").click()
    page.get_by_label("Tags to remove").fill("RED")
    page.get_by_role("button", name="Change 3").click()
    page.get_by_role("button", name="Change many…").click()
    page.get_by_role("button", name="Put in front").click()
    page.get_by_label("Words", exact=True).fill("sks, ")
    page.get_by_role("button", name="Change 4").click()
    save(page, 4)
    odd = "sks, a fox $& \\1, fox $& \\1"
    assert captions(folder) == {"00": odd, "01": odd, "02": odd, "03": "sks, a dog"}


def test_what_another_program_wrote_meanwhile_is_asked_about(show, pictures):
    folder = pictures(count=2)
    page = show(folder)
    write(page, "00.png", "mine")
    (folder / "00.txt").write_text("theirs")
    page.keyboard.press("Control+s")
    page.get_by_role("button", name="Write it").click()
    page.get_by_text("changed by another program since").wait_for()
    assert captions(folder)["00"] == "theirs"
    page.get_by_role("button", name="Write mine over them").click()
    page.get_by_role("button", name="Saved").wait_for()
    assert captions(folder)["00"] == "mine"


def test_a_folder_that_is_deleted_while_open_is_told_and_words_are_kept(show, pictures):
    folder = pictures(count=2)
    page = show(folder)
    write(page, "00.png", "mine")
    shutil.rmtree(folder)
    page.expected += ["400"]
    page.keyboard.press("Control+s")
    page.get_by_role("button", name="Write it").click()
    page.get_by_text("There is no such folder").first.wait_for()
    page.get_by_role("button", name="Save 1 change").wait_for()


def test_a_caption_of_20000_signs_is_shown_edited_and_saved(show, pictures):
    folder = pictures(count=1)
    text = "sks fox, " + "very long words, " * 1200
    (folder / "00.txt").write_text(text)
    page = show(folder)
    card(page, "00.png").get_by_text("Longer than CLIP reads").wait_for()
    assert len(card(page, "00.png").locator(".caption").inner_text()) < 700
    write(page, "00.png", text + "<b>end</b>")
    save(page, 1)
    assert captions(folder)["00"] == (text + "<b>end</b>")


# Describing


def test_missing_weights_are_told_at_their_field(show, pictures, tmp_path):
    page = show(pictures(count=1, captions=False))
    page.expected += ["400"]
    page.get_by_role("button", name="Describe…").click()
    field(page, "weights").fill(str(tmp_path))
    page.get_by_role("button", name="Describe 1 of the 1 shown").click()
    page.locator(".wrong").get_by_text("There is no model in this folder").wait_for()


@pytest.mark.slow
def test_blip_describes_pictures_and_its_words_are_drafts(show, pictures, tmp_path):
    from tests.app.dataset.tiny_blip import write_tiny_blip

    folder = pictures(count=3)
    (folder / "01.txt").unlink()
    page = show(folder)
    page.get_by_role("button", name="Describe…").click()
    field(page, "weights").fill(str(write_tiny_blip(tmp_path / "blip")))
    field(page, "prefix").fill("sks, ")
    page.get_by_role("button", name="Describe 1 of the 3 shown").click()
    page.get_by_text("Reading the weights").wait_for()
    page.reload()
    page.get_by_role("button", name="Look through 1").click(timeout=90_000)
    assert page.locator(".cards > li").count() == 1
    card(page, "01.png").get_by_text("sks").first.wait_for()
    assert not (folder / "01.txt").exists()
    page.get_by_role("button", name="Save 1 change").wait_for()


# The whole


def test_three_thousand_pictures_stay_usable(show, tmp_path):
    folder = tmp_path / "many"
    write_pictures(folder, 40, (64, 48))
    for number in range(40, 3000):
        shutil.copy(folder / f"{number % 40:02}.png", folder / f"x{number:05}.png")
        (folder / f"x{number:05}.txt").write_text(f"picture {number}")
    page = show(folder)
    assert page.locator(".cards > li").count() < 60
    page.get_by_role("button", name="Look for damage and duplicates").wait_for()
    card(page, "00.png").focus()
    page.keyboard.press("End")
    card(page, "x02999.png").get_by_text("picture 2999").wait_for()
    page.get_by_role("searchbox").fill("picture 2345")
    page.get_by_text("1 of 3000 shown").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colours(show, visit, pictures, require_accessible, scheme):
    require_accessible(visit("/dataset", color_scheme=scheme))
    folder = pictures(count=4)
    (folder / "01.txt").unlink()
    (folder / "fake.png").write_text("x")
    page = show(
        folder, "&set.dataset.trigger=sks&set.dataset.shuffle_tags=true", color_scheme=scheme
    )
    page.get_by_text("no duplicates").wait_for(timeout=40_000)
    write(page, "00.png", "sks, changed")
    require_accessible(page)
    for button in ("Change many…", "Describe…"):
        page.get_by_role("button", name=button).click()
        require_accessible(page)
        page.keyboard.press("Escape")
    card(page, "00.png").focus()
    page.keyboard.press("Space")
    require_accessible(page)
