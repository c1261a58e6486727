"""How long a form of every setting takes to be there: our pages beside a plain Gradio page.

    python benchmarks/pages.py --rounds 5 --chromium /usr/bin/chromium

Both show the settings of a job with their help, drawn from the same declarations, and nothing
else. Each server is a process of its own; a round opens each page in a fresh browser (nothing
cached) and then once more (cached), in turn. Then five tabs of each stand idle, and tabs are
opened until one no longer loads.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CONTENDERS = {"ours": "/bench", "gradio": "/", "gradio with a State": "/"}
PORTS = {"ours": 7931, "gradio": 7932, "gradio with a State": 7933}
WIDGETS = "input:not([type=hidden]), textarea, select"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
BYTES = """performance.getEntries().reduce((sum, one) => sum + (one.transferSize ?? 0), 0)"""
SCRIPT = """import { form } from "../form.js";
export async function draw(page) {
  const drawn = form(page, await (await fetch("/bench/specs")).json());
  drawn.advanced(true);
  page.dataset.drawn = "yes";
}"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=30, help="Seconds that tabs stand idle.")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--serve", choices=list(CONTENDERS))
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve)
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        os.environ["SWEETSPOT_HOME"] = home
        started = {name: start(name) for name in CONTENDERS}
        try:
            chromium = [asked.chromium, list(FLAGS)]
            with opened(playwright, chromium) as browser:
                times(browser, asked.rounds)
            for name in CONTENDERS:
                with opened(playwright, chromium) as browser:
                    idle(browser, name, started[name], asked.idle)
                with opened(playwright, chromium) as browser:
                    tabs(browser, name)
        finally:
            for process in started.values():
                process.kill()


@contextmanager
def opened(playwright: Any, chromium: list[Any]) -> Iterator[Any]:
    """A browser of its own."""
    browser = playwright.chromium.launch(executable_path=chromium[0], args=chromium[1])
    yield browser
    browser.close()


def start(name: str) -> subprocess.Popen[bytes]:
    """A server; prints how long it took to its first answer."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, "--serve", name])
    while True:
        try:
            urllib.request.urlopen(address(name)).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
        else:
            break
    cpu = sum(psutil.Process(process.pid).cpu_times()[:2])
    memory = psutil.Process(process.pid).memory_info().rss / 1e6
    took = time.perf_counter() - began
    print(f"{name}: serves after {took:.1f} s, {cpu:.1f} CPU-s, {memory:.0f} MB")
    return process


def address(name: str) -> str:
    """Where a contender's page is."""
    return f"http://127.0.0.1:{PORTS[name]}{CONTENDERS[name]}"


def times(browser: Any, rounds: int) -> None:
    """First paint and usable, uncached and cached; medians, and of each round's ratio."""
    seen: dict[tuple[str, str], list[dict[str, float]]] = {}
    names = ("ours", "gradio")
    for _ in range(rounds):
        for name in names:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            for visit in ("first visit", "second visit"):
                seen.setdefault((name, visit), []).append(load(context, name))
            context.close()
    for visit in ("first visit", "second visit"):
        for what in ("paint", "usable", "widgets", "bytes", "requests"):
            ours, theirs = ([one[what] for one in seen[name, visit]] for name in names)
            ratio = statistics.median(
                t / o if o else 0.0 for o, t in zip(ours, theirs, strict=True)
            )
            middle = [statistics.median(each) for each in (ours, theirs)]
            print(f"{visit}, {what}: ours {middle[0]:.4g}, gradio {middle[1]:.4g} ({ratio:.1f}x)")


def load(context: Any, name: str) -> dict[str, float]:
    """One page, from its address to the last field that takes a letter; seconds."""
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    began = time.perf_counter()
    page.goto(address(name), wait_until="commit", timeout=300_000)
    last = page.locator(WIDGETS).last
    if name == "ours":
        page.locator("#page[data-drawn=yes]").wait_for(timeout=300_000)
    else:
        page.get_by_label("last of all").wait_for(timeout=300_000)
        last = page.get_by_label("last of all")
    last = page.locator("input[type=text], textarea").last if name == "ours" else last
    last.fill("1", timeout=300_000)
    usable = time.perf_counter() - began
    page.wait_for_timeout(300)
    told = {
        "paint": (page.evaluate(PAINT) or 0.0) / 1e3,
        "usable": usable,
        "widgets": page.locator(WIDGETS).count(),
        "bytes": page.evaluate(BYTES),
        "requests": len(requests),
    }
    page.close()
    return told


def idle(browser: Any, name: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    """What five tabs that nobody touches cost the server and the browser."""
    context = browser.new_context()
    for _ in range(5):
        context.new_page().goto(address(name), wait_until="commit")
    time.sleep(8)
    server, drawing = psutil.Process(process.pid), browsers()
    before = [spent([server]), spent(drawing)]
    time.sleep(seconds)
    after = [spent([server]), spent(drawing)]
    shares = [100 * (b - a) / seconds for a, b in zip(before, after, strict=True)]
    print(f"{name}: five idle tabs cost the server {shares[0]:.1f}%, Chromium {shares[1]:.1f}%")


def browsers() -> list[psutil.Process]:
    """Chromium's processes that this one has started."""
    below = psutil.Process().children(recursive=True)
    return [one for one in below if "chrom" in one.name()]


def spent(processes: list[psutil.Process]) -> float:
    """CPU-seconds of those that are still there."""
    total = 0.0
    for process in processes:
        try:
            total += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def tabs(browser: Any, name: str) -> None:
    """How many of twelve tabs load, each within ten seconds."""
    from playwright.sync_api import Error

    context = browser.new_context()
    ready = "#page[data-drawn=yes]" if name == "ours" else "text=last of all"
    for count in range(12):
        page = context.new_page()
        try:
            page.goto(address(name), wait_until="commit", timeout=10_000)
            page.locator(ready).first.wait_for(timeout=10_000)
        except Error:
            print(f"{name}: tab {count + 1} does not load")
            return
    print(f"{name}: twelve tabs load")


# The contenders


def serve(name: str) -> None:
    """Be one of the servers."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if name == "ours":
        serve_ours(PORTS[name])
    else:
        serve_gradio(PORTS[name], held="State" in name)


def serve_ours(port: int) -> None:
    """The app, and a page that is nothing but the form."""
    import uvicorn
    from fastapi import APIRouter, Response
    from fastapi.responses import HTMLResponse

    from app.ui import forms, shell
    from app.ui.page import Page, all_pages
    from app.ui.server import build
    from trainer.job.config import JobConfig

    class Bench(Page):
        key, title, lede, place, icon = "bench", "Every setting", "", 99, ""

        def build(self, desk: Any) -> APIRouter:
            return APIRouter()

    runs = Path(tempfile.mkdtemp())
    app = build(runs)
    router = APIRouter()

    @router.get("/bench")
    def page() -> Response:
        return HTMLResponse(shell.draw(Bench(), all_pages(), app.state.desk))

    @router.get("/bench/specs")
    def specs() -> list[dict[str, Any]]:
        return forms.specs(JobConfig)

    @router.get("/ui/pages/bench.js")
    def script() -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    for route in reversed(router.routes):
        app.router.routes.insert(0, route)
    uvicorn.run(app, port=port, log_level="error")


def serve_gradio(port: int, *, held: bool) -> None:
    """A plain page of Gradio's own components, one a setting, in groups."""
    from itertools import groupby

    import gradio as gr  # noqa: TID251 - what ours is compared with

    from trainer.core.schema import describe
    from trainer.job.config import JobConfig

    with gr.Blocks(title="Every setting") as blocks:
        made = []
        for group, specs in groupby(describe(JobConfig), lambda spec: spec.path.partition(".")[0]):
            gr.Markdown(f"## {group}")
            with gr.Group():
                made += [widget(gr, spec) for spec in specs]
        made.append(gr.Textbox(label="last of all"))
        if held:
            gr.State(0)
        gr.Button("Train").click(lambda *values: None, inputs=made)
    blocks.launch(server_port=port, ssr_mode=False, quiet=True)


def widget(gr: Any, spec: Any) -> Any:
    """The component that Gradio has for such a setting."""
    told = {"label": spec.label, "info": spec.help}
    if spec.kind == "flag":
        return gr.Checkbox(value=bool(spec.default), **told)
    if spec.kind == "choice":
        return gr.Dropdown(choices=list(spec.choices), value=spec.default, **told)
    if spec.kind in ("whole", "real"):
        number = spec.default if isinstance(spec.default, int | float) else None
        return gr.Number(value=number, **told)
    return gr.Textbox(value=str(spec.default or ""), **told)


if __name__ == "__main__":
    main()
