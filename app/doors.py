"""Ports: one to listen at, and the servers of this person that listen already.

HOME/servers/PORT.json      process, folder of runs, address and the id of that start

Whether such a server still lives is asked of itself: `/hello` tells its id. Light: the
splash page needs it before anything else is imported.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from app.home import home

LOOPBACK = "127.0.0.1"
_TRIES = 20
_PATIENCE = 2.0
"""Seconds in which a server says hello."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was started.

    Attributes:
        start: Drawn anew at each start.
        runs: Its folder of runs.
        local: Its address for this machine, whatever else it listens to.
    """

    start: str
    pid: int
    port: int
    runs: str
    local: str

    def lives(self) -> bool:
        """Whether it answers, and is the one that was noted."""
        return hello(self.local).get("start") == self.start


class TakenError(OSError):
    """The port belongs to another program."""


def listening(port: int, address: str = LOOPBACK) -> socket.socket:
    """A socket that listens at this port; 0 takes any that is free.

    Raises:
        TakenError: Another program has the port.
        OSError: This machine does not have the address.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "nt":  # where reuse would let two programs share the port
            bound.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", -5), 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        if (
            error.errno in (errno.EADDRINUSE, errno.EACCES)
            or getattr(error, "winerror", 0) == 10013
        ):
            raise TakenError(error.errno, error.strerror) from None
        raise
    return bound


def free(port: int, address: str = LOOPBACK) -> socket.socket:
    """The same at this port or the first free one after it.

    Raises:
        OSError: This machine does not have the address.
    """
    for each in range(port, min(port + _TRIES, 65536)) if port else ():
        with contextlib.suppress(TakenError):
            return listening(each, address)
    return listening(0, address)


def hello(url: str) -> dict[str, str]:
    """What the server at this address says of itself; nothing where it is none of ours."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/hello", timeout=_PATIENCE) as answer:
            told = json.loads(answer.read(4096))
    except (OSError, ValueError):  # also refused, and answers that are no JSON
        return {}
    return told if isinstance(told, dict) else {}


def noted() -> Iterator[Server]:
    """Servers of this person that were started and have not said goodbye."""
    for path in sorted(_folder().glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            yield Server(**json.loads(path.read_text(encoding="utf-8")))


def running(runs: Path) -> Server | None:
    """A server over the same folder of runs that answers now."""
    return next((each for each in noted() if each.runs == str(runs) and each.lives()), None)


def note(port: int, runs: Path, *, address: str = LOOPBACK, https: bool = False) -> Server:
    """Remember that this process listens, for who opens the app a second time."""
    host = LOOPBACK if address in ("0.0.0.0", "::", LOOPBACK) else address
    host = f"[{host}]" if ":" in host else host
    local = f"http{'s' if https else ''}://{host}:{port}"
    server = Server(secrets.token_urlsafe(16), os.getpid(), port, str(runs), local)
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{port}.json"
    path.write_text(json.dumps(asdict(server)), encoding="utf-8")
    return server


def forget(server: Server) -> None:
    """The server has ended."""
    path = _folder() / f"{server.port}.json"
    if any(each == server for each in noted()):
        path.unlink(missing_ok=True)


def _folder() -> Path:
    return home() / "servers"
