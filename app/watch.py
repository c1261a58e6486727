"""Following one run in a terminal, and finding the run that a person means."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from app import runner
from app.live import Screen
from trainer.core.events import Ended, Saved, Started, Stepped
from trainer.core.work import WorkFolder
from trainer.job.run import Run


def watch(run: WorkFolder, console: Console, *, as_json: bool, processes: int = 1) -> int:
    """Start a folder's process and follow it to its end; Ctrl-C asks it to stop."""
    err = Console(stderr=True)
    known = run.events_path.stat().st_size if run.events_path.exists() else 0
    with run.lock():  # else a stop that another process was asked for would be taken back
        run.forget_stop()
    asked = _stop_on_signal(run, err)
    process = runner.start(run, processes)
    asked.process = process
    ended: int | None = None
    place = err if as_json else console
    place.print(f"{run.noun} folder: {run.path}", markup=False, highlight=False, soft_wrap=True)
    with Screen(Console(quiet=as_json)) as screen:
        for told in runner.follow(run, process, skip=known):
            if isinstance(told.event, Ended):
                ended = told.event.exit_code
            if as_json:
                console.print(runner.as_json(told), markup=False, highlight=False, soft_wrap=True)
            screen.show(told)
    return runner.exit_code(run, process, ended, err)


def by_hand(run: WorkFolder) -> dict[str, Any]:
    """How a worker is started by other launchers; a stop asked for earlier is forgotten."""
    with run.lock():
        run.forget_stop()
    return {
        "folder": str(run.path),
        "here": f"{run.again} {run.path}",
        "by accelerate": f"accelerate launch --config_file CONFIG -m {run.worker} {run.path}",
    }


class _Asked:
    """What Ctrl-C does: the first asks the run to stop, the third ends its process."""

    def __init__(self, run: WorkFolder, err: Console) -> None:
        self._run, self._err = run, err
        self._times = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._times += 1
        self._run.ask_to_stop()
        if self._times == 1:
            self._err.print(f"stopping; the {self._run.noun} saves first", style="yellow")
        elif self._times == 2:
            self._err.print("once more ends the process without saving", style="yellow")
        elif self.process is not None:
            runner.kill(self.process)


def _stop_on_signal(run: WorkFolder, err: Console) -> _Asked:
    asked = _Asked(run, err)
    signal.signal(signal.SIGINT, asked)
    signal.signal(signal.SIGTERM, asked)
    return asked


def resumable(folder: Path, runs: Path, overrides: Sequence[str]) -> Run:
    """A run that can go on, with changes to how it is computed taken into its job.

    Raises:
        RunError: It runs, is completed, or is no run.
    """
    found = find(folder, runs)
    found.require_resumable()
    if overrides:
        found.change(overrides)
    return found


def find(folder: Path, runs: Path) -> Run:
    """The run of this folder, or of this name in the runs folder.

    Raises:
        RunError: There is none.
    """
    return Run.open(folder if folder.is_dir() else runs / folder)


def find_work(folder: Path, runs: Path) -> WorkFolder:
    """The analysis of this folder, else the run of this folder or name.

    Raises:
        RunError: There is neither.
    """
    from analysis.sweep import Sweep

    return Sweep.open(folder) if (folder / "sweep.toml").is_file() else find(folder, runs)


def summary(run: Run) -> dict[str, Any]:
    """A run in one row: name, status, how far it came, its last loss, how many files."""
    step: Any = 0
    total: Any = "?"
    loss: Any = ""
    files = 0
    for told in run.events():
        match told.event:
            case Started(steps=total):
                pass
            case Stepped(step=step, loss=value):
                loss = round(value, 4)
            case Saved():
                files += 1
    status = run.status()
    return {
        "run": run.name,
        "status": status,
        "step": f"{step}/{total}",
        "loss": loss,
        "files": files,
    }
