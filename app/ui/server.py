"""The web server: pages, their routes, pictures, and the guard before all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from app.ui import files, now, shell
from app.ui.api import PATH, Door
from app.ui.desk import Desk, as_json
from app.ui.guard import Guard
from app.ui.limits import Limits
from app.ui.page import all_pages
from trainer.core.errors import UserError

LOCAL = ("127.0.0.1", "localhost", "::1")


class Guarded(FastAPI):
    """FastAPI with the guard around all of it, its answers to crashes too."""

    hosts: frozenset[str] = frozenset(LOCAL)
    password = ""

    def build_middleware_stack(self) -> ASGIApp:
        """What answers requests."""
        return Guard(Limits(super().build_middleware_stack()), self.hosts, self.password)


def build(
    runs: Path | None = None,
    *,
    hosts: Iterable[str] = LOCAL,
    password: str = "",
    start: str = "",
) -> FastAPI:
    """The app's server.

    Args:
        runs: Where runs are; what the settings say when None.
        hosts: Names that it may be asked by.
        password: Asked for when others than this machine can reach it.
        start: Tells this start from others (app/doors.py).
    """
    app = Guarded(title="Sweetspot", docs_url=None, redoc_url=None, openapi_url=None)
    app.hosts, app.password = frozenset(hosts), password
    desk = Desk(runs)
    app.state.desk = desk
    _answer_errors(app)
    _add_pages(app, desk)
    app.include_router(now.routes(desk))
    app.include_router(files.routes(desk))
    app.state.api = Door(desk)
    app.mount(PATH, app.state.api)
    app.router.on_shutdown.append(app.state.api.close)
    app.mount("/ui", StaticFiles(directory=shell.ASSETS), name="ui")

    @app.get("/hello")
    def hello() -> dict[str, str]:
        return {"app": "sweetspot", "start": start}

    return app


def _add_pages(app: FastAPI, desk: Desk) -> None:
    pages = all_pages()

    @app.get("/", response_class=HTMLResponse)
    def front() -> Response:
        return RedirectResponse(f"/{pages[0].key}")

    @app.get("/favicon.ico")
    def icon() -> Response:
        return RedirectResponse("/ui/icon.svg")

    for page in pages:
        app.include_router(page.build(desk), prefix=f"/api/{page.key}")

        def show(shown: Any = page) -> str:
            return shell.draw(shown, pages, desk)

        app.add_api_route(f"/{page.key}", lambda show=show: HTMLResponse(show()), methods=["GET"])


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(UserError)
    def problem(request: Request, error: UserError) -> Response:
        return JSONResponse(as_json(error), 404 if isinstance(error, files.GoneError) else 400)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return told(first["msg"], 422, where=place)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return told(str(error.detail), error.status_code)

    @app.exception_handler(Exception)
    def crashed(request: Request, error: Exception) -> Response:
        words = f"Sweetspot met something that it did not expect ({type(error).__name__})"
        return told(words, 500, hint="the terminal that it was started from says more")


def told(problem: str, status: int, *, where: str = "", hint: str = "") -> Response:
    """A problem as pages show it."""
    return JSONResponse({"problem": problem, "where": where, "hint": hint}, status)
