"""What a person sets once for the app: folders, device, network, look.

HOME/settings.toml       HOME is the place for a program's data on this system
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from app.home import home as home
from trainer.core import toml
from trainer.core.device import Precision
from trainer.core.errors import ConfigError
from trainer.core.files import write_atomically
from trainer.core.schema import Config, Folder, Knob

FILE = "settings.toml"
_TITLE = "What the app was set to."


class AppSettings(Config):
    """Settings of the app on this machine; jobs have their own."""

    runs: Annotated[Folder, Knob(label="Runs folder")] = Path("runs")
    """Where runs, sweeps and the queue are kept."""

    device: str = "auto"
    """What new jobs train and render on: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""

    precision: Precision = "auto"
    """Number format of new jobs; `auto` is the fastest that the device has."""

    offline: bool = False
    """Ask the network for nothing; models must be on this machine."""

    theme: Literal["system", "light", "dark"] = "system"
    """Colours of the pages; `system` follows the computer's."""

    opened: Annotated[tuple[str, ...], Knob(label="Opened folders", advanced=True)] = ()
    """Folders of pictures and LoRA files that the pages may show, besides the runs."""

    keep_model: Annotated[
        float, Field(ge=0, le=1440), Knob(label="Keep a model loaded", unit="min", advanced=True)
    ] = 5.0
    """How long the base model stays in memory after the last picture was rendered, so that the
    next one begins at once. Training needs that memory."""

    port: Annotated[int, Field(ge=1024, le=65535), Knob(advanced=True)] = 7860
    """Where the app listens, on this machine only."""


def load_settings() -> AppSettings:
    """The settings of this machine; the defaults where none were saved.

    Raises:
        ConfigError: The file cannot be read, or says something impossible.
    """
    path = home() / FILE
    return toml.load(AppSettings, path) if path.is_file() else AppSettings()


def save_settings(changes: Mapping[str, Any]) -> AppSettings:
    """Take changes into the settings of this machine.

    A file that cannot be read is put aside under another name, and begun anew.

    Raises:
        ConfigError: A setting is unknown or impossible; the file is as it was.
        ResourceError: The file cannot be written.
    """
    path = home() / FILE
    broken = False
    try:
        known = load_settings()
    except ConfigError:
        known, broken = AppSettings(), True
    settings = toml.parse(AppSettings, {**known.model_dump(mode="json"), **changes})
    runs = settings.runs.expanduser().absolute()  # else it would be read as one beside the file
    settings = settings.model_copy(update={"runs": runs})
    if broken:
        path.replace(path.with_suffix(".old"))
    write_atomically(path, toml.render(settings, _TITLE))
    return settings
