"""The page that the app opens on."""

from __future__ import annotations

import json
import time

import pytest

from tests.app.ui.told_runs import add, ended, running_here, started, stepped, told_run, whole_run

DECIDED = {
    "kind": "Decided",
    "state": "chosen",
    "headline": "Keep epoch 2 at strength 0.8.",
    "epoch": 2,
    "strength": 0.8,
    "report": "report.html",
}
pytestmark = pytest.mark.ui


def test_an_empty_machine_is_told_where_to_begin(visit):
    page = visit("/")
    page.get_by_role("heading", name="Nothing was trained yet").wait_for()
    assert page.get_by_role("link", name="Choose pictures").is_visible()
    assert page.get_by_text("Nothing runs now").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colours(visit, require_accessible, scheme):
    page = visit("/home", color_scheme=scheme)
    page.get_by_text("All is well").wait_for()
    require_accessible(page)


def test_a_verdict_stands_beside_the_picture_of_what_was_chosen(visit, runs):
    from PIL import Image

    folder = whole_run(runs, "fox")
    sweep = told_run(folder / "analysis", "1", DECIDED, ended())
    (sweep / "sweep.toml").touch()
    Image.new("RGB", (32, 32), "red").save(sweep / "cell.png")
    cell = {"epoch": 2, "strength": 0.8, "prompt": 0, "seed": 0, "picture": "cell.png"}
    verdict = {"choice": {"epoch": 2, "strength": 0.8}}
    told = {"verdict": verdict, "cells": [{**cell, "status": "ok"}]}
    (sweep / "report.json").write_text(json.dumps(told))
    page = visit("/home")
    page.get_by_text("Keep epoch 2 at strength 0.8.").wait_for()
    assert page.get_by_text("best", exact=True).is_visible()
    picture = page.get_by_alt_text("fox: the picture of the chosen epoch and strength")
    page.wait_for_function("image => image.naturalWidth > 0", arg=picture.element_handle())


def test_a_card_changes_where_it_stands(visit, runs):
    folder = told_run(runs, "fox", started(), stepped(1))
    running_here(folder)
    page = visit("/home")
    page.locator("main").get_by_text("Step 1 of 6").wait_for()
    page.locator("a.card").focus()
    add(folder, stepped(2))
    page.locator("main").get_by_text("Step 2 of 6").wait_for()
    assert page.evaluate("document.activeElement.matches('a.card')")


def test_the_doctor_is_remembered_and_looks_again_when_asked(visit, home):
    page = visit("/home")
    page.get_by_text("All is well").wait_for()
    page.get_by_role("button", name="Look again").click()
    page.get_by_text("Looking…").wait_for()
    assert page.get_by_text("All is well").is_visible()
    page.get_by_text("looked just now").wait_for(timeout=120_000)
    assert len(json.loads((home / "doctor.json").read_text())["found"]) > 5


def test_a_damaged_memory_of_the_doctor_is_looked_up_anew(home, runs, monkeypatch):
    from app.ui import health

    monkeypatch.setattr(health, "_examined", lambda runs: [])
    (home / "doctor.json").write_text("[]")
    doctor = health.Health()
    assert doctor.told(runs)["looking"]
    while doctor.told(runs)["looking"]:
        time.sleep(0.02)
    assert doctor.told(runs)["found"] == []
