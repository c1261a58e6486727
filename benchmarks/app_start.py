"""How long the app takes to serve and to draw each page, and what it costs when nobody looks.

    python -m benchmarks.app_start [RUNS]

Start to splash, start to serving (a process of its own, so that everything is imported anew), the
first contentful paint of each page by the browser's own clock, and the server's share of a core
with five pages open. Figures are of this machine and its load; compare them with one another.
"""

from __future__ import annotations

import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
ROUNDS = 5


def main() -> None:
    """Measure, and print a table."""
    from app.doors import listening

    with listening(0) as bound:
        port = bound.getsockname()[1]
    runs = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    env = {**os.environ, "BROWSER": "true", "SWEETSPOT_HOME": tempfile.mkdtemp()}
    began = time.perf_counter()
    app = subprocess.Popen(
        [sys.executable, "-m", "app", "app", f"--port={port}", f"--runs={runs}"],
        env=env,
        stdout=subprocess.DEVNULL,
    )
    try:
        print(f"start to splash    {answered(port, {200, 503}, began):6.2f} s")
        print(f"start to serving   {answered(port, {200}, began):6.2f} s")
        spent = psutil.Process(app.pid).cpu_times()
        print(f"of which computing {spent.user + spent.system:6.2f} s")
        draw(f"http://127.0.0.1:{port}", app.pid)
    finally:
        app.terminate()
        app.wait()


def answered(port: int, wanted: set[int], began: float) -> float:
    """Seconds from the start until `/hello` is answered so."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/hello")
            if connection.getresponse().status in wanted:
                return time.perf_counter() - began
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()


def draw(url: str, pid: int) -> None:
    """The first paint of each page, several times; then five of them left alone."""
    from playwright.sync_api import sync_playwright

    from app.ui.page import all_pages

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for shown in all_pages():
            paints = []
            for _ in range(ROUNDS):
                page = browser.new_page()
                page.goto(f"{url}/{shown.key}")
                page.wait_for_function(f"{PAINT} !== undefined")
                paints.append(page.evaluate(PAINT))
                page.close()
            typical, worst = statistics.median(paints), max(paints)
            print(f"{shown.key:12} first paint {typical:5.0f} ms, at worst {worst:5.0f} ms")
        idle(browser, url, pid)
        browser.close()


def idle(browser: object, url: str, pid: int) -> None:
    """The server's share of a core with five pages that nobody touches."""
    pages = [browser.new_page() for _ in range(5)]  # type: ignore[attr-defined]
    for page in pages:
        page.goto(f"{url}/home")
    time.sleep(15)  # what a page asks once is over
    process = psutil.Process(pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(60)
    print(
        f"five pages idle    {100 * (sum(process.cpu_times()[:2]) - before) / 60:6.2f} % of a core"
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
