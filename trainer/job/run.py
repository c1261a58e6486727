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

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

from trainer.core.errors import ConfigError, RunError
from trainer.core.files import write_atomically
from trainer.core.work import Status, WorkFolder, make_folder
from trainer.job.config import JobConfig
from trainer.job.file import load_job, render_job

__all__ = ["Run", "Status", "runs_in"]

_FREE = (
    "compute.device",
    "compute.precision",
    "compute.processes",
    "compute.gradient_checkpointing",
)
_FREE_SECTIONS = ("samples.", "save.", "analysis.")
"""What a resumed run may change. A precision that its checkpoints do not have is refused when
they are read; to name theirs is needed where another device would choose another."""


@dataclass(frozen=True, slots=True)
class Run(WorkFolder):
    """One run's folder; the folder is the truth, this only knows where things lie in it."""

    noun: ClassVar[str] = "run"
    worker: ClassVar[str] = "trainer.worker"
    again: ClassVar[str] = "sweetspot train --resume"
    inner: ClassVar[tuple[str, ...]] = ("checkpoints", "samples", "lora")

    @classmethod
    def create(cls, job: JobConfig) -> Run:
        """Make a new folder for the job. An earlier run is never touched.

        Raises:
            ConfigError: The run would lie among the job's pictures.
            ResourceError: The runs folder cannot be written.
        """
        job.require_apart()
        stem = f"{date.today().isoformat()}-{job.name}"
        path = make_folder(job.runs.absolute(), stem, cls.inner)
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
                f"{', '.join(_FREE)} and all of samples, save and analysis",
                where=kept[0],
                hint="leave it out, or start a new run",
            )
        write_atomically(self.job_path, render_job(job))

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
