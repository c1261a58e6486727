"""The app's API: Gradio, mounted below /gradio once it is imported.

Importing Gradio takes seconds, and pages need nothing of it, so the server answers at once and
this door opens later: until then it says that it is still starting. Gradio brings the protocol
that `gradio_client` speaks, its queue, and a page that lists the endpoints. The door lets nothing
else of it through.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from app.ui.endpoints import Endpoints

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from app.ui.desk import Desk

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

PATH = "/gradio"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; connect-src 'self'; font-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""What the page of endpoints may load: its settings are a script inside it."""
RETRY_SECONDS = 5
_PAGE = {"", "config", "assets", "static", "svelte", "theme.css", "favicon.ico", "manifest.json"}
"""First words of Gradio's paths that its page needs."""
_CALLS = {"info", "openapi.json", "call", "api", "run", "queue", "cancel", "reset", "heartbeat"}
_CALLS |= {"startup-events", "app_id", "login_check", "user", "token", "theme.css"}
"""The same below /gradio_api, of what clients need. Whatever else Gradio has is shut: uploads,
files, other servers' pages, run history, profiling, editing of code."""
_LOOK_EACH = 0.25
"""Seconds between two looks of the queue, which by itself looks a thousand times a second
when there is nothing to do."""

_BUILDING = threading.Lock()
"""Gradio knows one page in the making, for all threads."""

logger = logging.getLogger(__name__)


class Door:
    """Stands at /gradio, before Gradio is there and after.

    Args:
        desk: What the endpoints act with.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._app: Any = None
        self._opening: asyncio.Task[None] | None = None
        self._problem = ""

    def open(self, delay: float = 0.0) -> None:
        """Import Gradio in a thread, after so many seconds; from the server's loop."""
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open(delay))

    async def close(self) -> None:
        """End what Gradio runs beside the requests."""
        if self._opening is not None:
            self._opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._opening

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer as Gradio, or say that it is still starting."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif _is_shut(scope):
            await _say(send, 404, "there is no such endpoint")
        elif self._app is not None:
            await self._app(scope, receive, _with_policy(send))
        elif self._problem:
            await _say(send, 500, f"the API cannot start: {self._problem}")
        else:
            self.open()
            await _say(send, 503, "the API is still starting; ask again in some seconds")

    async def _open(self, delay: float) -> None:
        await asyncio.sleep(delay)
        try:
            app = await _apart(lambda: asyncio.run(_build(self._desk)))
            async with app.router.lifespan_context(app):
                app.get_blocks().run_startup_events()
                await app.get_blocks().run_extra_startup_events()
                self._app = app
                await asyncio.Event().wait()  # until it is cancelled
        except Exception as error:  # a border: pages go on without the API
            logger.exception("the API cannot start")
            self._problem = str(error) or type(error).__name__


async def _apart(work: Callable[[], Any]) -> Any:
    """What the work came to, in a thread that nobody waits for when the server ends."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(set_it: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            set_it(value)

    def run() -> None:
        try:
            told = (done.set_result, work())
        except BaseException as error:  # the thread's border; whoever awaits it gets it
            told = (done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(settle, *told)

    threading.Thread(target=run, name="gradio", daemon=True).start()
    return await done


async def _build(desk: Desk) -> Any:
    """Gradio's own server with our endpoints; takes seconds, and so a thread and loop of its own.

    Without a loop Gradio makes one for each lock, and closes none.
    """
    from fastapi import FastAPI

    from app.ui.serve import quiet

    quiet()
    import gradio

    title = "Sweetspot's API"
    with _BUILDING, gradio.Blocks(title=title, analytics_enabled=False) as blocks:
        gradio.Markdown(_words(Endpoints(desk)))
        for function in Endpoints(desk).all():
            gradio.api(function, api_name=function.__name__)
    blocks.queue(default_concurrency_limit=8, max_size=100)
    blocks._queue.sleep_when_free = _LOOK_EACH
    blocks._queue.progress_update_sleep_when_free = _LOOK_EACH
    mounted = gradio.mount_gradio_app(
        FastAPI(),
        blocks,
        path=PATH,
        footer_links=["api"],
        run_history=False,
        allowed_paths=[],
        max_file_size=1,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
    return next(route.app for route in mounted.routes if getattr(route, "path", "") == PATH)


def _words(endpoints: Endpoints) -> str:
    """What a person reads who opens the page."""
    lines = [
        "# Sweetspot's API",
        "For programs, through `gradio_client`; docs/api.md has examples.",
    ]
    for function in endpoints.all():
        first = (function.__doc__ or "").partition("\n")[0]
        lines.append(f"- **/{function.__name__}**: {first}")
    return "\n\n".join([*lines[:2], "\n".join(lines[2:])])


def _is_shut(scope: Message) -> bool:
    path: str = scope["path"].removeprefix(PATH).lstrip("/")
    first, _, rest = path.partition("/")
    if first == "gradio_api":
        return rest.partition("/")[0] not in _CALLS
    return first not in _PAGE


def _with_policy(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            told = (b"content-security-policy", POLICY.encode())
            message["headers"] = [*message.get("headers", ()), told]
        await send(message)

    return sent


async def _say(send: Send, status: int, problem: str) -> None:
    from starlette.responses import JSONResponse

    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    answer = JSONResponse({"problem": problem, "where": "", "hint": ""}, status, headers)
    await answer({"type": "http"}, _nothing, send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
