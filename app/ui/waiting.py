"""The queue as its page shows it: what runs, who works, what is left, and jobs in parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.queue import claims, parts
from app.queue.database import FILE
from app.queue.outlook import outlook
from app.queue.store import Asked, Entry, Store
from app.queue.summary import Row, row_from
from app.ui.now import row
from trainer.core.errors import ConfigError, RunError, UserError

if TYPE_CHECKING:
    from app.queue.holder import Holder
    from app.ui.desk import Desk

PATIENCE = 5.0
"""Seconds that a page waits for another process's change of the queue."""


class Line:
    """The queue of the runs folder; each question opens it and lets go."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def folder(self) -> Path:
        """Where it is."""
        return self._desk.runs / "queue"

    @property
    def exists(self) -> bool:
        """Whether a job was ever put in line."""
        return (self.folder() / FILE).is_file()

    def made(self) -> Store:
        """Open it, or make it where there is none; see `Store`."""
        return Store(self.folder(), wait=PATIENCE)

    def opened(self) -> Store:
        """Open it.

        Raises:
            RunError: There is none.
        """
        if not self.exists:
            raise RunError("there is no queue yet", hint="add a job")
        return self.made()

    def entry(self, store: Store, job: int) -> Entry:
        """A job of this number.

        Raises:
            RunError: It was forgotten meanwhile.
        """
        found = store.select("id = ?", (job,))
        if not found:
            raise RunError(f"job {job} is not in the queue any more")
        return found[0]


def board(desk: Desk, store: Store) -> dict[str, Any]:
    """All of the queue but its lists."""
    known = claims.holders(store)
    running = [_running(desk, entry, known) for entry in store.entries(("running",))]
    left = outlook(store)
    at_work = [holder for holder in known.values() if not holder.is_here or holder.lives]
    return {
        "exists": True,
        "folder": str(store.path.parent),
        "pause": store.pause,
        "counts": store.counts(),
        "stamps": asdict(parts.stamps(store)),
        "running": running,
        "workers": [_worker(store, holder, running) for holder in at_work],
        "left": asdict(left),
    }


def rows(store: Store, part: parts.Part) -> dict[str, Any]:
    """Some of the jobs as a list shows them."""
    known = claims.holders(store)
    return {"total": part.total, "jobs": [_told(entry, known) for entry in part.entries]}


def asked_for(
    desk: Desk, source: str, given: str, choices: Mapping[str, str], analyse: bool
) -> list[Asked]:
    """The jobs that a person describes, whose runs lie where this app's do.

    Args:
        desk: For its runs.
        source: "file": a job file, or a folder of them; "text": one's contents; "run": a run.
        given: The path, the text or the run's name.
        choices: Settings that are to have several values.
        analyse: Analyse each run once it is trained.

    Raises:
        UserError: They cannot be used.
    """
    from app.queue.intake import Wishes, jobs_in, jobs_of_values, varied
    from trainer.core import toml

    wishes = Wishes(runs=desk.runs, analyse=analyse)
    match source:
        case "run":
            job = desk.run(given).job
            values = toml.parse_text(toml.render(job, "A run's job."), given)
            return jobs_of_values(varied(values, choices), desk.runs, wishes)
        case "text":
            if not given.strip():
                raise ConfigError("there is no text yet", where="text")
            values = toml.parse_text(given, "the text")
            return jobs_of_values(varied(values, choices), Path.cwd(), wishes)
    path = _path(given)
    if path.is_dir() or not choices:
        if choices:
            raise ConfigError("settings can be varied of one job only", where=str(path))
        return jobs_in([path], wishes)
    return jobs_of_values(varied(toml.read(path), choices), path.parent, wishes)


def again(store: Store, entry: Entry, *, fresh: bool) -> None:
    """Put a job back in line.

    Raises:
        RunError: It is not one that failed, was stopped or cancelled.
    """
    state = store.retry(entry, fresh=fresh)
    if state != "queued" or entry.state == "queued":
        raise RunError(f"job {entry.id} ({entry.name}) is {state}, not failed or stopped")


def forget_one(store: Store, entry: Entry) -> None:
    """Take a job off the queue; its folder stays.

    Raises:
        RunError: It runs.
    """
    if store.forget(entry) == "running":
        raise RunError(f"job {entry.id} ({entry.name}) runs", hint="cancel it first")


def _path(text: str) -> Path:
    named = text.strip().strip('"')
    if not named or named.startswith(("\\\\", "//")):
        raise ConfigError("no file was named", where="file", hint="type or paste its path")
    path = Path(named).expanduser().absolute()
    if not path.exists():
        raise ConfigError("there is no such file", where=str(path))
    return path


def _running(desk: Desk, entry: Entry, known: dict[int, Holder]) -> dict[str, Any]:
    told = _told(entry, known)
    folder = entry.driven or entry.sweep or entry.folder
    try:
        name = Path(folder).relative_to(desk.runs).as_posix()
        told["work"] = row(desk, desk.work(name)) if folder else None
    except (ValueError, UserError):  # it lies elsewhere, or is gone
        told["work"] = None
    return told


def _told(entry: Entry, known: dict[int, Holder]) -> dict[str, Any]:
    made: Row = row_from(entry, known)
    return {
        **asdict(made),
        "device": entry.device,
        "ended": entry.ended,
        "added": entry.added,
        "seconds": entry.seconds,
        "wish": entry.wish,
        "worker": entry.worker,
        "run": Path(entry.folder).name if entry.folder else "",
    }


def _worker(store: Store, holder: Holder, running: list[dict[str, Any]]) -> dict[str, Any]:
    job = next((one for one in running if one["worker"] == holder.id), None)
    return {
        "id": holder.id,
        "host": holder.host,
        "here": holder.is_here,
        "pid": holder.pid,
        "device": holder.device,
        "since": holder.born,
        "seen": holder.seen,
        "leaves": claims.asked_to_leave(store, holder.id),
        "job": job and {"id": job["job"], "name": job["name"]},
    }
