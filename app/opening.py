"""The command that opens the app. Prints; decides nothing."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from app import doors, splash
from trainer.core.errors import ConfigError, ResourceError

if TYPE_CHECKING:
    import socket
    import subprocess

    from app.ui.serve import Serving

out = Console()
err = Console(stderr=True)
PASSWORD = "SWEETSPOT_PASSWORD"
SHORTEST = 8

Listen = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="Let other machines in: 0.0.0.0, or one address of mine."),
]
Password = Annotated[
    str,
    typer.Option(
        envvar=PASSWORD, help="Asked of who opens it; `new` draws one. Needed by --listen."
    ),
]


def app(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="0 takes any that is free.", show_default="7860"),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it when it is up.")
    ] = True,
    window: Annotated[
        bool, typer.Option("--window", help="In a window of its own; closing it ends the app.")
    ] = False,
    runs: Annotated[Path | None, typer.Option(help="Where run folders are.")] = None,
    listen: Listen = "",
    password: Password = "",
    name: Annotated[
        list[str] | None, typer.Option(help="Another name that it is asked by; repeatable.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="For https: a PEM file, with --key its key.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key.")] = None,
) -> None:
    """Open the app: pages in your browser, served by this machine alone."""
    from app.settings import load_settings
    from app.ui.serve import Access, Serving, names_of

    shown = splash.taken()
    settings = load_settings()
    folder = (runs or settings.runs.expanduser()).absolute()
    word = _password(listen, password)
    if shown is None and port != 0 and not listen and _is_open(folder, port, browser, window):
        return
    address = listen or doors.LOOPBACK
    bound = shown.end() if shown else _bound(settings.port if port is None else port, address)
    taken = bound.getsockname()[1]
    server = doors.note(taken, folder, address=address, https=certificate is not None)
    hosts = frozenset({*names_of(address), *(name or ())})
    access = Access(hosts, word, certificate, key, server.start)
    serving = Serving(runs, bound, access)
    show = _window if window else _browser

    def ready() -> None:
        out.print(f"Sweetspot is at {server.local}  (Ctrl-C closes it; runs go on)", soft_wrap=True)
        _warn(listen, certificate)
        if (browser or window) and shown is None:
            show(server.local, serving)

    try:
        serving.run(ready)
    finally:
        doors.forget(server)
        _close_windows()
    _goodbye(serving)


def _password(listen: str, password: str) -> str:
    if password == "new":
        password = secrets.token_urlsafe(12)
        out.print(f"The password is  {password}", highlight=False, soft_wrap=True)
    elif listen and not password:
        raise ConfigError(
            "--listen lets other machines in, and no password is set",
            where="--listen",
            hint=f"set {PASSWORD}, or --password new, which draws one",
        )
    elif password and len(password) < SHORTEST:
        raise ConfigError(
            f"a password of {len(password)} characters can be guessed",
            where="--password",
            hint=f"{SHORTEST} characters or more, or --password new",
        )
    return password


def _is_open(folder: Path, port: int | None, browser: bool, window: bool) -> bool:
    """Whether the app runs already; then that one is shown."""
    other = doors.running(folder)
    if other is None or port not in (None, other.port):
        return False
    out.print(f"Sweetspot is open already, at {other.local}", soft_wrap=True)
    if window:
        from app.window import open_window

        if open_window(other.local) is not None:
            return True
    if browser:
        import webbrowser

        webbrowser.open(other.local)
    return True


def _bound(port: int, address: str) -> socket.socket:
    try:
        bound = doors.free(port, address)
    except OSError as error:
        raise ResourceError(
            f"nothing can listen at {address}: {error.strerror or error}",
            where="--listen",
            hint="0.0.0.0 for all of this machine's addresses",
        ) from None
    got = bound.getsockname()[1]
    if port not in (0, got):
        out.print(f"The port {port} is taken by another program; this is {got}.")
    return bound


def _warn(listen: str, certificate: Path | None) -> None:
    if not listen:
        return
    plain = "" if certificate else ", and what is sent can be read on the way (no https)"
    text = (
        f"Other machines can reach it at {listen}: whoever knows the password can read the folders "
        f"that are opened here and start work on this machine{plain}."
    )
    err.print(Text(f"warning: {text}", style="yellow"), soft_wrap=True)


# Showing it


def _browser(url: str, serving: Serving) -> None:
    splash.show(url)


_windows: list[subprocess.Popen[bytes]] = []


def _window(url: str, serving: Serving) -> None:
    """Open the window, and end the server with it."""

    def watch() -> None:
        from app.window import open_window

        opened = open_window(url)
        if opened is None:
            told = "no window can be opened here (no Chrome, Edge, Chromium or pywebview)"
            err.print(f"{told}; the browser shows it instead.", soft_wrap=True)
            splash.show(url)
            return
        _windows.append(opened)
        opened.wait()
        serving.end()

    threading.Thread(target=watch, daemon=True).start()


def _close_windows() -> None:
    for opened in _windows:
        if opened.poll() is None:
            opened.terminate()


def _goodbye(serving: Serving) -> None:
    """What goes on without the app."""
    names = [serving.desk.name_of(work) for work in serving.desk.busy()]
    if names:
        what = names[0] if len(names) == 1 else f"{len(names)} of them ({', '.join(names)})"
        verb = "goes" if len(names) == 1 else "go"
        told = f"Sweetspot is closed. {what} {verb} on; open it again to see how far it is."
    else:
        told = "Sweetspot is closed."
    out.print(told, highlight=False, soft_wrap=True)
