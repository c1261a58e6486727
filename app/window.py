"""The app in a window of its own: a browser without its bars, or pywebview.

The window is a process; who opened it waits for its end. Its profile lies in the person's own
folder, apart from the browser's others, and keeps its size.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from app.home import home

SIZE = (1280, 860)
"""Of the first window, px."""
FLAGS = "SWEETSPOT_WINDOW_FLAGS"
"""More of what the browser is started with, such as what a test needs."""
_NAMES = (
    "google-chrome",
    "google-chrome-stable",
    "chromium",
    "chromium-browser",
    "microsoft-edge",
    "microsoft-edge-stable",
    "brave-browser",
    "vivaldi",
)
_MAC = ("Google Chrome", "Microsoft Edge", "Chromium", "Brave Browser")
_WINDOWS = (
    "Google/Chrome/Application/chrome.exe",
    "Microsoft/Edge/Application/msedge.exe",
    "Chromium/Application/chrome.exe",
    "BraveSoftware/Brave-Browser/Application/brave.exe",
)
_AT_ONCE = 3.0
"""Seconds; a window that is gone so soon was never there."""


def browsers() -> Iterator[str]:
    """Programs on this machine that can show a page without bars, the likeliest first."""
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            yield found
    for name in _MAC:
        for root in (Path("/Applications"), Path.home() / "Applications"):
            yield from _there(root / f"{name}.app/Contents/MacOS/{name}")
    for variable in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"):
        if os.environ.get(variable):
            for place in _WINDOWS:
                yield from _there(Path(os.environ[variable]) / place)


def open_window(url: str) -> subprocess.Popen[bytes] | None:
    """A window on this address, as a process that ends with it; None where none can be had.

    Chromium keeps a window's size under its host's name, and never finds it again under one with
    dots: a browser is sent to localhost.
    """
    for program in browsers():
        window = _started([program, *_browser_arguments(url)])
        if window is not None:
            return window
    if importlib.util.find_spec("webview") is not None:
        return _started([sys.executable, "-m", "app.webview", url, *map(str, SIZE)])
    return None


def _browser_arguments(url: str) -> list[str]:
    profile = home() / "window"
    known = (profile / "Default" / "Preferences").is_file()
    sized = [] if known else [f"--window-size={SIZE[0]},{SIZE[1]}"]
    return [
        f"--app={url.replace('//127.0.0.1:', '//localhost:')}",  # see `open_window`
        f"--user-data-dir={profile}",
        *sized,
        "--class=Sweetspot",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-sync",
        "--disable-background-mode",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-features=Translate,MediaRouter,OptimizationHints",
        *shlex.split(os.environ.get(FLAGS, "")),
    ]


def _started(line: list[str]) -> subprocess.Popen[bytes] | None:
    """The process, where it has not ended at once."""
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=os.name != "nt",  # Ctrl-C is for the server, which closes it
        )
    except OSError:
        return None
    until = time.monotonic() + _AT_ONCE
    while time.monotonic() < until:
        if process.poll() is not None:
            return process if process.returncode == 0 else None
        time.sleep(0.05)
    return process


def _there(path: Path) -> Iterator[str]:
    if path.is_file():
        yield str(path)
