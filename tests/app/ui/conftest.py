"""A server of the app's own, and a real browser before it that reports whatever goes wrong."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from tests.browser import AXE_RULES


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Where settings, presets and thumbnails of this test go; the doctor was here already."""
    monkeypatch.setenv("SWEETSPOT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    found = [{"what": "python", "state": "good", "words": "3.11", "fix": ""}]
    told = json.dumps({"at": time.time(), "found": found})
    (tmp_path / "home" / "doctor.json").write_text(told, encoding="utf-8")
    return tmp_path / "home"


@pytest.fixture
def runs(tmp_path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def server(home, runs):
    """The address of a server over the `runs` of this test."""
    import uvicorn

    from app.ui.serve import listening
    from app.ui.server import build

    bound = listening(0)
    served = uvicorn.Server(uvicorn.Config(build(runs), log_level="warning"))
    thread = threading.Thread(target=served.run, args=([bound],), daemon=True)
    thread.start()
    while not served.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    served.should_exit = served.force_exit = True
    thread.join(10)


@pytest.fixture
def visit(browser, server):
    """`visit("/home", width=390)`: a page that is drawn.

    Fails at the end when the console or a script said anything, when something was asked of
    another machine, or when an answer was an error. `page.expected` takes texts of those that
    the test provokes.
    """
    said: list[str] = []
    expected: list[str] = []
    contexts = []

    def open_page(path="/home", *, width=1280, height=900, ready=True, **how):
        context = browser.new_context(viewport={"width": width, "height": height}, **how)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.expected = expected
        page.on("console", lambda m: m.type in ("error", "warning") and said.append(m.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: _note_foreign(said, request.url, server))
        page.on("response", lambda r: r.status >= 400 and said.append(f"{r.status} {r.url}"))
        page.goto(server + path)
        if ready:
            page.locator("body[data-ready=yes]").wait_for(state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if not any(word in text for word in expected)] == []


def _note_foreign(said, url, server):
    if not url.startswith((server, "data:", "blob:")):
        said.append(f"asked of another machine: {url}")


@pytest.fixture
def require_accessible():
    """Fails on what axe-core calls serious or critical on the page."""
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()

    def check(page):
        found = axe.run(page, options=AXE_RULES).response["violations"]
        bad = [v for v in found if v["impact"] in ("serious", "critical")]
        assert not bad, "\n".join(
            f"{v['id']}: {v['help']}\n  " + "\n  ".join(n["html"][:200] for n in v["nodes"][:5])
            for v in bad
        )

    return check


@pytest.fixture
def made_run(runs, tiny_sd, pictures):
    """A run of two epochs on a tiny model, trained in this process, in `runs`."""
    from tests.trainer.training import tiny_job
    from trainer import worker
    from trainer.job.run import Run

    def make(**changes):
        run = Run.create(tiny_job(tiny_sd, pictures(count=4), runs, **changes))
        assert worker.main(run.path) == 0
        return run

    return make
