"""A sweep: what is asked, and the folder that holds all there is to know of it.

runs/2026-11-26-fox/analysis/1/
    sweep.toml        what is asked
    events.jsonl, state.json, lock, stop     as in a run's folder
    cells/            the pictures, each named by all that made it
    report.json       numbers and verdict; what scripts read
    report.html       the same for people
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from trainer.core import toml
from trainer.core.device import Precision
from trainer.core.errors import RunError
from trainer.core.files import write_atomically
from trainer.core.schema import Config, Folder, Knob, MaybeFolder
from trainer.core.work import WorkFolder, make_folder
from trainer.families.base import ModelConfig, families
from trainer.job.choosing import AnalysisConfig
from trainer.job.memory import MemoryConfig
from trainer.job.pictures import DatasetConfig
from trainer.job.run import Run

SCHEMA_VERSION = 1
_TITLE = "A Sweetspot sweep. `sweetspot analyse --resume FOLDER` goes on with it."


class SweepConfig(Config):
    """What is compared: the epochs of a run, or any LoRA files, on a base model."""

    version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION), Knob(advanced=True)] = SCHEMA_VERSION
    """Which reading of the settings this was written for."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "sweep"
    """Names the report."""

    run: Annotated[MaybeFolder, Knob(private=True)] = None
    """The run whose epochs are compared."""

    loras: Annotated[tuple[str, ...], Knob(label="LoRA files", private=True)] = ()
    """LoRA files to compare instead, in the order of training."""

    model: Annotated[ModelConfig, families] = Field(default_factory=families.make)
    """The base model that the LoRAs are for."""

    dataset: DatasetConfig | None = None
    """The pictures that were trained on: what is compared with."""

    held_out: Annotated[MaybeFolder, Knob(private=True)] = None
    """Pictures of the same that were not trained on."""

    classes: Annotated[MaybeFolder, Knob(private=True)] = None
    """Pictures of the class, to see how much the model forgets."""

    cache: Annotated[Folder, Knob(advanced=True, private=True)] = Path("runs/cache")
    """Where encoded pictures are kept."""

    device: Annotated[str, Knob(advanced=True, private=True)] = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""

    precision: Annotated[Precision, Knob(advanced=True, why="The fastest the device has.")] = "auto"
    """Number format of the frozen weights and the maths."""

    memory: MemoryConfig = MemoryConfig()
    """How the frozen weights are held; the rest is for training."""

    analysis: AnalysisConfig = AnalysisConfig()

    @property
    def rendered(self) -> ModelConfig:
        """The base model at the size of the pictures."""
        side = self.analysis.side or self.model.resolution
        return self.model.model_copy(update={"resolution": side})

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.run is None) == (not self.loras):
            raise ValueError("needs a run or LoRA files, and not both")
        return self


@dataclass(frozen=True, slots=True)
class Sweep(WorkFolder):
    """A sweep's folder; the folder is the truth."""

    noun: ClassVar[str] = "sweep"
    worker: ClassVar[str] = "analysis.worker"
    again: ClassVar[str] = "sweetspot analyse --resume"
    inner: ClassVar[tuple[str, ...]] = ("cells",)

    @classmethod
    def create(cls, config: SweepConfig, root: Path, stem: str, ticket: str = "") -> Sweep:
        """Make a new folder in `root`. An earlier one is never touched.

        Args:
            config: What is asked.
            root: Where the folder is made.
            stem: Its name, with a number where that is taken.
            ticket: Whose sweep it is; the same ticket gives the same sweep again.

        Raises:
            ResourceError: The place cannot be written.
        """
        sweep = cls(make_folder(root.absolute(), stem, cls.inner, ticket))
        if not sweep.config_path.is_file():
            write_atomically(sweep.config_path, toml.render(config, _TITLE))
        return sweep

    @classmethod
    def open(cls, path: Path) -> Sweep:
        """An existing sweep.

        Raises:
            RunError: The folder is none.
        """
        sweep = cls(path.absolute())
        if not sweep.config_path.is_file():
            raise RunError(
                "this is no sweep's folder: it has no sweep.toml",
                where=str(path),
                hint="`sweetspot analyse RUN` makes one",
            )
        return sweep

    def change(self, overrides: Sequence[str]) -> None:
        """Ask for something else, where that changes no picture."""
        config = toml.load(SweepConfig, self.config_path, overrides)
        write_atomically(self.config_path, toml.render(config, _TITLE))

    @property
    def config_path(self) -> Path:
        """What is asked, as TOML."""
        return self.path / "sweep.toml"

    @property
    def config(self) -> SweepConfig:
        """What is asked."""
        return toml.load(SweepConfig, self.config_path)

    @property
    def cells(self) -> Path:
        """The pictures."""
        return self.path / "cells"


def sweep_of_run(run: Run, overrides: Sequence[str], ticket: str = "") -> Sweep:
    """A new sweep over a run's epochs, in the run's own folder; see `make_folder` of a ticket."""
    config = config_of_run(run, overrides)
    return Sweep.create(config, run.path / "analysis", date.today().isoformat(), ticket)


def config_of_run(run: Run, overrides: Sequence[str]) -> SweepConfig:
    """What is asked of a run's epochs: as its job says, with overrides laid over it."""
    job = run.job
    values: dict[str, Any] = {
        "run": str(run.path),
        "name": job.name,
        "model": job.model.model_dump(mode="json"),
        "dataset": job.dataset.model_dump(mode="json"),
        "held_out": str(job.validation.folder or ""),
        "classes": str(job.prior.folder or ""),
        "cache": str(job.cache_folder),
        "device": job.compute.device,
        "precision": job.compute.precision,
        "memory": job.memory.model_dump(mode="json"),
        "analysis": job.analysis.model_dump(mode="json"),
    }
    values["analysis"]["processes"] = job.analysis.processes or job.compute.processes
    return toml.override(SweepConfig, values, overrides)
