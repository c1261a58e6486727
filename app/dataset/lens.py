"""What a folder is looked at through: the settings of the run that is thought of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trainer.core.schema import Config, Knob
from trainer.families.base import Resolution
from trainer.job.pictures import DatasetConfig

SIZE_STEP = 8
"""Sides of pictures are multiples of this for every family."""


class Lens(Config):
    """The settings on which cuts and words depend."""

    resolution: Resolution = 512

    epoch: Annotated[int, Field(ge=1, le=1000), Knob(label="Epoch")] = 1
    """Whose captions are shown, where chance shuffles or drops words."""

    seed: Annotated[int, Field(ge=0), Knob(label="Seed", advanced=True)] = 0
    """The run's seed, which decides what chance does."""

    dataset: DatasetConfig
