"""Presets by what a person calls them, and the layers that a job is settled from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app import library
from trainer.core.errors import ConfigError
from trainer.job.layers import Layer, Layered, file_layer, override_layer, preset_layer, settle
from trainer.job.preset import Preset, load_preset, read_text
from trainer.job.sharing import from_string, is_string


def find(ref: str, beside: Path | None = None) -> Preset:
    """A preset by what a person calls it: a string, a file, a card, or a name.

    Args:
        ref: As it was typed.
        beside: A folder that relative paths are looked for in; the current one when None.

    Raises:
        ConfigError: There is none, or it cannot be used.
    """
    if is_string(ref):
        return from_string(ref)
    path = (beside or Path.cwd()) / Path(ref).expanduser()
    if path.suffix.lower() == ".png":
        from app.preset_card import read_card

        if not path.is_file():
            raise ConfigError("there is no such file", where=str(path))
        return read_card(path)
    if path.suffix.lower() in (".toml", ".txt") or path.is_file():
        return _read(path)
    return library.find(ref)


def _read(path: Path) -> Preset:
    text = read_text(path)
    return from_string(text) if is_string(text) else load_preset(path)


def layered(job: Path | None, preset: str, overrides: Sequence[str]) -> Layered:
    """The job of a file, over a preset and under what the command line says.

    Raises:
        ConfigError: A layer cannot be read, or they make no job.
    """
    return settle(layers_of(job, preset, overrides))


def layers_of(
    job: Path | None, preset: str, overrides: Sequence[str], more: dict[str, Any] | None = None
) -> list[Layer]:
    """The layers of a job: a preset, a file, the command line.

    A job file may name its preset itself, `preset = "NAME"`; one on the command line replaces it.

    Args:
        job: The file.
        preset: As `find` takes it; empty for the file's own, or none.
        overrides: `section.field=value`.
        more: Where given, gets a file's `[search]`, which is no part of a job.

    Raises:
        ConfigError: A layer cannot be read.
    """
    layers: list[Layer] = []
    if job is not None:
        layer = file_layer(job)
        named = layer.values.pop("preset", None)
        if more is not None and "search" in layer.values:
            more["search"] = layer.values.pop("search")
        if named is not None and not isinstance(named, str):
            raise ConfigError(f"preset = {named!r} is no name", where=str(job))
        if named and not preset:
            layers.append(preset_layer(find(named, job.absolute().parent)))
        layers.append(layer)
    if preset:
        layers.insert(0, preset_layer(find(preset)))
    return [*layers, override_layer(overrides)]
