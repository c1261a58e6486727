"""The report in a real browser, from disk, with the network off."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from analysis import report
from trainer.core.errors import ResourceError, RunError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EPOCHS, STRENGTHS, PROMPTS, SEEDS = (
    (2, 4, 6, 8),
    (0.4, 0.8, 1.2),
    ("a fox", "a <b>dog</b>, \n“odd”"),
    (7, 8),
)


def write_report(folder: Path) -> Path:
    """A made-up analysis: pictures that turn redder, numbers that follow."""
    (folder / "cells").mkdir(parents=True)
    rows = [(e, s) for e in EPOCHS for s in STRENGTHS]
    shots = [(p, k) for p in range(len(PROMPTS)) for k in range(len(SEEDS))]

    def picture(name, dose):
        image = Image.new("RGB", (64, 64), "white")
        drawing = ImageDraw.Draw(image)
        drawing.ellipse((8, 8, 56, 56), fill=(int(40 + 200 * dose), 90, int(220 - 180 * dose)))
        image.save(folder / "cells" / name)
        return f"cells/{name}"

    def span(mean):
        return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}

    told = {
        "version": 1,
        "made": "2026-11-26T12:00:00+00:00",
        "title": "made up",
        "source": {"kind": "run", "name": "2026-11-26-made-up"},
        "recipe": {"steps": 20, "base model": "demo"},
        "versions": {"torch": "2"},
        "checkpoints": [
            {"epoch": e, "label": f"epoch {e}", "file": f"x-e{e:04}.safetensors", "step": e}
            for e in EPOCHS
        ],
        "strengths": list(STRENGTHS),
        "prompts": [{"text": text, "kind": "trigger"} for text in PROMPTS],
        "seeds": list(SEEDS),
        "metrics": [
            {
                "name": name,
                "title": title,
                "axis": axis,
                "better": better,
                "limits": [None, None],
                "counts": "all",
                "meaning": "What it says.",
                "distrust": "When it errs.",
            }
            for name, title, axis, better in (
                ("fidelity", "Likeness", "learned", "higher"),
                ("brisque", "BRISQUE", "quality", "lower"),
            )
        ],
        "controls": [
            {
                "prompt": p,
                "seed": k,
                "picture": picture(f"c{p}{k}.png", 0),
                "status": "ok",
                "reason": "",
                "scores": {"fidelity": 0.1, "brisque": 20.0},
            }
            for p, k in shots
        ],
        "cells": [
            {
                "epoch": e,
                "strength": s,
                "prompt": p,
                "seed": k,
                "picture": None
                if (e, s, p, k) == (2, 0.4, 0, 0)
                else picture(f"{e}{s}{p}{k}.png", e * s / 10),
                "status": "failed" if (e, s, p, k) == (2, 0.4, 0, 0) else "ok",
                "reason": "the memory is too small" if (e, s, p, k) == (2, 0.4, 0, 0) else "",
                "scores": {"fidelity": e * s / 10, "brisque": 20 + e},
                "unscored": {},
            }
            for e, s in rows
            for p, k in shots
        ],
        "summary": [
            {
                "epoch": e,
                "strength": s,
                "metrics": {"fidelity": span(e * s / 10), "brisque": span(20 + e)},
                "difference": {},
            }
            for e, s in rows
        ],
        "judged": [],
        "verdict": {
            "rule": "sweetspot",
            "state": "chosen",
            "choice": {"epoch": 4, "strength": 0.8},
            "headline": "Keep epoch 4 at strength 0.8.",
            "sentences": ["Because of this.", "And that </script> too."],
            "tied": [{"epoch": 4, "strength": 0.8}, {"epoch": 6, "strength": 0.8}],
            "vetoed": [{"epoch": 8, "strength": 1.2, "reasons": ["brisque is worse by 9"]}],
            "chance": [{"epoch": 4, "strength": 0.8, "p": 0.6}],
            "thin": "",
            "smallest_difference": 0.1,
            "overtrained_from": 8,
            "trained": "too long",
            "copies": [],
            "safe_strengths": [{"epoch": 4, "low": 0.4, "high": 0.8}],
            "learned_metric": "fidelity",
        },
        "references": {"training": ["00.png"], "held_out": []},
    }
    (folder / "report.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return report.write(write_report(tmp_path_factory.mktemp("report") / "one"))


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    flags = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[f"--{flag}" for flag in flags.split()]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, page_file):
    said = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert said == []


def test_the_verdict_stands_on_top_and_the_choice_is_outlined(page):
    assert page.locator(".verdict .head").inner_text() == "Keep epoch 4 at strength 0.8."
    assert page.locator("#heat-learned td.pick").inner_text() == "0.320"
    assert page.locator("#heat-learned td.out").count() == 1
    assert page.locator("#heat-learned td.tie").count() == 1


def test_the_slider_uncovers_the_base_models_picture(page):
    frame = page.locator("#first")
    assert frame.evaluate("n => n.style.getPropertyValue('--cut')") == "50%"
    page.locator("input[data-for=first]").fill("90")
    assert frame.evaluate("n => n.style.getPropertyValue('--cut')") == "90%"


def test_the_table_sorts_both_ways(page):
    button = page.get_by_role("button", name="Likeness")
    cells = page.locator("#settings tbody tr td:nth-child(3)")
    button.click()
    rising = [float(text) for text in cells.all_inner_texts()]
    button.click()
    falling = [float(text) for text in cells.all_inner_texts()]
    assert rising == sorted(rising)
    assert falling == sorted(rising, reverse=True)
    assert page.locator("#settings th[aria-sort=descending]").count() == 1


def test_a_picture_opens_and_arrows_move_on(page):
    page.get_by_role("button", name="epoch 4 at strength 0.8").click()
    title = page.locator("#zoom-title")
    assert "epoch 4 at strength 0.8" in title.inner_text()
    page.keyboard.press("ArrowRight")
    assert "epoch 4 at strength 1.2" in title.inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#zoom").evaluate("n => n.open")


def test_a_picture_that_failed_says_why(page):
    assert "the memory is too small" in page.locator("#sheet").inner_text()
    assert "the memory is too small" in page.locator("section[aria-labelledby=failed]").inner_text()


def test_prompts_are_text_and_never_markup(page):
    page.locator("#prompt").select_option("1")
    assert page.locator("#prompt b").count() == 0
    assert "<b>dog</b>" in page.locator("#prompt").inner_text()


def test_on_a_phone_nothing_but_tables_scrolls_sideways(browser, page_file):
    context = browser.new_context(viewport={"width": 390, "height": 800}, offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, page_file, scheme):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme=scheme, bypass_csp=True, offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    found = Axe().run(page).response["violations"]
    context.close()
    assert [
        (v["id"], v["nodes"][0]["html"][:120])
        for v in found
        if v["impact"] in ("serious", "critical")
    ] == []


def test_tables_say_the_same_as_the_page(page_file):
    import csv

    with (page_file.parent / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3 * 4 + 4
    assert {row["prompt"] for row in rows} == set(PROMPTS)
    assert math.isclose(float(rows[5]["fidelity"]), 0.16)


def test_a_damaged_or_newer_report_is_refused_in_one_sentence(tmp_path):
    folder = write_report(tmp_path / "two")
    path = folder / "report.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:200], encoding="utf-8")
    with pytest.raises(RunError, match="damaged"):
        report.write(folder)
    path.write_text(whole.replace('"version": 1', '"version": 9'), encoding="utf-8")
    with pytest.raises(RunError, match="version 9"):
        report.write(folder)
    with pytest.raises(RunError, match=r"no report\.json"):
        report.write(tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    folder = write_report(tmp_path / "three")
    (folder / "scores.csv").mkdir()
    with pytest.raises(ResourceError):
        report.write(folder)


def test_five_thousand_pictures_stay_a_page_that_opens(tmp_path):
    folder = write_report(tmp_path / "four")
    told = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    noise = Image.effect_noise((256, 256), 90).convert("RGB")
    names = [f"cells/n{n:04}.png" for n in range(5000)]
    noise.save(folder / names[0])
    content = (folder / names[0]).read_bytes()
    for name in names[1:]:
        (folder / name).hardlink_to(folder / names[0])
    album = report.embed(folder, names[:5000:10])
    assert content
    assert album.shrunk in report._SIDES
    assert sum(map(len, album.sources.values())) < 1.5 * report._BUDGET
    assert told["version"] == 1
