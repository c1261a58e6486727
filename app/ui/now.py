"""What runs now: asked by every open page, every few seconds."""

from __future__ import annotations

import threading
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from app.generate.studio import Studio
from app.ui.shelf import Entry, flat

if TYPE_CHECKING:
    from app.ui.desk import Desk
    from trainer.core.work import WorkFolder

_FRESH = 0.9
"""Seconds for which an answer serves all pages."""


def routes(desk: Desk) -> APIRouter:
    """`/api/now`."""
    router = APIRouter()
    lock = threading.Lock()
    kept: dict[str, Any] = {"at": -_FRESH, "answer": None}

    @router.get("/api/now")
    def now() -> dict[str, Any]:
        with lock:
            if time.monotonic() - kept["at"] > _FRESH:
                busy = [row(desk, e.work, e.status) for e in flat(desk.entries()) if _runs(e)]
                orders = Studio.below(desk.runs).open()
                kept["answer"] = {"works": busy, "orders": orders}
                kept["at"] = time.monotonic()
            return dict(kept["answer"])

    return router


def row(desk: Desk, work: WorkFolder, status: str = "") -> dict[str, Any]:
    """A folder of work as lists show it.

    Args:
        desk: Knows the runs folder.
        work: Any.
        status: How it stands, where that is known already.
    """
    brief = desk.tails.brief(work, status)
    told = {each.name: getattr(brief, each.name) for each in fields(brief)}
    return {"name": desk.name_of(work), "noun": work.noun, "path": str(work.path), **told}


def _runs(entry: Entry) -> bool:
    return entry.status == "running"
