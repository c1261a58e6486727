"""How long the jobs that wait will take, by what those that ended took."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from app.queue.database import plain_errors
from app.queue.store import Store

_LAST = 20
"""Jobs of each kind whose times are looked at, the latest."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """How much is left.

    Attributes:
        seconds: Until the waiting jobs are done, by one worker; None when nothing is known.
        ended: How many jobs that is told from.
    """

    seconds: float | None
    ended: int


def outlook(store: Store) -> Outlook:
    """How long the waiting jobs take: as long as the latest of their kind did, in the middle."""
    waiting = _waiting(store)
    took = {kind: _took(store, kind) for kind in waiting}
    ended = sum(map(len, took.values()))
    if not waiting or not all(took.values()):
        return Outlook(0.0 if not waiting else None, ended)
    seconds = sum(statistics.median(took[kind]) * count for kind, count in waiting.items())
    return Outlook(seconds, ended)


def _waiting(store: Store) -> dict[str, int]:
    with plain_errors(store.path):
        rows = store.database.execute(
            "SELECT kind, count(*) FROM jobs WHERE state = 'queued' GROUP BY kind"
        )
        return dict(rows.fetchall())


def _took(store: Store, kind: str) -> list[float]:
    with plain_errors(store.path):
        rows = store.database.execute(
            "SELECT seconds FROM jobs WHERE state = 'completed' AND kind = ? AND seconds > 0"
            " ORDER BY ended DESC LIMIT ?",
            (kind, _LAST),
        )
        return [seconds for (seconds,) in rows]
