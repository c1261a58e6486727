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

from trainer.core import toml
from trainer.core.errors import ConfigError, RunError
from trainer.core.files import write_atomically
from trainer.core.work import Status, WorkFolder, make_folder
from trainer.job.config import JobConfig
from trainer.job.file import load_job, parse_job, render_job

__all__ = ["Run", "Status", "runs_in"]

_FREE = (
    "compute.device",
    "compute.precision",
    "compute.processes",
    "compute.gradient_checkpointing",
)
_FREE_SECTIONS = ("samples.", "save.", "analysis.", "track.")
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
    def create(cls, job: JobConfig, ticket: str = "") -> Run:
        """Make a new folder for the job. An earlier run is never touched.

        Args:
            job: What is asked.
            ticket: Whose run it is; the same ticket gives the same run again.

        Raises:
            ConfigError: The run would lie among the job's pictures, or a tracker is missing.
            ResourceError: The runs folder cannot be written.
        """
        job.require_apart()
        job.track.require_packages()
        stem = f"{date.today().isoformat()}-{job.name}"
        run = cls(make_folder(job.runs.absolute(), stem, cls.inner, ticket))
        if not run.job_path.is_file():
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
                f"{', '.join(_FREE)} and all of samples, save, analysis and track",
                where=kept[0],
                hint="leave it out, or start a new run",
            )
        write_atomically(self.job_path, render_job(job))

    def require_resumable(self) -> None:
        """Refuse to go on with a run that is at work, or done.

        Raises:
            RunError: It is.
        """
        status = self.status()
        if status == "running":
            raise RunError("the run is still running", where=str(self.path))
        if status == "completed":
            raise RunError(
                "the run is completed; there is nothing to resume",
                where=str(self.path),
                hint="start a new run with more epochs",
            )

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
        """Where the LoRA files are."""
        return self.path / "lora"

    @property
    def lora_files(self) -> list[Path]:
        """The LoRA files so far, by name: in the order of training."""
        return sorted(self.lora.glob("*.safetensors"))


def runs_in(folder: Path) -> list[Run]:
    """The runs of a runs folder, newest first."""
    found = [Run(path.parent) for path in folder.absolute().glob("*/job.toml")]
    return sorted(found, key=lambda run: (run.job_path.stat().st_mtime, run.name), reverse=True)


def _settled(job: JobConfig) -> JobConfig:
    """The job with its seed drawn and its paths absolute: the same from anywhere, again."""
    values = job.model_dump(mode="json")
    values["cache"] = str(job.cache_folder)
    if job.schedule.seed is None:
        values["schedule"]["seed"] = secrets.randbelow(2**31)
    toml.anchor(JobConfig, values, Path.cwd())
    return parse_job(values)
