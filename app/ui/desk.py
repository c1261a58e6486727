"""What the pages act with: folders that were opened, work that runs, and starting more.

It keeps nothing that cannot be found again in folders, so that a server that is killed and
started again shows the same.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from app import afterwards, effect, runner
from app.settings import FILE, AppSettings, home, load_settings, save_settings
from app.ui.shelf import Entry, Shelf, Stamp, flat, stamp_of
from app.ui.tails import Tails
from trainer.core.errors import ConfigError, RunError, UserError
from trainer.core.work import WorkFolder
from trainer.job.run import Run

if TYPE_CHECKING:
    from analysis.sweep import Sweep
    from trainer.job.config import JobConfig

ROOT = Path(__file__).resolve().parents[2]
_LONGEST_NAME = 240
SHIPPED = (ROOT / "assets" / "demo", ROOT / "presets")
"""Folders with pictures that ship, which pages may show."""


class Desk:
    """One for all pages of a server.

    Args:
        runs: Where runs, sweeps and the queue are; what the settings say when None.
    """

    def __init__(self, runs: Path | None = None) -> None:
        self.tails = Tails()
        self._runs = runs
        self._lock = threading.Lock()
        self._started: dict[Path, subprocess.Popen[bytes]] = {}
        self._waiting: list[subprocess.Popen[bytes]] = []
        self._shelf = Shelf(self._starting)
        self._saved: tuple[Stamp | None, AppSettings] | None = None
        effect.take(self.settings)

    @property
    def settings(self) -> AppSettings:
        """As they are saved now; the defaults where the file cannot be read, as its page tells."""
        stamp = stamp_of(str(home() / FILE))
        saved = self._saved
        if saved is None or saved[0] != stamp:
            self._saved = saved = (stamp, _settings())
        return saved[1]

    @property
    def runs(self) -> Path:
        """Where runs, sweeps and the queue are."""
        return (self._runs or self.settings.runs.expanduser()).absolute()

    # Folders

    def open_folder(self, text: str) -> Path:
        """A folder that a person named, whose pictures pages may show from now on.

        Raises:
            ConfigError: It is no folder, or a network path.
        """
        path = _folder(text)
        settings = self.settings
        if str(path) not in settings.opened and not self.may_show(path):
            save_settings({"opened": [*settings.opened, str(path)]})
        return path

    def may_show(self, path: Path) -> bool:
        """Whether the path, links followed, lies in a folder that a person opened."""
        real = followed(path)
        roots = [self.runs, *SHIPPED, *(Path(text) for text in self.settings.opened)]
        return real is not None and any(
            real.is_relative_to(root) for root in map(followed, roots) if root is not None
        )

    def close_folder(self, text: str) -> None:
        """Show nothing more of a folder that was opened; its files stay."""
        kept = [path for path in self.settings.opened if path != text]
        save_settings({"opened": kept})

    # Work

    def entries(self) -> list[Entry]:
        """Every run, newest first, with its analyses; then the other sweeps."""
        self._reap()
        return self._shelf.entries(self.runs)

    def works(self) -> Iterator[WorkFolder]:
        """Every run, newest first, each followed by its analyses; then the other sweeps."""
        return (entry.work for entry in flat(self.entries()))

    def analyses(self, run: Run) -> list[Sweep]:
        """Sweeps of the run, oldest first."""
        from analysis.sweep import Sweep

        return [Sweep(path.parent) for path in sorted(run.path.glob("analysis/*/sweep.toml"))]

    def work(self, name: str) -> WorkFolder:
        """The run or sweep of this path below the runs folder: `NAME`, `NAME/analysis/1`.

        Raises:
            RunError: There is none.
        """
        path = self.runs / name[:_LONGEST_NAME]
        real = followed(path) if len(name) <= _LONGEST_NAME else None
        if real is None or not real.is_relative_to(self.runs.resolve()) or not name:
            raise RunError("this is no run of the runs folder", where=name[:200])
        if (path / "sweep.toml").is_file():
            from analysis.sweep import Sweep

            return Sweep.open(path)
        if (path / "pictures.toml").is_file():
            from analysis.folder_work import FolderWork

            return FolderWork(path)
        return Run.open(path)

    def run(self, name: str) -> Run:
        """The run of this name.

        Raises:
            RunError: There is none, or it is an analysis.
        """
        found = self.work(name)
        if not isinstance(found, Run):
            raise RunError("this is an analysis, and not a run", where=name)
        return found

    def name_of(self, work: WorkFolder) -> str:
        """What `work` takes."""
        return work.path.relative_to(self.runs).as_posix()

    def train(self, job: JobConfig) -> Run:
        """Make a run for the job and start it, in a process that outlives this server.

        Raises:
            ConfigError: The job cannot run here.
            ResourceError: The runs folder cannot be written.
        """
        run = Run.create(job)
        self.start(run)
        return run

    def start(self, work: WorkFolder) -> None:
        """Start a folder's process, which goes on where an earlier one ended.

        Raises:
            RunError: A process works on it already.
        """
        with self._lock:
            if self._is_up(work.path):
                raise RunError(f"another process works on this {work.noun}", where=str(work.path))
            with work.lock():  # else a stop that another process was asked for would be taken back
                work.forget_stop()
            processes = work.job.compute.processes if isinstance(work, Run) else 1
            self._started[work.path] = runner.start(work, processes)
            if isinstance(work, Run) and work.job.analysis.after_training:
                self._waiting.append(afterwards.hire(work))
        self.look_again()

    def ensure(self, work: WorkFolder) -> None:
        """Start a folder's process, unless one works on it already."""
        with contextlib.suppress(RunError):  # two pages asked at once: one start is enough
            self.start(work)

    def look_again(self) -> None:
        """Whoever asks next is told of what was just started, stopped or moved."""
        self._shelf.forget()

    def status(self, work: WorkFolder) -> str:
        """How the work stands; of a process that has not said anything yet, "running"."""
        self._reap()
        status = work.status()
        return "running" if status != "running" and self._starting(work.path) else status

    def busy(self) -> list[WorkFolder]:
        """The work that runs now, whoever started it."""
        return [entry.work for entry in flat(self.entries()) if entry.status == "running"]

    def _starting(self, path: Path) -> bool:
        with self._lock:
            return self._is_up(path)

    def _is_up(self, path: Path) -> bool:
        process = self._started.get(path)
        return process is not None and process.poll() is None

    def _reap(self) -> None:
        """Let no process of ours stay a zombie, which would pass for one that is alive."""
        with self._lock:
            self._started = {path: p for path, p in self._started.items() if p.poll() is None}
            self._waiting = [process for process in self._waiting if process.poll() is None]


def followed(path: Path) -> Path | None:
    """Where the path leads, links followed; None where it leads nowhere that has a name."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # links in a ring, a NUL, a name without end
        return None


def _settings() -> AppSettings:
    try:
        return load_settings()
    except ConfigError:
        return AppSettings()


def _folder(text: str) -> Path:
    named = text.strip().strip('"')
    if not named:
        raise ConfigError("no folder was named", hint="type or paste its path")
    if named.startswith(("\\\\", "//")):
        raise ConfigError(
            "network paths are not opened", where=named, hint="map it to a drive, or copy it"
        )
    try:
        path = Path(named).expanduser().absolute()
        if not path.is_dir():
            raise ConfigError("there is no such folder", where=str(path))
        next(path.iterdir(), None)
    except (OSError, RuntimeError, ValueError) as error:  # also ~nobody, and a NUL
        words = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"the folder cannot be read: {words}", where=named[:200]) from None
    return path


def as_json(error: UserError) -> dict[str, str]:
    """A problem as a page shows it."""
    return {"problem": error.problem, "where": error.where, "hint": error.hint}
