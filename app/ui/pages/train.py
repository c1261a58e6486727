"""The page that trains: a preset, a form over it, what it takes, and the start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from app import asking, authoring, catalogue, library
from app.asking import Ground
from app.errands import Errands
from app.ui import forms
from app.ui.crew import Crew
from app.ui.page import Page, page
from app.ui.waiting import Line
from trainer.core import toml
from trainer.core.errors import RunError, UserError
from trainer.core.trees import flat
from trainer.job.config import JobConfig
from trainer.job.file import load_job, render_job

if TYPE_CHECKING:
    from app.ui.desk import Desk

_TWICE = 10.0
"""Seconds in which the same job again is taken for a mistake."""
_Started = TypeVar("_Started")
_SHORT = Annotated[str, Field(max_length=4000)]


class Asked(BaseModel):
    """A form's values, and what lies below them."""

    values: dict[str, Any] = {}
    preset: _SHORT = ""
    run: _SHORT = ""
    queue: bool = False
    sure: bool = False


class Named(BaseModel):
    """A preset to be."""

    asked: Asked
    name: Annotated[str, Field(max_length=64)]
    summary: Annotated[str, Field(max_length=300)] = ""
    replace: bool = False


@page
class TrainPage(Page):
    """Where a run is asked for."""

    key = "train"
    title = "Train"
    lede = "A preset that suits, your pictures, and what it will take; then start."
    place = 20
    icon = (
        '<path d="M4 6h16M4 12h16M4 18h16"/><circle cx="9" cy="6" r="2"/>'
        '<circle cx="15" cy="12" r="2"/><circle cx="7" cy="18" r="2"/>'
    )
    wide = True

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()
        _drawing(router, desk)
        _judging(router, desk, Errands())
        _starting(router, desk, Starts())
        _keeping(router, desk)
        return router


class Starts:
    """Jobs that were started a moment ago, so that two tabs do not start the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: list[tuple[float, str, dict[str, Any]]] = []

    def once(self, job: JobConfig, start: Callable[[], _Started], *, sure: bool) -> _Started:
        """Start the job, unless the same was started a moment ago; what `start` gives.

        Raises:
            RunError: It was.
        """
        values = job.model_dump(mode="json")
        with self._lock:
            now = time.monotonic()
            self._recent = [one for one in self._recent if now - one[0] < _TWICE]
            for _, name, other in self._recent:
                if not sure and not asking.differs(values, other):
                    raise RunError(
                        f"the same job {name!r} was started a moment ago, perhaps in another tab",
                        where="twice",
                        hint="look at the Runs page, or start it once more on purpose",
                    )
            started = start()
            self._recent.append((now, job.name, values))
        return started


def _drawing(router: APIRouter, desk: Desk) -> None:
    @router.get("/form")
    def form(preset: str = "", run: str = "") -> dict[str, Any]:
        specs = forms.specs(JobConfig)
        for spec in specs:
            spec["advanced"] = spec["path"] not in asking.BASICS
            if spec["path"] == "runs":
                spec["default"] = str(desk.runs)
        ground = _ground(desk, preset, run)
        rows = [_card(row) for row in catalogue.shared().rows()]
        return {"specs": specs, "presets": rows, **_told(ground)}

    @router.get("/ground")
    def ground(preset: str = "", run: str = "") -> dict[str, Any]:
        return _told(_ground(desk, preset, run))

    @router.get("/folder")
    def folder(path: str, trigger: str = "") -> dict[str, Any]:
        try:
            return asking.glance(desk.open_folder(path), trigger)
        except UserError as error:  # half a path, most often
            return {"problem": error.problem}


def _judging(router: APIRouter, desk: Desk, errands: Errands) -> None:
    @router.post("/check")
    def check(asked: Asked) -> dict[str, Any]:
        tree = _tree(desk, asked)
        return {"problems": forms.problems(JobConfig, tree), "words": asking.words_of(tree)}

    @router.post("/preflight")
    def preflight(asked: Asked) -> dict[str, Any]:
        tree = _tree(desk, asked)
        wrong = forms.problems(JobConfig, tree)
        if wrong:
            return {"problems": wrong}
        try:
            return {"problems": [], "told": errands.run("forecast", {"tree": tree})}
        except UserError as error:
            return {"problems": [asking.at_field(forms.told(error), tree)]}


def _starting(router: APIRouter, desk: Desk, starts: Starts) -> None:
    line = Line(desk)
    crew = Crew(line.folder)

    @router.post("/start")
    def start(asked: Asked) -> dict[str, Any]:
        tree = _tree(desk, asked)
        wrong = forms.problems(JobConfig, tree)
        if wrong:
            return {"problems": wrong}
        try:
            job = asking.job_of(tree)
            if asked.queue:
                number = starts.once(job, lambda: _queued(line, crew, job), sure=asked.sure)
                return {"problems": [], "job": number}
            run = starts.once(job, lambda: desk.train(job), sure=asked.sure)
            return {"problems": [], "work": desk.name_of(run)}
        except UserError as error:
            return {"problems": [asking.at_field(forms.told(error), tree)]}

    @router.post("/demo")
    def demo(kind: Annotated[str, Body(embed=True)] = "style") -> dict[str, Any]:
        path, overrides = asking.demo_tree(kind)
        job = load_job(path, [*overrides, toml.as_override("runs", desk.runs)])
        run = starts.once(job, lambda: desk.train(job), sure=False)
        return {"work": desk.name_of(run)}


def _keeping(router: APIRouter, desk: Desk) -> None:
    @router.post("/preset")
    def preset(named: Named) -> dict[str, Any]:
        tree = _tree(desk, named.asked)
        flat_tree = flat(tree)
        if not flat_tree.get("dataset.folder"):
            tree.setdefault("dataset", {})["folder"] = str(desk.runs)  # no preset holds a folder
        job = toml.parse(JobConfig, tree)
        about = {"name": named.name, "sentence": named.summary}
        made = authoring.of_settings(job, {key: text for key, text in about.items() if text})
        path = library.save(made, replace=named.replace)
        rows = [_card(row) for row in catalogue.shared().rows()]
        return {"path": str(path), "name": made.name, "presets": rows}

    @router.post("/toml")
    def as_toml(asked: Asked) -> dict[str, str]:
        return {"text": render_job(asking.job_of(_tree(desk, asked)))}

    @router.post("/read")
    def read(text: Annotated[str, Body(embed=True, max_length=200_000)]) -> dict[str, Any]:
        values = toml.parse_text(text, "the text")
        toml.anchor(JobConfig, values, Path.home())
        values.pop("preset", None)
        return {"values": flat(values), "problems": forms.problems(JobConfig, values)}


def _queued(line: Line, crew: Crew, job: JobConfig) -> int:
    """The job's number in the queue; a worker is started when none is there."""
    from app.queue.store import Asked as Waiting

    job = job.model_copy(update={"runs": job.runs.absolute(), "cache": job.cache_folder.absolute()})
    asked = Waiting(job.name, "train", job.compute.device, str(job.runs), job.model_dump_json())
    with line.made() as store:
        crew.staff(store, job.compute.device)
        (number,) = store.add([asked])
    return int(number)


def _ground(desk: Desk, preset: str, run: str) -> Ground:
    if run:
        return asking.ground_of_run(desk.run(run))
    return asking.ground_of_preset(preset) if preset else Ground({})


def _tree(desk: Desk, asked: Asked) -> dict[str, Any]:
    """What the form says over what lies below it, without what counts for other kinds."""
    return asking.whole(forms.tree(asked.values), Ground({}), desk.runs)


def _told(ground: Ground) -> dict[str, Any]:
    return {
        "values": {path: forms.plain_value(value) for path, value in ground.values.items()},
        "source": ground.source,
        "family": ground.family,
        "told": ground.told,
    }


def _card(row: dict[str, Any]) -> dict[str, Any]:
    wanted = ("call", "name", "sentence", "family", "purpose", "card", "own", "shelf", "tags")
    return {name: row[name] for name in wanted}
