"""The app in a window of its own, on a screen that nobody sees."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import doors, window
from tests.browser import CHROMIUM, keep_picture

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ("Xvfb", "xdotool")
pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(
        CHROMIUM is None or not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"
    ),
]
CDP = 9343


@pytest.fixture
def screen():
    """A display of 1600 x 1000 px."""
    number = next(n for n in range(90, 190) if not Path(f"/tmp/.X{n}-lock").exists())
    shown = subprocess.Popen(
        ["Xvfb", f":{number}", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    yield f":{number}"
    shown.terminate()
    shown.wait()


@pytest.fixture
def start(screen, home, runs, tmp_path):
    """`start()`: the app in a window, and the file that it speaks to."""
    begun = []

    def begin():
        said = tmp_path / f"said-{len(begun)}"
        flags = f"--no-sandbox --disable-gpu --disable-quic --remote-debugging-port={CDP}"
        env = {**os.environ, "DISPLAY": screen, "PYTHONPATH": str(ROOT), window.FLAGS: flags}
        with said.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "app", "--window", "--port=0", f"--runs={runs}"],
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        begun.append(process)
        return process, said

    yield begin
    for process in begun:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture
def inside():
    """`inside()`: the window's page."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:

        def attach():
            until = time.monotonic() + 90
            while True:
                try:
                    browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{CDP}")
                    page = browser.contexts[0].pages[0]
                    page.locator("body[data-ready=yes]").wait_for(state="attached")
                    return page  # noqa: TRY300
                except (Error, IndexError):
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.5)

        yield attach


def xdotool(screen, *words):
    line = ["xdotool", *map(str, words)]
    env = {**os.environ, "DISPLAY": screen}
    return subprocess.run(line, env=env, capture_output=True, text=True).stdout.split()


def test_it_shows_the_app_takes_a_click_keeps_its_size_and_ends_with_its_window(
    start, inside, screen
):
    process, said = start()
    page = inside()
    assert page.evaluate("matchMedia('(display-mode: standalone)').matches")
    number = xdotool(screen, "search", "--onlyvisible", "--name", "Sweetspot")[0]
    keep_picture(page, "window")
    box = page.get_by_role("link", name="Settings", exact=True).bounding_box()
    frame = page.evaluate("outerHeight - innerHeight")  # its bar with the title
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + frame
    xdotool(screen, "mousemove", "--window", number, round(x), round(y))
    time.sleep(0.5)
    xdotool(screen, "click", 1)
    page.get_by_role("heading", name="Settings", level=1).wait_for()
    xdotool(screen, "windowsize", number, 1010, 720)
    time.sleep(2)
    page.close(run_before_unload=True)  # as the cross in its corner does
    assert process.wait(40) == 0
    assert said.read_text().endswith("Sweetspot is closed.\n")
    assert list(doors.noted()) == []

    start()
    assert inside().evaluate("[outerWidth, outerHeight]") == [1010, 720]


def test_without_any_browser_it_says_so_and_opens_the_default_one(monkeypatch):
    monkeypatch.setattr(window, "_NAMES", ())
    monkeypatch.setattr(window, "_MAC", ())
    monkeypatch.setattr(window, "_WINDOWS", ())
    monkeypatch.setattr(window.importlib.util, "find_spec", lambda name: None)
    assert window.open_window("http://127.0.0.1:1") is None


def test_a_browser_that_ends_at_once_is_no_window(tmp_path):
    program = tmp_path / "browser"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    assert window._started([str(program)]) is None
    assert window._started([str(tmp_path / "nothing")]) is None
