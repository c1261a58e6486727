"""The app in a pywebview window, as a process of its own: `python -m app.webview URL WIDTH HEIGHT`.

Not imported by the app; pywebview is there only where a person installed it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import urllib.request
from typing import Any

from app.home import home


def main(url: str, width: int, height: int) -> None:
    """Show the address until the window is closed; its size is kept for the next."""
    webview = importlib.import_module("webview")
    kept = home() / "window.json"
    with contextlib.suppress(OSError, ValueError):
        width, height = json.loads(kept.read_text(encoding="utf-8"))
    window: Any = webview.create_window("Sweetspot", url, width=width, height=height)

    def closing() -> bool:
        going = _going(url)
        told = f"{going} goes on without this window. Close it?"
        if going and not window.create_confirmation_dialog("Sweetspot", told):
            return False
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([window.width, window.height]), encoding="utf-8")
        return True

    window.events.closing += closing
    webview.start()


def _going(url: str) -> str:
    """What runs now, in words; empty where nothing does."""
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"{url}/api/now") as told:
        names = [work["name"] for work in json.loads(told.read())["works"]]
        return names[0] if len(names) == 1 else f"{len(names)} runs" if names else ""
    return ""


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
