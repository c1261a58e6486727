"""Runs belong to the machine, not to the tab: the real app, a real training process, a browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, FLAGS
from tests.trainer.training import tiny_job
from trainer.core.events import Ended, Kept, Stepped
from trainer.job.run import Run

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.ui,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
AGAIN = 2.0
"""Seconds from opening a page until it shows the run, whatever happened before."""


class App:
    """`sweetspot app` in a process group of its own, as a terminal gives it one."""

    def __init__(self, runs: Path, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._runs, self._home = runs, home
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "app", "app", "--no-browser", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--runs", str(self._runs)],
            cwd=ROOT,
            env={**os.environ, "SWEETSPOT_HOME": str(self._home), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(self.answers, 60)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/now", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """What Ctrl-C in the terminal sends, to every process of the group."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(30)


def until(true, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.05)


@pytest.fixture
def run(tmp_path, tiny_sd, pictures):
    """A run that takes some minutes, made and not started; ended in the end."""
    job = tiny_job(
        tiny_sd,
        pictures(count=4),
        tmp_path / "runs",
        schedule={"epochs": 1000, "kind": "constant"},
        save={"every_epochs": 1000, "state_every_steps": 0},
    )
    made = Run.create(job)
    yield made
    made.ask_to_stop()
    until(lambda: made.status() != "running", 120)


@pytest.fixture
def app(tmp_path, run):
    served = App(run.path.parent, tmp_path / "home")
    yield served
    served.kill()


@pytest.fixture
def browse():
    """`browse()`: a browser of its own, with no memory of another."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = []

        def start():
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            started.append(browser)
            return browser

        yield start
        for browser in started:
            browser.close()


def steps(run: Run) -> int:
    return max((t.event.step for t in run.events() if isinstance(t.event, Stepped)), default=0)


def require_going_on(run: Run) -> None:
    before = steps(run)
    until(lambda: steps(run) > before)


def require_shown(page) -> None:
    page.get_by_text("Running", exact=True).wait_for(timeout=1000 * AGAIN)
    page.get_by_text("of 1000").first.wait_for(timeout=1000 * AGAIN)
    page.locator(".plot canvas").first.wait_for(timeout=1000 * AGAIN)


def open_run(tabs, app: App, run: Run):
    """The run's page, which must show it within the time that is promised."""
    page = tabs.new_page()
    began = time.monotonic()
    page.goto(f"{app.url}/runs?work={run.name}")
    require_shown(page)
    assert time.monotonic() - began < AGAIN
    return page


def test_a_run_goes_on_and_is_found_again_whatever_happens_to_tabs_and_server(app, run, browse):
    first = browse()
    page = first.new_page()
    page.goto(f"{app.url}/runs?work={run.name}")
    page.get_by_role("button", name="Start").click()
    until(lambda: steps(run) > 2, 300)
    require_shown(page)

    page.reload()
    require_shown(page)
    open_run(first, app, run)

    app.kill()
    require_going_on(run)
    page.get_by_text("does not answer").wait_for()
    app.start()
    open_run(browse(), app, run)
    page.get_by_text("does not answer").wait_for(state="hidden")

    app.interrupt()
    require_going_on(run)
    app.start()

    worker = json.loads((run.path / "state.json").read_text())["pid"]
    asleep = [app.process.pid, worker]  # as when a laptop is closed
    for number in asleep:
        os.kill(number, signal.SIGSTOP)
    time.sleep(8)
    for number in asleep:
        os.kill(number, signal.SIGCONT)
    require_going_on(run)
    page.get_by_text("does not answer").wait_for(state="hidden")
    require_shown(page)

    first.close()
    require_going_on(run)

    tabs = browse()
    open_run(tabs, app, run)
    second = open_run(tabs, app, run)
    second.get_by_role("button", name="Stop and save").click()
    second.get_by_text("Stopped at step").wait_for()
    assert run.status() == "stopped"
    told = [t.event for t in run.events()]
    assert isinstance(told[-1], Ended)
    assert Kept(steps(run)) in told
    assert second.get_by_role("button", name="Resume").is_visible()
