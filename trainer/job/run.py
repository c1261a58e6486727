"""A run: the folder that holds all there is to know of one training.

    runs/2026-11-22-fox/
        job.toml          the effective job
        state.json        which process works on it, and how it ended
        events.jsonl      everything that happened (core/events.py)
        stop              exists when somebody asked the run to stop
        checkpoints/      what a resumed run starts from, one folder a kept step
        samples/          pictures rendered on the way
        lora/             the LoRA files

Nothing else is needed to watch, stop or resume a run, now or later.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import filelock
import psutil

from trainer.core.errors import ConfigError, RunError
from trainer.core.events import Status as Outcome
from trainer.core.events import Told, end_last_line, read
from trainer.core.files import plain_disk_errors, sweep_temporaries, write_atomically
from trainer.job.config import JobConfig
from trainer.job.file import load_job, render_job

Status = Literal["waiting", "running", "completed", "stopped", "failed", "died"]

_FREE = (
    "compute.device",
    "compute.precision",
    "compute.processes",
    "compute.gradient_checkpointing",
)
_FREE_SECTIONS = ("samples.", "save.")
"""What a resumed run may change. A precision that its checkpoints do not have is refused when
they are read; to name theirs is needed where another device would choose another."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder; the folder is the truth, this only knows where things lie in it."""

    path: Path

    @classmethod
    def create(cls, job: JobConfig) -> Run:
        """Make a new folder for the job. An earlier run is never touched.

        Raises:
            ConfigError: The run would lie among the job's pictures.
            ResourceError: The runs folder cannot be written.
        """
        job.require_apart()
        stem = f"{date.today().isoformat()}-{job.name}"
        root = job.runs.absolute()
        with plain_disk_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            path = _first_free(root, stem)
            for folder in ("checkpoints", "samples", "lora"):
                (path / folder).mkdir()
        run = cls(path)
        write_atomically(run.job_path, render_job(_settled(job)))
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run.

        Raises:
            RunError: The folder is no run.
        """
        run = cls(path.absolute())
        if not run.job_path.is_file():
            raise RunError(
                "this is no run folder: it has no job.toml",
                where=str(path),
                hint="`sweetspot runs list` shows the runs",
            )
        return run

    @property
    def name(self) -> str:
        """The folder's name: date and job name."""
        return self.path.name

    @property
    def job_path(self) -> Path:
        """The effective job, as TOML."""
        return self.path / "job.toml"

    @property
    def job(self) -> JobConfig:
        """The effective job."""
        return load_job(self.job_path)

    def change(self, overrides: Sequence[str]) -> None:
        """Take changes into the job that do not change the weights that come out.

        Raises:
            ConfigError: Anything else is to be changed; the job is as it was.
        """
        job = load_job(self.job_path, overrides)
        names = [change.partition("=")[0].strip() for change in overrides]
        kept = [name for name in names if not name.startswith(_FREE_SECTIONS) and name not in _FREE]
        if kept:
            raise ConfigError(
                "a run that is resumed keeps this setting; free are "
                f"{', '.join(_FREE)} and all of samples and save",
                where=kept[0],
                hint="leave it out, or start a new run",
            )
        write_atomically(self.job_path, render_job(job))

    @property
    def events_path(self) -> Path:
        """One event a line."""
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folders that a resumed run starts from."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Pictures rendered while training."""
        return self.path / "samples"

    @property
    def lora(self) -> Path:
        """The LoRA files."""
        return self.path / "lora"

    def events(self) -> Iterator[Told]:
        """Everything that happened so far."""
        return read(self.events_path)

    def ask_to_stop(self) -> None:
        """Ask the worker to finish its step, save and end."""
        write_atomically(self.path / "stop", "")

    def forget_stop(self) -> None:
        """Take back an earlier request to stop; for whoever starts the run again."""
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
                "another process works on this run",
                where=str(self.path),
                hint="`sweetspot runs stop` it, or wait until it ends",
            ) from None
        return lock

    def claim(self) -> None:
        """Note that this process works on the run from now on, and clear what a kill left."""
        for folder in (self.path, self.checkpoints, self.samples, self.lora):
            sweep_temporaries(folder)
        end_last_line(self.events_path)
        process = psutil.Process()
        self._note({"pid": process.pid, "born": process.create_time(), "status": "running"})

    def close(self, status: Outcome) -> None:
        """Note how it ended."""
        self._note({"pid": os.getpid(), "status": status, "ended": time.time()})

    def status(self) -> Status:
        """How the run stands; "died" when its process is gone without a word."""
        try:
            state = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return "waiting"
        if state["status"] != "running":
            told: Status = state["status"]
            return told
        try:
            alive = abs(psutil.Process(state["pid"]).create_time() - state["born"]) < 1
        except psutil.NoSuchProcess:
            alive = False
        return "running" if alive else "died"

    def _note(self, state: dict[str, object]) -> None:
        write_atomically(self.path / "state.json", json.dumps(state))


def runs_in(folder: Path) -> list[Run]:
    """The runs of a runs folder, newest first."""
    found = [Run(path.parent) for path in folder.absolute().glob("*/job.toml")]
    return sorted(found, key=lambda run: (run.job_path.stat().st_mtime, run.name), reverse=True)


def _settled(job: JobConfig) -> JobConfig:
    """The job with its seed drawn and its folders absolute: the same from anywhere, again."""
    drawn = job.schedule.seed
    seed = secrets.randbelow(2**31) if drawn is None else drawn
    return job.model_copy(
        update={
            "runs": job.runs.absolute(),
            "cache": job.cache_folder.absolute(),
            "schedule": job.schedule.model_copy(update={"seed": seed}),
        }
    )


def _first_free(root: Path, stem: str) -> Path:
    """A folder that this process, and no other, has just made."""
    number = 1
    while True:
        path = root / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
