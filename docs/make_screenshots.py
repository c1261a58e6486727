"""Draws the pictures of docs/app.md: `python docs/make_screenshots.py RUNS [PAGE...]`.

RUNS is a folder with a run that was analysed; it is only read. Needs Chromium and Playwright.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
SIZE = (1280, 860)


def main(runs: Path, keys: list[str]) -> None:
    """A picture of each page, or of some, as WebP in docs/images."""
    sys.path.insert(0, str(ROOT))
    os.environ["SWEETSPOT_HOME"] = tempfile.mkdtemp()
    import uvicorn

    from app.doors import listening
    from app.ui.server import build

    bound = listening(0)
    server = uvicorn.Server(uvicorn.Config(build(runs), log_level="error"))
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    draw(f"http://127.0.0.1:{bound.getsockname()[1]}", keys, shown_at(runs))
    server.should_exit = True
    thread.join(10)


def shown_at(runs: Path) -> dict[str, str]:
    """What stands behind a page's address, so that it has something to show."""
    run = next(runs.glob("*/analysis/*/report.json")).parent
    work = run.parents[1].name
    style = Path(tempfile.gettempdir()) / "pictures" / "emoji"
    shutil.copytree(ROOT / "assets" / "demo" / "style", style, dirs_exist_ok=True)
    return {
        "dataset": f"?folder={style}",
        "train": f"?preset=sd-style-demo&folder={style}",
        "runs": f"?work={work}",
        "analysis": f"?work={run.relative_to(runs).as_posix()}",
    }


def draw(url: str, keys: list[str], at: dict[str, str]) -> None:
    """Every page, once it is drawn and its pictures are there."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    from app.ui.page import all_pages

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_default_timeout(120_000)
        for shown in all_pages():
            if keys and shown.key not in keys:
                continue
            page.goto(f"{url}/{shown.key}{at.get(shown.key, '')}")
            page.locator("body[data-ready=yes]").wait_for(state="attached")
            page.wait_for_timeout(12_000 if shown.key in ("train", "home") else 5000)
            to = ROOT / "docs" / "images" / f"app-{shown.key}.webp"
            with Image.open(io.BytesIO(page.screenshot())) as picture:
                picture.convert("RGB").save(to, quality=80, method=6)
            print(f"{to.relative_to(ROOT)}: {to.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
