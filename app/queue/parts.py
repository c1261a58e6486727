"""A queue in parts: some of the jobs that wait, some of those that ended, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.queue.database import plain_errors
from app.queue.store import ENDED, ORDER, Entry, State, Store

MOST = 1000
"""Jobs of one part."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the jobs of a list.

    Attributes:
        total: How many the whole list has.
    """

    entries: list[Entry]
    total: int


@dataclass(frozen=True, slots=True)
class Stamps:
    """Each changes when the list that it is of does."""

    waiting: str
    ended: str


def waiting(store: Store, words: str = "", *, first: int = 0, most: int = 100) -> Part:
    """The jobs that wait, in their order.

    Args:
        store: The queue.
        words: Part of their names.
        first: How many to leave out at the beginning.
        most: No more than so many.
    """
    return _part(store, ("queued",), words, ORDER, (first, most))


def ended(
    store: Store,
    states: Sequence[State] = ENDED,
    words: str = "",
    *,
    first: int = 0,
    most: int = 100,
) -> Part:
    """The jobs that ended, the latest first; see `waiting`."""
    chosen = [state for state in states if state in ENDED] or ENDED
    return _part(store, chosen, words, "ended DESC, id DESC", (first, most))


def stamps(store: Store) -> Stamps:
    """What tells whether the lists are as they were."""
    with plain_errors(store.path):
        queued = store.database.execute(
            "SELECT count(*), total(position * (id % 8191 + 1)), total(priority * id)"
            " FROM jobs WHERE state = 'queued'"
        ).fetchone()
        done = store.database.execute(
            "SELECT count(*), max(ended), total(id) FROM jobs"
            " WHERE state IN ('completed', 'failed', 'stopped', 'cancelled')"
        ).fetchone()
    return Stamps(repr(queued), repr(done))


def _part(
    store: Store, states: Sequence[State], words: str, order: str, window: tuple[int, int]
) -> Part:
    condition = f"state IN ({', '.join('?' * len(states))})"
    values: list[object] = [*states]
    if words:
        condition += " AND name LIKE ? ESCAPE '!'"
        values.append(f"%{_literal(words)}%")
    with plain_errors(store.path):
        (total,) = store.database.execute(
            f"SELECT count(*) FROM jobs WHERE {condition}", values
        ).fetchone()
    first, most = max(0, window[0]), max(0, min(window[1], MOST))
    entries = store.select(f"{condition} ORDER BY {order} LIMIT ? OFFSET ?", [*values, most, first])
    return Part(entries, total)


def _literal(words: str) -> str:
    """The words, with nothing in them that LIKE takes for a pattern."""
    for sign in "!%_":
        words = words.replace(sign, f"!{sign}")
    return words
