"""A folder that one process works in, and that anybody may watch.

    state.json        which process works on it, and how it ended
    events.jsonl      everything that happened (core/events.py)
    stop              exists when somebody asked the work to stop
    lock              held by the one process that may write here
    ticket            which job of a queue it is of, if any

Nothing else is needed to watch, stop or resume the work, now or later. What the work is, and
what else lies in the folder, its subclasses know.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import filelock
import psutil

from trainer.core.errors import RunError
from trainer.core.events import Ended, Told, end_last_line, read, read_from
from trainer.core.events import Status as Outcome
from trainer.core.files import plain_disk_errors, sweep_temporaries, write_atomically

SEEN = "SWEETSPOT_SEEN"
"""Environment of a worker: bytes of events that its starter had seen, a space, and the folder."""
_TICKET = "ticket"

Status = Literal["waiting", "running", "completed", "stopped", "failed", "died"]


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """The folder is the truth; this only knows where things lie in it.

    Class attributes:
        noun: What the work is called in messages.
        worker: The module that does it: `python -m WORKER FOLDER`.
        again: The command that goes on with it, before the folder's path.
        inner: Folders inside that are written to.
    """

    path: Path

    noun: ClassVar[str] = "work"
    worker: ClassVar[str] = ""
    again: ClassVar[str] = ""
    inner: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def events_path(self) -> Path:
        """One event a line."""
        return self.path / "events.jsonl"

    def events(self) -> Iterator[Told]:
        """Everything that happened so far."""
        return read(self.events_path)

    @property
    def told(self) -> int:
        """Bytes of events so far."""
        return self.events_path.stat().st_size if self.events_path.is_file() else 0

    def ask_to_stop(self) -> None:
        """Ask the worker to finish what it is at, save and end."""
        write_atomically(self.path / "stop", "")

    def forget_stop(self) -> None:
        """Take back an earlier request to stop; for whoever starts the work again."""
        (self.path / "stop").unlink(missing_ok=True)

    def stop_asked(self) -> bool:
        """Whether somebody asked."""
        return (self.path / "stop").exists()

    def lock(self) -> filelock.FileLock:
        """Held by the one process that may write here; the system frees it when that dies.

        Raises:
            RunError: Another process holds it.
        """
        lock = filelock.FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(
                f"another process works on this {self.noun}",
                where=str(self.path),
                hint="`sweetspot runs stop` it, or wait until it ends",
            ) from None
        return lock

    def lock_to_work(self) -> filelock.FileLock:
        """The same, for a process that was started to do the work.

        While it was loading, one that a killed starter had left may have done all of it.

        Raises:
            RunError: Another process holds it, or has ended the work since this one was started.
        """
        lock = self.lock()
        seen, _, path = os.environ.get(SEEN, "").partition(" ")
        if path == str(self.path):
            since = [told.event for told in read_from(self.events_path, int(seen))]
            if since and isinstance(since[-1], Ended):
                lock.release()
                problem = f"another process has ended this {self.noun} meanwhile"
                raise RunError(problem, where=path)
        return lock

    def busy(self) -> bool:
        """Whether a process works here now, on this machine or one that shares the folder."""
        try:
            self.lock().release()
        except RunError:
            return True
        return False

    def claim(self) -> None:
        """Note that this process works here from now on, and clear what a kill left."""
        for folder in (self.path, *(self.path / name for name in self.inner)):
            sweep_temporaries(folder)
        end_last_line(self.events_path)
        process = psutil.Process()
        self._note({"pid": process.pid, "born": process.create_time(), "status": "running"})

    def close(self, status: Outcome) -> None:
        """Note how it ended."""
        self._note({"pid": os.getpid(), "status": status, "ended": time.time()})

    def status(self) -> Status:
        """How the work stands; "died" when its process is gone without a word."""
        state = self._noted()
        if state.get("status") not in get_args(Status):
            return "waiting"
        told: Status = state["status"]
        if told != "running":
            return told
        return "running" if _lives(state.get("pid"), state.get("born")) else "died"

    def _noted(self) -> dict[str, Any]:
        """What state.json says; nothing where it is missing or damaged."""
        try:
            state = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return state if isinstance(state, dict) else {}

    def _note(self, state: dict[str, object]) -> None:
        write_atomically(self.path / "state.json", json.dumps(state))


def _lives(pid: Any, born: Any) -> bool:
    """Whether the process that was started then is there, and is more than its parent's memory."""
    try:
        process = psutil.Process(pid)
        same: bool = abs(process.create_time() - born) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, TypeError, ValueError, OverflowError):
        return False


def make_folder(root: Path, stem: str, inner: tuple[str, ...], ticket: str = "") -> Path:
    """A new folder `stem` (or `stem-2`, ...) that this process, and no other, has just made.

    With a ticket it is the folder that an earlier call with the same ticket made, if one did: who
    was killed before the folder's path was noted finds it again.

    Raises:
        ResourceError: The place cannot be written.
    """
    with plain_disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        path = (_of_ticket(root, ticket) if ticket else None) or _first_free(root, stem)
        if ticket:
            write_atomically(path / _TICKET, ticket)
        for folder in inner:
            (path / folder).mkdir(exist_ok=True)
    return path


def _of_ticket(root: Path, ticket: str) -> Path | None:
    found = (path for path in root.glob(f"*/{_TICKET}") if path.read_text("utf-8") == ticket)
    return next((path.parent for path in found), None)


def _first_free(root: Path, stem: str) -> Path:
    number = 1
    while True:
        path = root / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
