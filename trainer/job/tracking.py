"""The section of a job about trackers: who else is told how a run goes."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

from pydantic import Field, field_validator

from trainer.core.errors import ConfigError
from trainer.core.schema import Config, Knob, MaybeFolder

TRACKERS = ("tensorboard", "trackio", "wandb")


class TrackConfig(Config):
    """Curves and samples in a tracker, beside those of other runs. Off unless asked for."""

    to: Annotated[tuple[str, ...], Knob(label="Trackers", private=True)] = ()
    """Any of `tensorboard` (files on this machine), `trackio` (this machine, or a Space of yours)
    and `wandb` (Weights & Biases' servers). They get the curves, the recipe and the run's name;
    never a path, a prompt or a trigger word. Who you are they ask of their own places, such as
    `wandb login`, never of a job."""

    project: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), Knob(private=True)
    ] = "sweetspot"
    """The project that trackio and wandb file the run under."""

    folder: Annotated[
        MaybeFolder, Knob(label="TensorBoard folder", advanced=True, private=True)
    ] = None
    """Where TensorBoard's files go, in a folder named like the run. Empty: `tensorboard` inside the
    run's own folder, and `tensorboard --logdir runs` shows all runs."""

    pictures: Annotated[bool, Knob(label="Send samples", private=True)] = True
    """Show the trackers the sample pictures too. Turn it off where nobody else may see them."""

    @field_validator("to")
    @classmethod
    def _trackers_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        odd = [name for name in names if name not in TRACKERS]
        if odd:
            raise ValueError(f"there is no tracker {odd[0]!r}; there are {', '.join(TRACKERS)}")
        if len(set(names)) < len(names):
            raise ValueError("a tracker stands there twice")
        return names

    def require_packages(self) -> None:
        """Refuse a tracker whose package is not there.

        Raises:
            ConfigError: One is missing.
        """
        for name in self.to:
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                raise ConfigError(
                    f"the tracker {name!r} is not installed",
                    where="track.to",
                    hint=f"`pip install {name}` into Sweetspot's environment, or leave it out",
                ) from None
