"""Who may ask the server: pages of its own, on this machine, or who knows the password.

A browser lets any website send requests to a program that listens on the same machine, and a
website may give its own name this machine's address (DNS rebinding). So each request's `Host`
must be one of this server's names, an `Origin` must be its own, and requests that the browser
says come from another site are refused unless a person follows a link.

It stands around the whole application (ASGI), so that an answer to a crash, too, carries the
headers that keep a page from loading anything from elsewhere.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.login import Login

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""What a page may load: nothing from elsewhere (Content Security Policy, level 3)."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), usb=()",
}
OPEN = ("/ui/base.css", "/ui/icon.svg", "/hello")
"""What needs no password: how the question for it looks, and who this is."""


class Guard:
    """Refuses what does not come from this server's own pages.

    Args:
        app: What it stands before.
        hosts: Names and addresses that this server is asked by, without a port.
        password: Needed by whoever asks when the server can be reached from elsewhere; empty
            when only this machine can.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], password: str = "") -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._login = Login(password) if password else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        else:  # no page opens a web socket
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(Headers(scope=scope), scope["method"])
        if problem:
            refusal = JSONResponse({"problem": problem, "where": "", "hint": ""}, 403)
            await refusal(scope, receive, send)
            return
        if self._login and scope["path"] not in OPEN:
            request = Request(scope, receive)
            answer: Response | None = await self._login.ask(request)
            if answer is not None:
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _problem(self, headers: Headers, method: str) -> str:
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        if name_of(host) not in self._hosts:
            return f"this server is not called {host[:200]!r}"
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host.lower():
            return f"requests from {origin[:200]!r} are refused"
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and not _follows_a_link(headers, method):
            return "requests from other sites are refused"
        return ""


def name_of(host: str) -> str:
    """A `Host` without its port: `[::1]:7860` is `::1`; nothing where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _place(origin: str) -> str:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


def _follows_a_link(headers: Headers, method: str) -> bool:
    """Whether a person goes to a page: the answer is seen by them and by no other site."""
    whole = headers.get("sec-fetch-dest", "document") == "document"
    return method == "GET" and headers.get("sec-fetch-mode") == "navigate" and whole


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=_open(message))
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _open(message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    message["headers"] = list(message.get("headers", []))
    return message
