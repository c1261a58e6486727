"""A page that says that Sweetspot is starting, until the app itself answers at the same port.

Python's own library only, so that it is there before anything is imported or even installed:
`start.py` shows it while it sets up, the app while it imports. The socket is handed over, so
that no request is refused in between.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 7860
_LOOK = Path(__file__).resolve().parents[1] / "assets" / "ui"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Connection": "close",
}


class Splash:
    """Answers at a socket until `end`.

    Args:
        bound: It listens already.
        words: What is done now; may be replaced.
    """

    def __init__(self, bound: socket.socket, words: str = "") -> None:
        self.words = words
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        self._bound = bound
        self._server = ThreadingHTTPServer(
            bound.getsockname()[:2], _handler(self), bind_and_activate=False
        )
        self._server.socket.close()
        self._server.socket = bound
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.daemon = True
        self._thread.start()

    def end(self) -> socket.socket:
        """Answer no more; the socket still listens."""
        self._server.shutdown()
        self._thread.join()
        return self._bound


_shown: list[Splash] = []


def at_once(arguments: list[str]) -> None:
    """Show the page and open the browser on it, where the app's arguments are plain ones.

    Where they are not, or another server has the port, the app itself sees to everything.
    """
    from app import doors

    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--port", type=int, default=saved_port())
    parser.add_argument("--runs")
    try:
        asked, rest = parser.parse_known_args(arguments)
        if rest or not asked.port:
            return
        bound = doors.listening(asked.port)
    except (argparse.ArgumentError, SystemExit, OSError, OverflowError):
        return
    splash = Splash(bound)
    _shown.append(splash)
    show(splash.url)


def taken() -> Splash | None:
    """The splash that `at_once` showed, once."""
    return _shown.pop() if _shown else None


def show(url: str) -> None:
    """Open the person's browser, without waiting for it."""
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def saved_port() -> int:
    """The port that the settings name."""
    from app.home import home

    with contextlib.suppress(OSError, ValueError, ImportError):
        told = tomllib.loads((home() / "settings.toml").read_text(encoding="utf-8"))
        return int(told.get("port", PORT))
    return PORT


def _handler(splash: Splash) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/hello":
                words = splash.words.encode("utf-8", "replace")
                self._send(503, "text/plain; charset=utf-8", words)
            elif path == "/splash.js":
                self._send(200, "text/javascript", (_LOOK / "splash.js").read_bytes())
            else:
                body = (_LOOK / "splash.html").read_bytes()
                self._send(200, "text/html; charset=utf-8", body)

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": kind}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # the browser went away
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    return Answer
