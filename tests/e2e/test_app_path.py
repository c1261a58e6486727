"""A newcomer's way through the app, from the demo's pictures to new ones, without a terminal."""

from __future__ import annotations

import re

import pytest

from tests.e2e.test_app_process import App

pytestmark = [pytest.mark.ui, pytest.mark.slow]

PATIENCE = 240_000
MOST_TABS = 400


class Mouse:
    """Clicks and fills."""

    def __init__(self, page) -> None:
        self.page = page

    def press(self, what) -> None:
        what.click()

    def write(self, what, words: str) -> None:
        what.fill(words)


class Keyboard:
    """Comes to what it means with the Tab key alone, and presses Enter or Space or types there."""

    def __init__(self, page) -> None:
        self.page = page

    def press(self, what) -> None:
        self._come_to(what)
        kind = what.evaluate("e => e.type")
        self.page.keyboard.press("Space" if kind in ("checkbox", "radio") else "Enter")

    def write(self, what, words: str) -> None:
        self._come_to(what)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(words)

    def _come_to(self, what) -> None:
        what.wait_for()
        for _ in range(MOST_TABS):
            if what.evaluate("e => e === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the Tab key never comes to {what}")


@pytest.fixture
def app(tmp_path):
    served = App(tmp_path / "runs", tmp_path / "home")
    yield served
    served.interrupt()


@pytest.mark.parametrize("way", [Mouse, Keyboard], ids=["mouse", "keyboard"])
def test_a_newcomer_comes_from_pictures_to_pictures(app, browser, tmp_path, way):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    said = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda told: told.type == "error" and said.append(told.text))
    page.on(
        "request", lambda r: r.url.startswith((app.url, "data:", "blob:")) or said.append(r.url)
    )
    hand = way(page)
    page.goto(app.url)

    hand.press(page.get_by_role("link", name="Choose pictures"))
    hand.press(page.get_by_role("button", name="A style: 3D emoji"))
    page.get_by_text("12 pictures, 12 shown an epoch").wait_for()
    hand.press(page.get_by_role("button", name="Use these pictures"))

    page.wait_for_url("**/train?*")
    hand.press(page.get_by_role("button", name="A style"))
    page.get_by_text("sd-style-demo", exact=True).wait_for()
    hand.press(page.get_by_role("button", name="Start training"))

    page.wait_for_url("**/runs?work=*")
    page.get_by_text("completed").first.wait_for(timeout=PATIENCE)
    hand.press(page.get_by_role("link", name="Analyse", exact=True))

    page.wait_for_url("**/analysis?run=*")
    hand.write(page.get_by_label("Strengths", exact=True), "0.5\n1")
    hand.press(page.get_by_role("button", name="Start"))
    page.locator(".verdict .headline").wait_for(timeout=PATIENCE)
    hand.press(page.get_by_role("button", name="Keep this file"))
    hand.write(page.get_by_label("Folder"), str(tmp_path / "kept"))
    hand.press(page.get_by_role("button", name="Copy it there"))
    page.get_by_text("Kept.").wait_for()
    (kept,) = (tmp_path / "kept").glob("*.safetensors")
    hand.press(page.get_by_role("dialog").get_by_role("link", name="Generate with it"))

    page.wait_for_url("**/generate*")
    page.locator(".use").get_by_text(kept.stem).wait_for()
    hand.write(page.get_by_role("textbox", name="Prompt"), "a frog")
    hand.press(page.get_by_role("button", name="Generate", exact=True))
    page.get_by_role("button", name=re.compile("Look at")).first.wait_for(timeout=PATIENCE)
    context.close()
    assert said == []
