"""The question for the password, where others than this machine can reach the server."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict, deque

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

COOKIE = "sweetspot"
TRIES, WINDOW = 5, 60.0
"""Wrong passwords that are heard from one address, and the seconds in which they are counted."""
ALL_TRIES = 60
"""The same of all addresses together."""
_ADDRESSES = 1000
_LONGEST = 4096
"""Bytes of an answer to the question."""


class Tries:
    """Wrong passwords of late, by where they came from."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=ALL_TRIES)

    def too_many(self, address: str) -> bool:
        """Whether no more is heard from there for now."""
        now = time.monotonic()
        mine = self._of.get(address, deque())
        for times in (mine, self._all):
            while times and now - times[0] > WINDOW:
                times.popleft()
        return len(mine) >= TRIES or len(self._all) >= ALL_TRIES

    def note(self, address: str) -> None:
        """Another wrong one."""
        times = self._of.setdefault(address, deque(maxlen=TRIES))
        self._of.move_to_end(address)
        for each in (times, self._all):
            each.append(time.monotonic())
        if len(self._of) > _ADDRESSES:
            self._of.popitem(last=False)


class Login:
    """Lets in who knows the password, until the server ends.

    Args:
        password: What is asked for.
    """

    def __init__(self, password: str) -> None:
        self._password = password
        self._session = secrets.token_urlsafe(32)
        self._tries = Tries()

    async def ask(self, request: Request) -> Response | None:
        """What is answered to who is not let in; None to who is."""
        if self._knows(request):
            return None
        if request.method == "POST" and request.url.path == "/login":
            return await self._hear(request)
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return _question("", 401)
        return JSONResponse(
            {"problem": "a password is needed", "where": "", "hint": "open / in a browser"}, 401
        )

    def _knows(self, request: Request) -> bool:
        shown = request.cookies.get(_cookie(request), "")
        if hmac.compare_digest(shown.encode(), self._session.encode()):
            return True
        kind, _, word = request.headers.get("authorization", "").partition(" ")
        return kind == "Bearer" and self._right(word, _address(request))

    def _right(self, word: str, address: str) -> bool:
        """Whether it is the password; wrong ones are counted, and right ones refused after many."""
        if self._tries.too_many(address):
            return False
        right = hmac.compare_digest(word.encode(), self._password.encode())
        if not right:
            self._tries.note(address)
        return right

    async def _hear(self, request: Request) -> Response:
        word = await _word(request)
        if word is None:
            return _question("That is not the password.", 413)
        if self._right(word, _address(request)):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(
                _cookie(request),
                self._session,
                path="/",
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
            return answer
        if self._tries.too_many(_address(request)):
            return _question("Too many tries: wait a minute.", 429)
        return _question("That is not the password.", 401)


async def _word(request: Request) -> str | None:
    """The password that was sent; None where more was sent than a password."""
    from urllib.parse import parse_qs

    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST:
                return None
    except ClientDisconnect:
        return None
    found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=4)
    return found.get("password", [""])[0]


def _cookie(request: Request) -> str:
    """Cookies are told to all ports of a machine, so each server has one of its own."""
    return f"{COOKIE}-{request.scope.get('server', ('', 0))[1]}"


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _question(told: str, status: int) -> Response:
    return HTMLResponse(_LOGIN.format(told=told), status, {"Cache-Control": "no-store"})


_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sweetspot</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/ui/base.css">
<link rel="icon" href="/ui/icon.svg">
<main class="login"><h1>Sweetspot</h1><form method="post" action="/login">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" autofocus>
<p role="alert">{told}</p><button class="primary">Open</button></form></main></html>"""
