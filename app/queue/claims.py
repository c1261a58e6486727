"""Who works on which job: workers come in, take jobs, tell how far they are and how it ended.

A job that is taken has a number of attempt; whoever writes of it names that number, so that a
worker that was given up, and comes back, cannot write over what its successor did.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from app.alive import host
from app.queue.database import plain_errors, transaction
from app.queue.holder import Holder
from app.queue.store import COLUMNS, Entry, Pause, State, Store, first_of
from trainer.core.errors import RunError
from trainer.core.work import WorkFolder

_HOLDER = "workers.id, host, pid, born, workers.device, beat, seen"


class LostError(Exception):
    """The job is not this worker's any more: it was given up, and another took it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How a job left a worker's hands.

    Attributes:
        state: "queued" when it goes on later.
    """

    state: Literal["queued", "completed", "failed", "stopped", "cancelled"]
    exit_code: int | None = None
    problem: str = ""
    where: str = ""
    hint: str = ""
    verdict: str = ""


def enter(store: Store, device: str, *, share: bool) -> Holder:
    """Note that this process works at the queue from now on.

    Raises:
        RunError: Another process of this machine works on the device, and it is not to be shared.
    """
    process = psutil.Process()
    with transaction(store.database, store.path) as database:
        rows = database.execute(f"SELECT {_HOLDER} FROM workers WHERE host = ?", (host(),))
        for other in [Holder(*row) for row in rows]:
            if not other.lives:
                database.execute(
                    "DELETE FROM workers WHERE id = ? AND id NOT IN"
                    " (SELECT worker FROM jobs WHERE state = 'running')",
                    (other.id,),
                )
            elif other.device == device and not share:
                raise RunError(
                    f"a worker (process {other.pid}) is on {device!r} already",
                    where=str(store.path.parent),
                    hint="another --device, or --share when two jobs fit on it at a time",
                )
        row = database.execute(
            "INSERT INTO workers (host, pid, born, device, seen) VALUES (?, ?, ?, ?, ?)",
            (host(), os.getpid(), process.create_time(), device, time.time()),
        )
        number = row.lastrowid
    assert number is not None
    return Holder(number, host(), os.getpid(), process.create_time(), device, 0, time.time())


def leave(store: Store, worker: Holder) -> None:
    """Note that the worker does not work here any more."""
    with transaction(store.database, store.path) as database:
        database.execute("DELETE FROM workers WHERE id = ?", (worker.id,))
        database.execute("DELETE FROM facts WHERE name = ?", (_leave_of(worker.id),))


def ask_to_leave(store: Store, worker: int, *, now: bool) -> None:
    """Ask a worker to go, wherever it is: after its job, or now; the job saves and waits again."""
    with transaction(store.database, store.path) as database:
        database.execute(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)",
            (_leave_of(worker), "now" if now else "later"),
        )


def asked_to_leave(store: Store, worker: int) -> Pause:
    """Whether the worker was asked to go, and when."""
    with plain_errors(store.path):
        row = store.database.execute(
            "SELECT value FROM facts WHERE name = ?", (_leave_of(worker),)
        ).fetchone()
    return row[0] if row else ""


def _leave_of(worker: int) -> str:
    return f"leave-{worker}"


def beat(store: Store, worker: Holder, entry: Entry | None, seconds: float) -> None:
    """Show a sign of life, and count the time that the job took since the last."""
    with transaction(store.database, store.path) as database:
        database.execute(
            "UPDATE workers SET beat = beat + 1, seen = ? WHERE id = ?", (time.time(), worker.id)
        )
        if entry is not None:
            database.execute(
                "UPDATE jobs SET seconds = seconds + ? WHERE id = ? AND attempt = ?",
                (seconds, entry.id, entry.attempt),
            )


def holders(store: Store) -> dict[int, Holder]:
    """Everybody who works, or was cut off, by number."""
    with plain_errors(store.path):
        rows = store.database.execute(f"SELECT {_HOLDER} FROM workers").fetchall()
    return {row[0]: Holder(*row) for row in rows}


def claim(store: Store, worker: Holder) -> Entry | None:
    """Take the first waiting job that the worker's device can do; None when there is none."""
    if store.pause or not store.select("state = 'queued' LIMIT 1"):
        return None
    fitting = devices(worker.device)
    marks = ", ".join("?" * len(fitting))
    with transaction(store.database, store.path) as database:
        found = first_of(database, f"device IN ({marks})", fitting)
        return None if found is None else _taken(store, found, worker, "driven = '', told = 0")


def take_over(store: Store, worker: Holder, lost: Entry) -> Entry | None:
    """Take a running job whose worker is gone; None when somebody else was faster."""
    with transaction(store.database, store.path):
        return _taken(store, lost, worker, "")


def devices(device: str) -> tuple[str, ...]:
    """What a job's device may say for a worker on this one to take it."""
    return tuple(dict.fromkeys(("auto", device, device.partition(":")[0])))


def left_waiting(store: Store, *here: str) -> dict[str, int]:
    """How many waiting jobs name a device that nobody works on, by that device.

    Args:
        store: The queue.
        here: Devices that somebody works on, or is about to, besides the workers of now.
    """
    with plain_errors(store.path):
        waiting = store.database.execute(
            "SELECT device, count(*) FROM jobs WHERE state = 'queued' AND device != 'auto'"
            " GROUP BY device ORDER BY device"
        ).fetchall()
    there = [known for known in holders(store).values() if known.lives or not known.is_here]
    served = {name for device in (*here, *(k.device for k in there)) for name in devices(device)}
    return {device: count for device, count in waiting if device not in served}


def in_words(store: Store, left: dict[str, int]) -> list[str]:
    """A line for each device that jobs wait for, with the command that would do them."""
    return [
        f"{count} {'job waits' if count == 1 else 'jobs wait'} for a worker on {device}: "
        f"sweetspot queue work --queue {store.path.parent} --device {device}"
        for device, count in left.items()
    ]


def note(store: Store, entry: Entry, **changes: object) -> Entry:
    """Write how far a job is.

    Args:
        store: The queue.
        entry: The job, as this worker took it.
        changes: Columns and their new values.

    Raises:
        LostError: Another worker has it by now.
    """
    _write(store, entry, ", ".join(f"{name} = ?" for name in changes), changes.values())
    (found,) = store.select("id = ?", (entry.id,))
    return found


def look(store: Store, entry: Entry) -> str:
    """What is wished of a running job: "cancel", or nothing.

    Raises:
        LostError: Another worker has it by now.
    """
    found = store.select("id = ? AND attempt = ? AND state = 'running'", (entry.id, entry.attempt))
    if not found:
        raise LostError
    return found[0].wish


def settle(store: Store, entry: Entry, end: Settled, seconds: float) -> None:
    """Give a job out of hand.

    Raises:
        LostError: Another worker has it by now.
    """
    _write(
        store,
        entry,
        "state = ?, exit_code = ?, problem = ?, place_of_problem = ?, hint = ?, verdict = ?,"
        " ended = ?, seconds = seconds + ?, stage = '', wish = ''",
        (
            *(end.state, end.exit_code, end.problem, end.where, end.hint, end.verdict),
            *(None if end.state == "queued" else time.time(), seconds),
        ),
    )


def cancel(store: Store, entry: Entry) -> State:
    """Take a job out; how it stands now.

    One that runs is asked to stop. If its worker is gone, and no process is on its folder, there
    is nothing to wait for.
    """
    state = store.cancel(entry)
    holder = holders(store).get(entry.worker or 0)
    alive = holder is not None and (holder.lives or not holder.is_here)
    if state != "running" or alive:
        return state
    folder = WorkFolder(Path(entry.driven)) if entry.driven else None
    if folder is not None and folder.path.is_dir() and folder.busy():
        folder.ask_to_stop()
    with transaction(store.database, store.path) as database:
        database.execute(
            "UPDATE jobs SET state = 'cancelled', stage = '', wish = '', ended = ?"
            " WHERE id = ? AND attempt = ? AND state = 'running'",
            (time.time(), entry.id, entry.attempt),
        )
    return "cancelled"


def running(store: Store) -> list[tuple[Entry, Holder | None]]:
    """Jobs that somebody works on, and who; None when that worker has left."""
    known = holders(store)
    return [(entry, known.get(entry.worker or 0)) for entry in store.entries(("running",))]


def _write(store: Store, entry: Entry, sets: str, values: Iterable[object]) -> None:
    with transaction(store.database, store.path) as database:
        changed = database.execute(
            f"UPDATE jobs SET {sets} WHERE id = ? AND attempt = ? AND state = 'running'",
            (*values, entry.id, entry.attempt),
        )
        if not changed.rowcount:
            raise LostError


def _taken(store: Store, found: Entry, worker: Holder, forgotten: str) -> Entry | None:
    """Inside a transaction: the job with its worker and a new attempt."""
    forget = f", {forgotten}" if forgotten else ""
    changed = store.database.execute(
        f"UPDATE jobs SET state = 'running', stage = 'claimed', worker = ?, attempt = attempt + 1"
        f"{forget} WHERE id = ? AND attempt = ? AND state = ?",
        (worker.id, found.id, found.attempt, found.state),
    )
    if not changed.rowcount:
        return None
    row = store.database.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (found.id,)).fetchone()
    return Entry(*row)
