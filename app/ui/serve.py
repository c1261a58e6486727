"""Listening: the server behind a socket, who may ask it, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.doors import listening as listening

if TYPE_CHECKING:
    from uvicorn import Server

    from app.ui.desk import Desk

GRACE = 3
"""Seconds in which answers that are under way may end."""
_API_AFTER = 3.0
"""Seconds after which Gradio is imported, so that the first page does not wait for it."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask the server.

    Attributes:
        hosts: Names and addresses that it is asked by.
        password: Empty where only this machine can reach it.
        certificate: For https, with its key; None serves http.
        start: Tells this start from others.
    """

    hosts: frozenset[str]
    password: str = ""
    certificate: Path | None = None
    key: Path | None = None
    start: str = ""


class Serving:
    """A server over a socket, until it is asked to end.

    Args:
        runs: Where runs are; what the settings say when None.
        bound: It listens already.
        access: Who may ask.
    """

    def __init__(self, runs: Path | None, bound: socket.socket, access: Access) -> None:
        quiet()
        import uvicorn

        from app.ui.server import build

        app = build(runs, hosts=access.hosts, password=access.password, start=access.start)
        self.desk: Desk = app.state.desk
        app.router.on_startup.append(lambda: app.state.api.open(_API_AFTER))
        config = uvicorn.Config(
            app,
            log_level="warning",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACE,
            server_header=False,
            ssl_certfile=access.certificate,
            ssl_keyfile=access.key,
        )
        self._bound = bound
        self._server = uvicorn.Server(config)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until Ctrl-C, SIGTERM or `end`.

        Args:
            ready: Called when pages can be asked for.
        """
        config = self._server.config
        config.load()
        app: Any = config.app
        app.router.on_startup.append(ready)
        with _signals(self._server):
            self._server.run([self._bound])

    def end(self) -> None:
        """From another thread."""
        self._server.should_exit = True


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the server, and not the process, which has a last word to say."""
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    kinds = [signal.SIGINT, signal.SIGTERM, *_more()]
    old = {kind: signal.signal(kind, server.handle_exit) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in old.items():
            signal.signal(kind, handler)


def _more() -> list[signal.Signals]:
    """What else a system sends when a terminal's window is closed."""
    names = ("SIGBREAK",) if os.name == "nt" else ("SIGHUP",)
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def names_of(address: str) -> frozenset[str]:
    """What a server that listens at this address is called by those who reach it.

    An address is nobody's name, so that no website can pass for one of them.
    """
    import psutil

    from app.ui.server import LOCAL

    machine = socket.gethostname()
    names = {machine, f"{machine.partition('.')[0]}.local"}
    if address not in ("0.0.0.0", "::"):
        return frozenset({address, *names, *(LOCAL if address in LOCAL else ())})
    for each in psutil.net_if_addrs().values():
        names.update(one.address.partition("%")[0] for one in each if one.family in _INTERNET)
    return frozenset({*names, *LOCAL})


_INTERNET = (socket.AF_INET, socket.AF_INET6)


def quiet() -> None:
    """Keep libraries from asking the network about themselves; before Gradio is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("DO_NOT_TRACK", "1")
