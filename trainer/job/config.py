"""A training job: everything that decides what a run will do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from trainer.adapters.base import AdapterConfig, adapters
from trainer.core.errors import ConfigError
from trainer.core.schema import Config, Folder, Knob, MaybeFolder
from trainer.families.base import ModelConfig, families
from trainer.job.choosing import AnalysisConfig
from trainer.job.memory import MemoryConfig
from trainer.job.pictures import DatasetConfig, PriorConfig, ValidationConfig
from trainer.job.sections import (
    ComputeConfig,
    SamplesConfig,
    SaveConfig,
    ScheduleConfig,
    TextEncoderConfig,
)
from trainer.job.tracking import TrackConfig
from trainer.optimizers.base import OptimizerConfig, optimizers

SCHEMA_VERSION = 1
"""Raised when a job written by an older Sweetspot would mean something else today."""


class JobConfig(Config):
    """One run, from a base model to its saved epochs."""

    version: Annotated[int, Field(ge=1), Knob(advanced=True)] = SCHEMA_VERSION
    """Which reading of the settings this job was written for."""

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), Knob(recipe=False)
    ] = "lora"
    """Names the run folder and the LoRA files: letters, digits, dots, dashes, underscores."""

    runs: Annotated[Folder, Knob(label="Runs folder", private=True)] = Path("runs")
    """Where run folders are made."""

    cache: Annotated[MaybeFolder, Knob(label="Cache folder", advanced=True, private=True)] = None
    """Where encoded pictures and captions are kept and shared between runs; empty means
    `cache` inside the runs folder."""

    model: Annotated[ModelConfig, families] = Field(default_factory=families.make)
    """The base model to adapt."""

    dataset: DatasetConfig
    prior: PriorConfig = PriorConfig()

    adapter: Annotated[AdapterConfig, adapters] = Field(default_factory=adapters.make)
    """The kind of adapter to train."""

    text_encoder: TextEncoderConfig = TextEncoderConfig()

    optimizer: Annotated[OptimizerConfig, optimizers] = Field(default_factory=optimizers.make)
    """What turns gradients into updates."""

    schedule: ScheduleConfig = ScheduleConfig()
    compute: ComputeConfig = ComputeConfig()
    memory: MemoryConfig = MemoryConfig()
    samples: SamplesConfig = SamplesConfig()
    validation: ValidationConfig = ValidationConfig()
    save: SaveConfig = SaveConfig()
    analysis: AnalysisConfig = AnalysisConfig()
    track: TrackConfig = TrackConfig()

    @field_validator("version")
    @classmethod
    def _not_from_the_future(cls, version: int) -> int:
        if version > SCHEMA_VERSION:
            raise ValueError(
                f"the job is of version {version}, this Sweetspot reads up to {SCHEMA_VERSION}; "
                "update Sweetspot"
            )
        return version

    @model_validator(mode="after")
    def _prior_has_words(self) -> Self:
        if self.prior.enabled and not self.prior_prompt:
            raise ValueError(
                "prior.enabled needs words for the class: set dataset.class_word or prior.prompt"
            )
        return self

    @property
    def prior_prompt(self) -> str:
        """The caption of class pictures."""
        if self.prior.prompt:
            return self.prior.prompt
        return f"a {self.dataset.class_word}" if self.dataset.class_word else ""

    @property
    def cache_folder(self) -> Path:
        """Where encoded pictures and captions are kept."""
        return self.cache or self.runs / "cache"

    def require_apart(self) -> None:
        """What a run writes, holds out or takes for its class must not lie among its pictures.

        Raises:
            ConfigError: It does.
        """
        folder = self.dataset.folder.resolve()
        for where, written in (("runs", self.runs), ("cache", self.cache_folder)):
            if written.resolve().is_relative_to(folder):
                raise ConfigError(
                    f"{str(written)!r} lies inside the folder of pictures, {str(folder)!r}",
                    where=where,
                    hint="a folder beside it",
                )
        for where, other in (
            ("validation.folder", self.validation.folder),
            ("prior.folder", self.prior.folder),
        ):
            if other is not None and _overlap(other.resolve(), folder):
                raise ConfigError(
                    f"{str(other)!r} and the folder of pictures, {str(folder)!r}, lie one in the "
                    "other, so pictures would be used for both",
                    where=where,
                    hint="a folder beside it",
                )


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
