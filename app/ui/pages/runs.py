"""Runs: all of them, and one of them while it trains and ever after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import FileResponse

from app.ui.files import thumbnail
from app.ui.now import row
from app.ui.page import Page, page
from app.ui.rows import Rows
from app.ui.shelf import stamp_of
from app.ui.story import Stories
from app.ui.tails import since
from trainer.core.errors import ConfigError, RunError
from trainer.job.run import Run

if TYPE_CHECKING:
    from app.ui.desk import Desk

_FAR = 1_500_000
"""Bytes of events behind which a page is told the whole story anew, in fewer points."""
_LOG = 24_000
"""Bytes at the end of the log that are shown."""
_POINTS = 300
"""Stretches of steps of a curve that is laid over others."""
Work = Annotated[str, Body(embed=True)]


@page
class RunsPage(Page):
    """Every training, and what came of it."""

    key = "runs"
    title = "Runs"
    lede = "Every training, while it goes on and ever after."
    place = 30
    icon = '<path d="M4 19V5"/><path d="M4 19h16"/><path d="M7 9c3 0 3 6 6 6 2.500 0 3-2 6-2"/>'

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()
        _add_list(router, desk)
        _add_run(router, desk)
        _add_files(router, desk)
        _add_actions(router, desk)
        return router


def _add_list(router: APIRouter, desk: Desk) -> None:
    rows = Rows(desk)

    @router.get("/list")
    def rows_since(seen: str = "") -> dict[str, Any]:
        return rows.since(seen)

    @router.get("/best")
    def best(work: str) -> Response:
        found = rows.best(desk.work(work).path)
        if found is None:
            raise RunError("the analysis has no picture of its choice", where=work)
        kept = {"Cache-Control": "private, max-age=60"}
        return Response(thumbnail(found, 320), media_type="image/webp", headers=kept)


def _add_run(router: APIRouter, desk: Desk) -> None:
    stories = Stories()

    @router.get("/story")
    def story(work: str) -> dict[str, Any]:
        found = _there(desk, work)
        if found is None:
            return {"gone": True}
        return {**stories.tell(found), "head": _head(desk, found), "about": _about(found)}

    @router.get("/events")
    def events(work: str, position: Annotated[int, Query(ge=0)]) -> dict[str, Any]:
        found = _there(desk, work)
        if found is None:
            return {"gone": True}
        head = _head(desk, found)  # before the events: the end that it tells of is among them
        stamp = stamp_of(str(found.events_path))
        size = stamp[1] if stamp else 0
        if not position <= size <= position + _FAR:
            return {"again": True}
        told, reached = since(found, position)
        return {"events": told, "position": reached, "head": head}

    @router.get("/curves")
    def curves(work: Annotated[list[str], Query(max_length=8)]) -> list[dict[str, Any]]:
        found = [run for name in work if (run := _there(desk, name))]
        return [{"name": desk.name_of(run), **stories.curves(run, _POINTS)} for run in found]

    @router.get("/job")
    def job(work: str) -> dict[str, Any]:
        from app.ui.asked import settings_of

        run = desk.run(work)
        return {"settings": settings_of(run), "text": _text(run), "path": str(run.job_path)}


def _add_files(router: APIRouter, desk: Desk) -> None:
    @router.get("/files")
    def files(work: str) -> list[dict[str, Any]]:
        return [
            {"name": path.name, "path": str(path), "size": path.stat().st_size}
            for path in desk.run(work).lora_files
        ]

    @router.get("/lora")
    def lora(work: str, name: str) -> Response:
        run = desk.run(work)
        if name not in {path.name for path in run.lora_files} or not desk.may_show(run.lora / name):
            raise RunError("the run has no such LoRA file", where=name)
        return FileResponse(run.lora / name, filename=name, media_type="application/octet-stream")

    @router.get("/log")
    def log(work: str) -> dict[str, Any]:
        return _log(desk.run(work))


def _add_actions(router: APIRouter, desk: Desk) -> None:
    @router.post("/stop")
    def stop(work: Work) -> dict[str, Any]:
        found = desk.work(work)
        status = desk.status(found)
        if status != "running":
            raise RunError(f"the {found.noun} is not running ({status})", where=work)
        found.ask_to_stop()
        return {"work": work}

    @router.post("/resume")
    def resume(work: Work) -> dict[str, Any]:
        run = desk.run(work)
        run.require_resumable()
        desk.start(run)
        return {"work": work}

    @router.post("/discard")
    def discard(work: Work) -> dict[str, Any]:
        from app.discarding import discard

        run = desk.run(work)
        if desk.status(run) == "running":
            raise RunError("the run is still running", where=work, hint="stop it first")
        place = discard(run)
        desk.look_again()
        return {"name": place.name, "path": str(place)}

    @router.post("/restore")
    def restore(name: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
        from app.discarding import restore

        run = restore(desk.runs, name)
        desk.look_again()
        return {"work": desk.name_of(run)}


def _there(desk: Desk, name: str) -> Run | None:
    """The run; None where its folder is gone."""
    try:
        return desk.run(name)
    except RunError:
        return None


def _head(desk: Desk, run: Run) -> dict[str, Any]:
    """What stands above a run's curves, as it is now."""
    told = row(desk, run, desk.status(run))
    analyses = [row(desk, sweep) for sweep in desk.analyses(run)]
    keys = ("name", "status", "headline", "chosen", "phase", "done", "total")
    return {
        **told,
        "stopping": told["status"] == "running" and run.stop_asked(),
        "analyses": [{key: each[key] for key in keys} for each in analyses],
        "files": len(run.lora_files),
    }


def _about(run: Run) -> dict[str, Any]:
    """What the run trains; of a job that cannot be read, why."""
    from app.ui.asked import in_brief

    try:
        return in_brief(run)
    except ConfigError as error:
        return {"unreadable": f"{error.problem} ({error.where})"}


def _text(run: Run) -> str:
    return run.job_path.read_text(encoding="utf-8", errors="replace")


def _log(run: Run) -> dict[str, Any]:
    """The end of what the process printed; of a line drawn over again, what stood there last."""
    path = run.path / "worker.log"
    stamp = stamp_of(str(path))
    if stamp is None:
        return {"text": "", "path": str(path), "whole": True}
    with path.open("rb") as file:
        file.seek(max(0, stamp[1] - _LOG))
        written = file.read(_LOG).decode("utf-8", errors="replace")
    kept = [line.rstrip("\r").rpartition("\r")[2] for line in written.split("\n")]
    return {"text": "\n".join(kept).strip(), "path": str(path), "whole": stamp[1] <= _LOG}
