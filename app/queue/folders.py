"""From a job in the queue to the folders that its work lies in."""

from __future__ import annotations

from pathlib import Path

from analysis.sweep import Sweep, SweepConfig, sweep_of_run
from app.queue.store import Entry
from app.sweeps import sweep_of_config
from trainer.core import toml
from trainer.core.events import Decided
from trainer.core.work import WorkFolder
from trainer.job.config import JobConfig
from trainer.job.file import render_job
from trainer.job.run import Run


def run_of(entry: Entry, text: str, device: str) -> Run:
    """The run of a job: the one it has, to go on with on this device, or a new one.

    Raises:
        UserError: The job cannot be run, or its run folder is gone.
    """
    if entry.folder:
        run = Run.open(Path(entry.folder))
        moves = entry.device == "auto" and run.job.compute.device not in ("auto", device)
        if moves and not run.busy() and run.status() != "completed":
            run.change([f"compute.device={device}"])
        return run
    job = job_of(text)
    if entry.device == "auto" and job.compute.processes == 1:
        job = job.model_copy(update={"compute": job.compute.model_copy(update={"device": device})})
    return Run.create(job, entry.ticket)


def sweep_after(entry: Entry, run: Run) -> Sweep:
    """The analysis of a job's run: the one it has, or a new one.

    Raises:
        UserError: It cannot be made, or its folder is gone.
    """
    if entry.sweep:
        return Sweep.open(Path(entry.sweep))
    return sweep_of_run(run, [], entry.ticket)


def sweep_of(entry: Entry, text: str, device: str) -> Sweep:
    """The sweep of a job that only analyses: the one it has, or a new one.

    Raises:
        UserError: The job cannot be done, or its folder is gone.
    """
    if entry.sweep:
        return Sweep.open(Path(entry.sweep))
    config = toml.parse(SweepConfig, toml.from_json(text))
    if entry.device == "auto":
        config = config.model_copy(update={"device": device})
    return sweep_of_config(config, Path(entry.place), entry.ticket)


def job_of(text: str) -> JobConfig:
    """The job of its settings as the queue keeps them.

    Raises:
        ConfigError: They are not this Sweetspot's.
    """
    return toml.parse(JobConfig, toml.from_json(text))


def as_toml(entry: Entry, text: str) -> str:
    """A job's settings as TOML."""
    if entry.kind == "train":
        return render_job(job_of(text))
    return toml.render(toml.parse(SweepConfig, toml.from_json(text)), "A Sweetspot sweep.")


def verdict(folder: WorkFolder) -> str:
    """What an analysis came to, in one sentence; empty for a run."""
    told = [told.event for told in folder.events() if isinstance(told.event, Decided)]
    return told[-1].headline if told else ""
