"""Queue: jobs that wait in their order, those that run, those that ended, and who works on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.ui.crew import Crew
from app.ui.page import Page, page
from app.ui.waiting import Line, again, asked_for, board, forget_one, rows

if TYPE_CHECKING:
    from app.queue.pricing import Pricing
    from app.ui.desk import Desk

SHOWN = 100
"""Names of a plan that are shown."""


class Varied(BaseModel):
    """A setting, and the values that it is to have."""

    path: str = Field(max_length=120)
    values: str = Field(max_length=4000)


class Wanted(BaseModel):
    """Jobs to put in line: a file or folder here, a text, or what a run was asked for."""

    source: Literal["file", "text", "run"]
    given: str = Field(max_length=1_000_000)
    vary: list[Varied] = Field([], max_length=12)
    analyse: bool = False
    priority: int = Field(0, ge=-1000, le=1000)
    first: bool = False


class Move(BaseModel):
    """Where a waiting job is to go."""

    job: int
    how: Literal["up", "down", "first", "last", "before", "after", "priority"]
    other: int = 0
    priority: int = Field(0, ge=-1000, le=1000)


class Jobs(BaseModel):
    """Some jobs, by their numbers."""

    jobs: list[int] = Field(max_length=1000)
    fresh: bool = False


class Paused(BaseModel):
    """Whether new jobs are begun; "now" stops what runs too."""

    pause: Literal["", "later", "now"]


class States(BaseModel):
    """Which jobs are to be forgotten."""

    states: list[Literal["queued", "completed", "failed", "stopped", "cancelled"]]


class Worker(BaseModel):
    """A device to work on, or a worker who is to go."""

    device: str = Field("auto", max_length=40)
    worker: int = 0
    now: bool = False


@page
class QueuePage(Page):
    """Jobs one after the other, while nobody watches."""

    key = "queue"
    title = "Queue"
    lede = "Jobs that train one after the other, also while nobody watches."
    place = 70
    icon = '<path d="M4 6h16M4 12h16M4 18h9"/><path d="M17 15.5l4 2.5-4 2.5z"/>'

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()
        line = Line(desk)
        _looking(router, desk, line, crew := Crew(line.folder))
        _ordering(router, line)
        _ending(router, line)
        _adding(router, desk, line)
        _working(router, line, crew)
        return router


def _looking(router: APIRouter, desk: Desk, line: Line, crew: Crew) -> None:
    @router.get("/now")
    def now() -> dict[str, Any]:
        if not line.exists:
            return {"exists": False, "folder": str(line.folder()), "starting": crew.starting()}
        with line.opened() as store:
            return {**board(desk, store), "starting": crew.starting()}

    @router.get("/waiting")
    def waiting(first: int = 0, most: int = SHOWN, words: str = "") -> dict[str, Any]:
        from app.queue import parts

        with line.opened() as store:
            return rows(store, parts.waiting(store, words[:100], first=first, most=most))

    @router.get("/ended")
    def ended(
        first: int = 0, most: int = SHOWN, words: str = "", state: str = ""
    ) -> dict[str, Any]:
        from app.queue import parts
        from app.queue.store import ENDED

        states = [one for one in ENDED if one == state] or ENDED
        with line.opened() as store:
            found = parts.ended(store, states, words[:100], first=first, most=most)
            return rows(store, found)

    @router.get("/job")
    def job(job: int) -> dict[str, Any]:
        from app.queue.folders import as_toml

        with line.opened() as store:
            entry = store.find(str(job))
            return {"name": entry.name, "text": as_toml(entry, store.text(entry.id))}


def _ordering(router: APIRouter, line: Line) -> None:
    @router.post("/move")
    def move(asked: Move) -> dict[str, Any]:
        from app.queue import order

        with line.opened() as store:
            entry = line.entry(store, asked.job)
            match asked.how:
                case "up" | "down":
                    order.step(store, entry, "before" if asked.how == "up" else "after")
                case "first" | "last":
                    order.to_edge(store, entry, last=asked.how == "last")
                case "priority":
                    order.prioritise(store, entry, asked.priority)
                case "before" | "after":
                    order.beside(store, entry, line.entry(store, asked.other), asked.how)
        return {}

    @router.post("/pause")
    def pause(asked: Paused) -> dict[str, Any]:
        with line.made() as store:
            store.pause = asked.pause
        return {}


def _ending(router: APIRouter, line: Line) -> None:
    @router.post("/cancel")
    def cancel(asked: Jobs) -> dict[str, Any]:
        from app.queue import claims

        with line.opened() as store:
            found = [claims.cancel(store, line.entry(store, job)) for job in asked.jobs]
        return {"cancelled": found.count("cancelled"), "stopping": found.count("running")}

    @router.post("/retry")
    def retry(asked: Jobs) -> dict[str, Any]:
        with line.opened() as store:
            for entry in [line.entry(store, job) for job in asked.jobs]:
                again(store, entry, fresh=asked.fresh)
        return {}

    @router.post("/forget")
    def forget(asked: Jobs) -> dict[str, Any]:
        with line.opened() as store:
            for job in asked.jobs:
                forget_one(store, line.entry(store, job))
        return {}

    @router.post("/clear")
    def clear(asked: States) -> dict[str, Any]:
        with line.opened() as store:
            return {"forgotten": store.clear(asked.states)}


def _adding(router: APIRouter, desk: Desk, line: Line) -> None:
    kept: list[Pricing] = []

    def pricing() -> Pricing:
        from app.queue.pricing import Pricing

        if not kept:
            kept.append(Pricing())
        return kept[0]

    @router.get("/runs")
    def runs() -> list[str]:
        from trainer.job.run import runs_in

        return [run.name for run in runs_in(desk.runs)[:200]]

    @router.get("/settings")
    def settings() -> list[dict[str, Any]]:
        """What a matrix may vary."""
        from app.ui.forms import specs
        from trainer.job.config import JobConfig

        kept = ("path", "label", "help", "kind", "choices", "low", "high", "unit")
        return [{name: spec[name] for name in kept} for spec in specs(JobConfig)]

    @router.post("/plan")
    def plan(wanted: Wanted) -> dict[str, Any]:
        asked = asked_for(desk, wanted.source, wanted.given, _choices(wanted), wanted.analyse)
        names = [{"name": one.name, "kind": one.kind} for one in asked[:SHOWN]]
        return {"count": len(asked), "jobs": names, "pricing": pricing().start(asked)}

    @router.get("/priced")
    def priced(number: int) -> dict[str, Any]:
        from dataclasses import asdict

        told = pricing().told(number)
        return {"gone": True} if told is None else asdict(told)

    @router.post("/add")
    def add(wanted: Wanted) -> dict[str, Any]:
        asked = asked_for(desk, wanted.source, wanted.given, _choices(wanted), wanted.analyse)
        pricing().stop()
        with line.made() as store:
            numbers = store.add(asked, priority=wanted.priority, first=wanted.first)
        return {"jobs": numbers}


def _working(router: APIRouter, line: Line, crew: Crew) -> None:
    @router.post("/worker")
    def start(asked: Worker) -> dict[str, Any]:
        with line.made():
            pass
        crew.start(asked.device)
        return {}

    @router.post("/worker/stop")
    def stop(asked: Worker) -> dict[str, Any]:
        from app.queue import claims

        with line.opened() as store:
            claims.ask_to_leave(store, asked.worker, now=asked.now)
        return {}


def _choices(wanted: Wanted) -> dict[str, str]:
    return {one.path.strip(): one.values for one in wanted.vary if one.path.strip()}
