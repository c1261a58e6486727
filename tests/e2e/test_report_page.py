"""The report in a real browser, opened from disk with the network off."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import report
from tests.analysis.report_data import NASTY, Made, write_analysis

pytestmark = pytest.mark.ui


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return report.write(write_analysis(tmp_path_factory.mktemp("page") / "one"))


@pytest.fixture
def opened(browser, file):
    """Opens the page as asked; fails when the console, a script or the network said anything."""
    said, contexts = [], []

    def open_page(path=file, **how):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: _note(said, request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def _note(said, url):
    if not url.startswith(("file:", "data:")):
        said.append(url)


def values(page, column):
    cells = page.locator(f"#all tbody tr td:nth-child({column})")
    return [float(text.replace("\u2212", "-")) for text in cells.all_inner_texts()]


def test_the_verdict_stands_on_top_with_its_pictures(opened):
    page = opened()
    assert page.locator(".badge").inner_text() == "Chosen"
    assert page.locator(".answer").inner_text().split() == ["Epoch", "60", "at", "strength", "0.8"]
    assert page.locator("h1").inner_text().startswith("Keep epoch 60 at strength 0.8")
    for layer in (".under", ".over"):
        image = page.locator(f"#first {layer}")
        image.wait_for()
        assert image.evaluate("async n => { await n.decode(); return n.naturalWidth }") == 64


def test_a_map_marks_the_choice_the_ties_and_what_is_ruled_out(opened):
    page = opened()
    for place in ("#heat-learned", "#heat-quality"):
        assert page.locator(f"{place} td.pick button").count() == 1
        assert page.locator(f"{place} td.tie button").count() == 1
        out = page.locator(f"{place} td.out button")
        assert out.count() == 4
        assert "ruled out: BRISQUE is surely worse by 9 <than> before" in out.first.get_attribute(
            "aria-label"
        )
    assert page.locator("#heat-learned td.pick").inner_text() == "+0.36"


def test_maps_and_curves_switch_between_change_and_value(opened):
    page = opened()
    page.locator("input[name=mode][value=value]").check()
    assert page.locator("#heat-learned td.pick").inner_text() == "0.66"
    page.locator("#pick-learned").select_option("fit")
    assert "lower is better" in page.locator("#heat-learned caption").inner_text()
    page.locator("#pick-curve").select_option("brisque")
    assert page.locator("#over-epoch-title").inner_text().startswith("BRISQUE, epoch by epoch")


def test_arrow_keys_move_through_a_map(opened):
    page = opened()
    page.locator("#heat-learned td.pick button").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.at") == "80|1"
    assert page.locator("#readout").inner_text().startswith("epoch 80 at strength 1")
    page.keyboard.press("Enter")
    assert page.locator("#zoom-title").inner_text() == "epoch 80 at strength 1"


def test_the_slider_uncovers_the_base_models_picture(opened):
    page = opened()
    clip = "n => getComputedStyle(n.querySelector('.over')).clipPath"
    frame = page.locator("#first")
    assert frame.evaluate(clip) == "inset(0px 0px 0px 50%)"
    box = frame.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.3, steps=4)
    page.mouse.up()
    moved = float(frame.evaluate(clip).split()[-1].rstrip("%)"))
    assert 80 < moved < 100
    page.keyboard.press("Home")
    assert frame.evaluate(clip) == "inset(0px 0px 0px 0%)"


def test_the_table_sorts_both_ways(opened):
    page = opened()
    button = page.get_by_role("button", name="Likeness to the references")
    button.click()
    assert page.locator("#all th[aria-sort=ascending]").count() == 1
    rising = values(page, 4)
    button.click()
    assert page.locator("#all th[aria-sort=descending]").count() == 1
    assert len(set(rising)) > 20
    assert rising == sorted(rising)
    assert values(page, 4) == rising[::-1]


def test_a_picture_opens_and_arrow_keys_move_between_settings(opened):
    page = opened()
    page.locator("#sheet td.pick button").click()
    title = page.locator("#zoom-title")
    assert title.inner_text() == "epoch 60 at strength 0.8"
    before = page.locator("#zoom-frame .over").get_attribute("src")
    page.keyboard.press("ArrowRight")
    assert title.inner_text() == "epoch 60 at strength 1"
    assert page.locator("#zoom-frame .over").get_attribute("src") != before
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert title.inner_text() == "epoch 120 at strength 1.2"
    told = page.locator("#zoom-standing").inner_text()
    assert told.startswith("Ruled out: BRISQUE is surely worse")
    assert "a copy of the training picture 00.png" in told
    assert page.locator("#zoom-scores tr").count() == 4
    page.keyboard.press("Escape")
    assert not page.locator("#zoom").evaluate("n => n.open")


def test_a_picture_that_failed_says_why_where_it_would_be(opened):
    page = opened()
    reason = "the memory is too small for <this> picture"
    assert reason in page.locator("#sheet").inner_text()
    assert reason in page.locator("#faults").inner_text()
    page.locator("#sheet button.shot").first.click()
    assert page.locator("#zoom-gap").inner_text() == f"There is no picture: {reason}"


def test_a_prompt_with_markup_is_shown_as_it_was_written(opened):
    page = opened()
    page.locator("#prompt").select_option("3")
    page.locator("#sheet td.pick button").click()
    assert page.locator("#zoom-shot").evaluate("n => n.textContent") == f"{NASTY}, seed 1000"
    assert page.locator("b").count() == 0


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_but_tables_scrolls_sideways(opened, width):
    page = opened(viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_both_pictures_are_shown_and_no_slider(opened):
    page = opened(viewport={"width": 794, "height": 1123})
    page.emulate_media(media="print")
    under, over = (page.locator(f"#first {layer}").bounding_box() for layer in (".under", ".over"))
    assert under["x"] + under["width"] <= over["x"] + 1
    assert not page.locator("#first .slide").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("zoomed", [False, True], ids=["page", "dialog"])
def test_axe_finds_nothing_serious(opened, scheme, zoomed):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(color_scheme=scheme, bypass_csp=True)
    if zoomed:
        page.locator("#sheet td.pick button").click()
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in serious] == []


@pytest.mark.parametrize(
    "made",
    [
        Made(epochs=(0,), strengths=(0.2, 0.4, 0.6, 0.8, 1.0), prompts=("prompt 0",), seeds=(0,)),
        Made(epochs=(1, 2, 3, 4, 5), strengths=(1.0,), prompts=("prompt 0",), seeds=(0,)),
    ],
    ids=["strengths alone", "epochs alone"],
)
def test_a_sweep_along_one_axis_has_its_maps_and_curves(opened, tmp_path, made):
    pick = {"epoch": made.epochs[-1], "strength": made.strengths[-1]}
    verdict = {"choice": pick, "tied": [pick], "vetoed": [], "chance": [], "copies": []}
    alone = Made(made.epochs, made.strengths, made.prompts, made.seeds, 32, None, verdict=verdict)
    page = opened(report.write(write_analysis(tmp_path / "one", alone)))
    count = len(made.epochs) * len(made.strengths)
    assert page.locator("#heat-learned td button").count() == count
    assert page.locator("#over-epoch svg .dot").count() == len(made.epochs)
    assert page.locator("#over-strength svg .dot").count() == len(made.strengths)
    assert page.locator("svg").evaluate_all("some => some.every(n => !/NaN/.test(n.outerHTML))")
