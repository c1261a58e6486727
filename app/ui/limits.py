"""How much a request may hold, counted while it is read: some do not say how long they are."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 200_000_000
"""Of one request; a folder of pictures is sent in several."""


class Limits:
    """Refuses bodies of more bytes.

    Args:
        app: What it stands before.
        most: Bytes.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_BYTES) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through as far as it is short enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length[:20]) > self._most:
            await _refusal()(scope, receive, send)
            return
        reading = _Reading(receive, send, self._most)
        try:
            await self._app(scope, reading.receive, reading.send)
        except HTTPException:
            if not reading.over or reading.begun:
                raise
        if reading.over and not reading.begun:
            await _refusal()(scope, receive, send)


class _Reading:
    """A body as it comes in; once it is too long, whatever is answered is left out."""

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive, self._send, self._left = receive, send, most
        self.over = self.begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.over = True
            raise HTTPException(413, "the request is too large")
        return message

    async def send(self, message: Message) -> None:
        if self.over and not self.begun:
            return
        self.begun = True
        await self._send(message)


def _refusal() -> JSONResponse:
    told = {"problem": "the request is too large", "where": "", "hint": ""}
    return JSONResponse(told, 413, {"Connection": "close"})
