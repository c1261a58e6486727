"""The table of jobs: added, listed, put in order, taken out.

Who works on them is in `claims.py`. Every change is one transaction; nothing is kept in memory.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from app.queue.database import FILE, open_database, plain_errors, transaction
from trainer.core.errors import RunError

State = Literal["queued", "running", "completed", "failed", "stopped", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
ENDED: tuple[State, ...] = ("completed", "failed", "stopped", "cancelled")
Pause = Literal["", "later", "now"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A job before it is in the queue.

    Attributes:
        name: What people call it.
        kind: "train", or "analyse" for a sweep over LoRA files or a run.
        device: The device that its settings name; "auto" when any will do.
        place: The runs folder.
        text: Its settings in full, as JSON.
    """

    name: str
    kind: Literal["train", "analyse"]
    device: str
    place: str
    text: str


class Entry(NamedTuple):  # ten thousand are made several times as fast as dataclasses
    """A job in the queue, as it stood when it was read.

    Attributes:
        stage: What a running one is at: "claimed", "starting", "training", "analysing".
        wish: "cancel" when a running one is to be stopped for good.
        worker: Who works on it, or did last.
        attempt: How often it was taken; a worker whose number is not this one has lost it.
        folder: The run's folder, once it is made.
        sweep: The analysis's folder, once it is made.
        driven: The folder in which a process was started last.
        told: Bytes of that folder's events before the process.
        deaths: How often it was cut off without coming further in between.
        progress: How far it had come when it was last cut off.
        verdict: What the analysis came to.
    """

    id: int
    name: str
    kind: Literal["train", "analyse"]
    device: str
    place: str
    ticket: str
    priority: int
    position: float
    state: State
    stage: str
    wish: str
    worker: int | None
    attempt: int
    folder: str
    sweep: str
    driven: str
    told: int
    deaths: int
    progress: int
    added: float
    ended: float | None
    seconds: float
    exit_code: int | None
    problem: str
    place_of_problem: str
    hint: str
    verdict: str


COLUMNS = ", ".join(Entry._fields)
ORDER = "priority DESC, position, id"
_LONGEST_NUMBER = 19
"""Digits from which on a number may be larger than SQLite's whole numbers."""
_FRESH = "stage = '', wish = '', worker = NULL, driven = '', told = 0"


class Store:
    """A queue, by the folder that holds it."""

    def __init__(self, folder: Path, *, wait: float | None = None) -> None:
        """Open it, or make it where there is none.

        Args:
            folder: Where it is.
            wait: Seconds to wait for another process's change; many unless given.

        Raises:
            RunError: It is damaged, or of a newer Sweetspot.
            ResourceError: The place cannot be written.
        """
        self.path = folder.absolute() / FILE
        given = () if wait is None else (wait,)
        self.database = open_database(self.path, *given)

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def add(self, asked: Sequence[Asked], *, priority: int = 0, first: bool = False) -> list[int]:
        """Put jobs at the end of their priority, or before all others of it; all or none.

        Returns:
            Their numbers, in the same order.
        """
        now = time.time()
        with transaction(self.database, self.path) as database:
            edge = "min(position) - 1 - ?" if first else "max(position) + 1 + 0 * ?"
            (start,) = database.execute(
                f"SELECT coalesce({edge}, 1) FROM jobs WHERE state = 'queued' AND priority = ?",
                (len(asked), priority),
            ).fetchone()
            return [
                self._insert(one, now, priority, start + number) for number, one in enumerate(asked)
            ]

    def _insert(self, asked: Asked, now: float, priority: int, position: float) -> int:
        row = self.database.execute(
            "INSERT INTO jobs (name, kind, device, place, ticket, priority, position, state, added)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
            (
                *(asked.name, asked.kind, asked.device, asked.place, uuid.uuid4().hex),
                *(priority, position, now),
            ),
        )
        number = row.lastrowid
        assert number is not None
        self.database.execute("INSERT INTO texts VALUES (?, ?)", (number, asked.text))
        return number

    def entries(self, states: Sequence[State] = STATES, most: int = -1) -> list[Entry]:
        """The jobs in these states: those that run, those that wait in their order, the rest.

        Args:
            states: Which.
            most: No more than so many; negative is all.
        """
        found: list[Entry] = []
        for state in sorted(states, key=("running", "queued", *ENDED).index):
            order = ORDER if state == "queued" else "id"
            left = -1 if most < 0 else most - len(found)
            found += self.select(f"state = ? ORDER BY {order} LIMIT ?", (state, left))
        return found

    def select(self, condition: str, values: Sequence[object] = ()) -> list[Entry]:
        """The jobs that meet an SQL condition."""
        with plain_errors(self.path):
            rows = self.database.execute(f"SELECT {COLUMNS} FROM jobs WHERE {condition}", values)
            return list(map(Entry._make, rows))

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        with plain_errors(self.path):
            rows = self.database.execute("SELECT state, count(*) FROM jobs GROUP BY state")
            return dict(rows.fetchall())

    def find(self, word: str) -> Entry:
        """The job of this number, or of this name.

        Raises:
            RunError: There is none, or several have the name.
        """
        is_number = word.isascii() and word.isdigit() and len(word) < _LONGEST_NUMBER
        found = self.select("id = ?", (int(word),)) if is_number else []
        found = found or self.select("name = ? ORDER BY id", (word,))
        if not found:
            raise RunError(
                f"there is no job {word[:80]!r} in the queue",
                where=str(self.path.parent),
                hint="`sweetspot queue list` shows the jobs",
            )
        if len(found) > 1:
            numbers = ", ".join(str(entry.id) for entry in found[:8])
            raise RunError(
                f"{len(found)} jobs are called {word!r}: {numbers}"
                + (", ..." if len(found) > 8 else ""),
                hint="give the number",
            )
        return found[0]

    def text(self, job: int) -> str:
        """A job's settings in full, as JSON."""
        with plain_errors(self.path):
            (text,) = self.database.execute(
                "SELECT text FROM texts WHERE job = ?", (job,)
            ).fetchone()
        return str(text)

    def cancel(self, entry: Entry) -> State:
        """Take a waiting job out; wish a running one to be stopped. How it stands now."""
        with transaction(self.database, self.path) as database:
            database.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ?"
                " WHERE id = ? AND state IN ('queued', 'stopped')",
                (time.time(), entry.id),
            )
            database.execute(
                "UPDATE jobs SET wish = 'cancel' WHERE id = ? AND state = 'running'", (entry.id,)
            )
            return self._state(entry)

    def retry(self, entry: Entry, *, fresh: bool) -> State:
        """Put a job that ended badly back in line; how it stands now.

        Args:
            entry: Which.
            fresh: Forget its run folder, and start a new one.
        """
        forget = f", folder = '', sweep = '', ticket = '{uuid.uuid4().hex}'" if fresh else ""
        with transaction(self.database, self.path) as database:
            database.execute(
                f"UPDATE jobs SET state = 'queued', {_FRESH}, deaths = 0, ended = NULL,"
                f" exit_code = NULL, problem = '', place_of_problem = '', hint = ''{forget}"
                " WHERE id = ? AND state IN ('failed', 'stopped', 'cancelled')",
                (entry.id,),
            )
            return self._state(entry)

    def clear(self, states: Sequence[State]) -> int:
        """Forget jobs that wait or have ended; how many. Run folders are not touched."""
        assert "running" not in states
        marks = ", ".join("?" * len(states))
        with transaction(self.database, self.path) as database:
            database.execute(
                f"DELETE FROM texts WHERE job IN (SELECT id FROM jobs WHERE state IN ({marks}))",
                states,
            )
            return database.execute(f"DELETE FROM jobs WHERE state IN ({marks})", states).rowcount

    def forget(self, entry: Entry) -> State | None:
        """Forget a job that waits or has ended; how it stands when it runs. Its folder stays."""
        with transaction(self.database, self.path) as database:
            gone = database.execute(
                "DELETE FROM jobs WHERE id = ? AND state != 'running'", (entry.id,)
            )
            if not gone.rowcount:
                return "running" if self.select("id = ?", (entry.id,)) else None
            database.execute("DELETE FROM texts WHERE job = ?", (entry.id,))
        return None

    @property
    def pause(self) -> Pause:
        """Whether nothing new is begun: "later" lets what runs go on, "now" stops it."""
        with plain_errors(self.path):
            row = self.database.execute("SELECT value FROM facts WHERE name = 'pause'").fetchone()
        return row[0] if row else ""

    @pause.setter
    def pause(self, pause: Pause) -> None:
        with transaction(self.database, self.path) as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES ('pause', ?)", (pause,))

    def _state(self, entry: Entry) -> State:
        rows: Iterator[tuple[State]] = self.database.execute(
            "SELECT state FROM jobs WHERE id = ?", (entry.id,)
        )
        return next(rows)[0]


def first_of(
    database: sqlite3.Connection, condition: str, values: Sequence[object]
) -> Entry | None:
    """The first waiting job that meets an SQL condition, in order."""
    row = database.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE state = 'queued' AND {condition}"
        f" ORDER BY {ORDER} LIMIT 1",
        values,
    ).fetchone()
    return None if row is None else Entry(*row)
