"""The studio as pages and programs are shown it: plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.generate.studio import Placed, Studio
from trainer.core.errors import UserError
from trainer.core.events import Preparing, Told, read_from

_END = 65_536
"""Bytes of the events file that say how far it is, and how fast."""
_RATED = 20
"""Tellings over which a rate is taken."""


def shown(studio: Studio, placed: Placed, *, alive: bool) -> dict[str, Any]:
    """An order: what is asked, how it stands, its pictures."""
    standing = studio.standing(placed, alive=alive)
    outcome = placed.outcome
    told: dict[str, Any] = {
        "id": placed.name,
        "status": standing,
        "problem": outcome.problem if outcome else _LOST if standing == "died" else "",
        "where": outcome.where if outcome else "",
        "hint": outcome.hint if outcome else "",
        "pictures": [{"path": str(path), "seed": _seed(path)} for path in placed.pictures],
    }
    try:
        order = placed.order
    except UserError as error:
        return {**told, "status": "failed", "problem": error.problem, "asked": None}
    asked = order.model_dump(mode="json", exclude={"memory", "model", "device", "precision"})
    told["asked"] = {**asked, "base": order.model.base, "family": order.model.kind}
    return told


def progress(studio: Studio) -> dict[str, Any]:
    """How far the order that is rendered now is; `left` in seconds, None when not known."""
    told = [t for t in _recent(studio) if isinstance(t.event, Preparing)]
    if not told:
        return {"phase": "", "done": 0, "total": 0, "left": None}
    event = told[-1].event
    assert isinstance(event, Preparing)
    left = _left(told) if event.phase == "steps" else None
    return {"phase": event.phase, "done": event.done, "total": event.total, "left": left}


def _left(told: Sequence[Told]) -> float | None:
    """Seconds until the steps are done, by the last of them."""
    run: list[tuple[float, int, int]] = []
    for each in reversed(told[-_RATED:]):
        event = each.event
        if not isinstance(event, Preparing) or event.phase != "steps":
            break
        if run and event.done > run[-1][1]:
            break  # of an order before
        run.append((each.time, event.done, event.total))
    if len(run) < 2 or run[0][1] == run[-1][1]:
        return None
    pace = (run[0][0] - run[-1][0]) / (run[0][1] - run[-1][1])
    return pace * (run[0][2] - run[0][1])


def _recent(studio: Studio) -> list[Told]:
    path = studio.events_path
    size = path.stat().st_size if path.is_file() else 0
    return list(read_from(path, max(0, size - _END)))


def _seed(path: Path) -> int:
    return int(path.stem.partition("-")[2])


_LOST = "the process that rendered it ended without a word"
