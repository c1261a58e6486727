"""Which runs and sweeps there are and how each stands: a thousand of them in milliseconds.

A folder is looked into again only when something in it changed: the files that tell of it are
replaced whole whenever they are written, so that their stamp says whether they were read.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from analysis.folder_work import FolderWork
from analysis.sweep import Sweep
from trainer.core.work import WorkFolder
from trainer.job.run import Run

_ASKED: dict[type[WorkFolder], str] = {
    Run: "job.toml",
    Sweep: "sweep.toml",
    FolderWork: "pictures.toml",
}
"""What makes a folder one of a kind."""

Stamp = tuple[int, int, int]
"""When a file was written (ns), its size and its number: another one means another content."""

_FRESH, _CALM = 0.5, 1.5
"""Seconds for which one look serves all who ask, when something runs and when nothing does."""
_SETTLED = 2_000_000_000
"""ns after which a folder's time stamp is trusted: some systems count in seconds."""


@dataclass(slots=True)
class Entry:
    """A run or a sweep as it was seen last.

    Attributes:
        made: When it was asked for, in seconds since the epoch.
        analyses: Of a run, oldest first.
    """

    work: WorkFolder
    made: float
    status: str = "waiting"
    analyses: list[Entry] = field(default_factory=list)
    _stamp: Stamp | None = None
    _inside: tuple[int, list[str]] = (0, [])

    def look(self, path: str) -> None:
        """See how it stands; `path` is its folder's."""
        stamp = stamp_of(f"{path}/state.json")
        if stamp != self._stamp or self.status == "running":
            self._stamp, self.status = stamp, self.work.status()


class Shelf:
    """The work below a runs folder.

    Args:
        starting: Whether a process was started for the folder that has not said so yet.
    """

    def __init__(self, starting: Callable[[Path], bool]) -> None:
        self._starting = starting
        self._lock = threading.Lock()
        self._known: dict[str, Entry] = {}
        self._seen: tuple[Path, float, list[Entry]] = (Path(), -_CALM, [])

    def forget(self) -> None:
        """Look anew when asked next; after something was started, moved or ended."""
        with self._lock:
            self._seen = (Path(), -_CALM, [])

    def entries(self, root: Path) -> list[Entry]:
        """Runs, newest first, each holding its analyses; then the sweeps of no run."""
        with self._lock:
            seen, at, found = self._seen
            calm = all(entry.status != "running" for entry in flat(found))
            if seen == root and time.monotonic() - at < (_CALM if calm else _FRESH):
                return found
            fresh: dict[str, Entry] = {}
            runs = [entry for name in _folders(root) if (entry := self._entry(name, Run, fresh))]
            runs.sort(key=lambda entry: (entry.made, entry.work.name), reverse=True)
            sweeps = self._sweeps(_folders(root / "sweeps"), fresh)
            self._known = fresh
            found = [*runs, *sweeps]
            self._seen = (root, time.monotonic(), found)
            return found

    def _entry(self, path: str, kind: type[WorkFolder], fresh: dict[str, Entry]) -> Entry | None:
        entry = self._known.get(path)
        if entry is None:
            stamp = stamp_of(f"{path}/{_ASKED[kind]}")
            if stamp is None:
                return None
            entry = Entry(kind(Path(path)), stamp[0] / 1e9)
        fresh[path] = entry
        entry.look(path)
        if entry.status != "running" and self._starting(entry.work.path):
            entry.status = "running"
        if kind is Run:
            entry.analyses = self._sweeps(_inner(entry, path), fresh)
        return entry

    def _sweeps(self, paths: list[str], fresh: dict[str, Entry]) -> list[Entry]:
        found = (
            self._entry(path, Sweep, fresh) or self._entry(path, FolderWork, fresh)
            for path in paths
        )
        return [entry for entry in found if entry]


def stamp_of(path: str) -> Stamp | None:
    """What tells one content of a file from another; None where there is no file."""
    try:
        told = os.stat(path)  # noqa: PTH116 - asked some thousand times a second
    except (OSError, ValueError):
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino


def flat(entries: list[Entry]) -> Iterator[Entry]:
    """Each entry, followed by its analyses."""
    for entry in entries:
        yield entry
        yield from entry.analyses


def _inner(entry: Entry, path: str) -> list[str]:
    """Folders that may be analyses of a run."""
    folder = f"{path}/analysis"
    stamp = stamp_of(folder)
    if stamp is None:
        return []
    if entry._inside[0] != stamp[0]:
        names = _folders(Path(folder))
        settled = time.time_ns() - stamp[0] > _SETTLED
        entry._inside = (stamp[0] if settled else 0, names)
    return entry._inside[1]


def _folders(root: Path) -> list[str]:
    """Paths of the folders in a folder, by name; no links, which nothing else follows either."""
    try:
        with os.scandir(root) as found:
            return sorted(each.path for each in found if each.is_dir(follow_symlinks=False))
    except OSError:
        return []
