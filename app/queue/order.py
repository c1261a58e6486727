"""Moving a waiting job: to an end of its priority, beside another, to another priority."""

from __future__ import annotations

import sqlite3
from typing import Literal

from app.queue.database import transaction
from app.queue.store import Entry, Store
from trainer.core.errors import RunError

Side = Literal["before", "after"]


def prioritise(store: Store, entry: Entry, priority: int) -> None:
    """Give a job another priority; it goes to the end of those that have it.

    Raises:
        RunError: It does not wait any more.
    """
    with transaction(store.database, store.path) as database:
        _place(database, entry, priority, _edge(database, priority, last=True))


def to_edge(store: Store, entry: Entry, *, last: bool) -> None:
    """Put a job before, or after, all others of its priority.

    Raises:
        RunError: It does not wait any more.
    """
    with transaction(store.database, store.path) as database:
        _place(database, entry, entry.priority, _edge(database, entry.priority, last=last))


def beside(store: Store, entry: Entry, other: Entry, side: Side) -> None:
    """Put a job before or after another, at that one's priority.

    Raises:
        RunError: One of them does not wait any more, or they are the same.
    """
    if entry.id == other.id:
        raise RunError(f"job {entry.id} cannot be moved beside itself")
    with transaction(store.database, store.path) as database:
        priority = _require_waiting(database, other)
        position = _between(database, entry, other, side)
        if position is None:  # so many moves that no number is left between the two
            _renumber(database, priority)
            position = _between(database, entry, other, side)
        assert position is not None
        _place(database, entry, priority, position)


def step(store: Store, entry: Entry, side: Side) -> None:
    """Move a job past its neighbour; one that is at the end already stays.

    Raises:
        RunError: It does not wait any more.
    """
    with transaction(store.database, store.path) as database:
        _require_waiting(database, entry)
        at, priority = database.execute(
            "SELECT position, priority FROM jobs WHERE id = ?", (entry.id,)
        ).fetchone()
    higher, lower, nearest, order = (
        (">", "<", "ASC", "DESC") if side == "before" else ("<", ">", "DESC", "ASC")
    )
    neighbour = store.select(
        f"state = 'queued' AND (priority {higher} ? OR (priority = ? AND (position, id) {lower} "
        f"(?, ?))) ORDER BY priority {nearest}, position {order}, id {order} LIMIT 1",
        (priority, priority, at, entry.id),
    )
    if neighbour:
        beside(store, entry, neighbour[0], side)


def _between(database: sqlite3.Connection, entry: Entry, other: Entry, side: Side) -> float | None:
    """A position between the other job and its neighbour; None when there is no number left."""
    at, priority = database.execute(
        "SELECT position, priority FROM jobs WHERE id = ?", (other.id,)
    ).fetchone()
    edge, sign, order = ("max", "<", -1) if side == "before" else ("min", ">", 1)
    (neighbour,) = database.execute(
        f"SELECT {edge}(position) FROM jobs WHERE state = 'queued' AND priority = ?"
        f" AND (position, id) {sign} (?, ?) AND id != ?",
        (priority, at, other.id, entry.id),
    ).fetchone()
    if neighbour is None:
        return float(at) + order
    middle = (at + neighbour) / 2
    return middle if min(at, neighbour) < middle < max(at, neighbour) else None


def _renumber(database: sqlite3.Connection, priority: int) -> None:
    rows = database.execute(
        "SELECT id FROM jobs WHERE state = 'queued' AND priority = ? ORDER BY position, id",
        (priority,),
    ).fetchall()
    numbered = [(float(number), job) for number, (job,) in enumerate(rows)]
    database.executemany("UPDATE jobs SET position = ? WHERE id = ?", numbered)


def _edge(database: sqlite3.Connection, priority: int, *, last: bool) -> float:
    edge = "max(position) + 1" if last else "min(position) - 1"
    (found,) = database.execute(
        f"SELECT coalesce({edge}, 1) FROM jobs WHERE state = 'queued' AND priority = ?",
        (priority,),
    ).fetchone()
    return float(found)


def _place(database: sqlite3.Connection, entry: Entry, priority: int, position: float) -> None:
    _require_waiting(database, entry)
    database.execute(
        "UPDATE jobs SET priority = ?, position = ? WHERE id = ?", (priority, position, entry.id)
    )


def _require_waiting(database: sqlite3.Connection, entry: Entry) -> int:
    """Its priority."""
    row = database.execute("SELECT state, priority FROM jobs WHERE id = ?", (entry.id,)).fetchone()
    state, priority = row or ("cleared", 0)
    if state != "queued":
        raise RunError(
            f"job {entry.id} ({entry.name}) does not wait in the queue: it is {state}",
            hint="only waiting jobs can be moved",
        )
    return int(priority)
