"""The page that says which epoch to keep, at which strength: asking, watching, judging, keeping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import FileResponse

from app import analyses, booth
from app.errands import Errands
from app.ui import asking, sweeping
from app.ui.files import PICTURES, shown
from app.ui.page import Page, page
from app.ui.tails import since
from trainer.core.errors import RunError

if TYPE_CHECKING:
    from app.ui.desk import Desk
    from trainer.core.work import WorkFolder

_FILES = {
    "scores.csv": "text/csv",
    "report.json": "application/json",
    "votes.jsonl": "application/jsonl",
    "contact-sheet.png": "image/png",
}
"""What can be taken away from an analysis's folder."""
Text = Annotated[str, Body()]
Texts = Annotated[list[str], Body()]
Alone = Annotated[str, Body(embed=True)]


@page
class AnalysisPage(Page):
    """Where it is decided what to keep."""

    key = "analysis"
    title = "Analysis"
    lede = "Which epoch to keep, and at which strength: rendered, measured and said in words."
    place = 40
    icon = (
        '<rect x="4" y="4" width="6.5" height="6.5" rx="1.5"/>'
        '<rect x="13.5" y="4" width="6.5" height="6.5" rx="1.5"/>'
        '<rect x="4" y="13.5" width="6.5" height="6.5" rx="1.5"/>'
        '<path d="M13.5 17l2.5 2.5 4.5-5"/>'
    )
    wide = True

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()
        errands = Errands()
        router.include_router(sweeping.routes(desk))
        router.include_router(asking.routes(desk, errands))
        _watching(router, desk)
        _judging(router, desk, errands)
        _voting(router, desk)
        return router


def _watching(router: APIRouter, desk: Desk) -> None:
    @router.get("/news")
    def news(work: str, position: int = 0) -> dict[str, Any]:
        sweep = desk.work(work)
        told, after = since(sweep, position)
        return {
            **analyses.news(told),
            "position": after,
            "status": sweep.status(),
            "stopping": sweep.stop_asked(),
            "report": _changed(sweep.path / "report.json"),
        }

    @router.get("/outline")
    def outline(work: str) -> dict[str, Any]:
        sweep = desk.work(work)
        return {"name": work, "folder": str(sweep.path), **sweeping.outline(sweep)}

    @router.get("/log")
    def log(work: str) -> dict[str, str]:
        return {"log": analyses.log_of(desk.work(work).path)}

    @router.post("/stop")
    def stop(work: Alone) -> dict[str, Any]:
        desk.work(work).ask_to_stop()
        return {}

    @router.post("/resume")
    def resume(work: Alone) -> dict[str, Any]:
        desk.start(_sweep(desk, work))
        return {}


def _judging(router: APIRouter, desk: Desk, errands: Errands) -> None:
    @router.get("/report")
    def report(work: str) -> dict[str, Any]:
        sweep = desk.work(work)
        dataset = sweeping.training_folder(sweep)
        known = dataset is not None and desk.may_show(dataset)
        told = analyses.told_of(sweep.path)
        return {**told, "training": str(dataset or ""), "training_opened": known}

    @router.post("/rule")
    def rule(work: Text, rule: Text, weights: Texts) -> dict[str, Any]:
        return analyses.by_rule(desk.work(work).path, rule, weights)

    @router.post("/again")
    def again(work: Text, rule: Text, weights: Texts) -> dict[str, Any]:
        sweeping.judge_again(desk, _sweep(desk, work), rule, weights)
        return {}

    @router.post("/open")
    def open_folder(folder: Alone) -> dict[str, str]:
        return {"folder": str(desk.open_folder(folder))}

    _keeping(router, desk, errands)


def _keeping(router: APIRouter, desk: Desk, errands: Errands) -> None:
    @router.get("/nearest")
    def nearest(work: str, picture: str) -> dict[str, Any]:
        folder = sweeping.training_folder(desk.work(work))
        if folder is None or not desk.may_show(folder):
            raise RunError("the folder of training pictures is not opened", where=work)
        found = errands.run(
            "nearest", {"picture": str(shown(desk, picture, PICTURES)), "folder": str(folder)}
        )
        return {**found, "path": str(folder / found["name"])}

    @router.post("/keep")
    def keep(told: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        return sweeping.keep(_sweep(desk, str(told.get("work"))), told, errands)

    @router.get("/download")
    def download(work: str, name: str) -> Response:
        path = desk.work(work).path / name
        if name not in _FILES or not path.is_file():
            raise RunError(f"there is no {name} yet", where=work)
        stem = work.replace("/", "-")
        return FileResponse(path, media_type=_FILES[name], filename=f"{stem}-{name}")


def _voting(router: APIRouter, desk: Desk) -> None:
    @router.get("/votes")
    def turn(work: str) -> dict[str, Any]:
        folder = desk.work(work).path
        return {**booth.turn(folder), "folder": str(folder)}

    @router.post("/votes")
    def cast(work: Text, pair: Annotated[dict[str, Any], Body()], winner: Text) -> dict[str, Any]:
        booth.cast(desk.work(work).path, pair, winner)
        return turn(work)

    @router.post("/unvote")
    def take_back(work: Alone) -> dict[str, Any]:
        booth.take_back(desk.work(work).path)
        return turn(work)

    @router.get("/results")
    def results(work: str) -> dict[str, Any]:
        return booth.results(desk.work(work).path)


def _sweep(desk: Desk, name: str) -> WorkFolder:
    """The analysis of this name.

    Raises:
        RunError: It is a run.
    """
    found = desk.work(name)
    if found.noun != "sweep":
        raise RunError("this is a run, and not an analysis", where=name)
    return found


def _changed(path: Path) -> int:
    """When a report was written; 0 while there is none."""
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return 0
