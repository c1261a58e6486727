"""Presets by what a person calls them, and the layers that a job is settled from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import library
from trainer.core.errors import ConfigError
from trainer.job.layers import Layer, Layered, file_layer, override_layer, preset_layer, settle
from trainer.job.preset import Preset, load_preset, read_text
from trainer.job.sharing import from_string, is_string, starts_as_string

_LONGEST = 1000
"""Letters of a name or a path."""


def find(ref: str, beside: Path | None = None) -> Preset:
    """A preset by what a person calls it: a string, a file, a card, or a name.

    Args:
        ref: As it was typed.
        beside: A folder that relative paths are looked for in; the current one when None.

    Raises:
        ConfigError: There is none, or it cannot be used.
    """
    return _find(ref, beside).preset


def layer_of(ref: str, beside: Path | None = None) -> Layer:
    """A preset, as `find` takes it, as the layer under a job; it tells which library it is of.

    Raises:
        ConfigError: There is none, or it cannot be used.
    """
    found = _find(ref, beside)
    return preset_layer(found.preset, found.shelf)


def hidden_by(name: str) -> list[str]:
    """What the bare name no longer means once one's own preset has it: LIBRARY/NAME of each."""
    shelves = {entry.shelf for entry in library.entries([]) if entry.preset.name == name}
    return [f"{shelf}/{name}" for shelf in sorted(shelves - {library.OWN})]


@dataclass(frozen=True, slots=True)
class _Found:
    preset: Preset
    shelf: str = ""


def _find(ref: str, beside: Path | None) -> _Found:
    if is_string(ref):
        return _Found(from_string(ref))
    if "\0" in ref or "\n" in ref.strip() or len(ref) > _LONGEST:
        raise ConfigError(
            "it is neither a preset string nor the name of a preset or file",
            where=f"{ref.strip()[:60]!r}",
            hint="the whole string, from 'sweetspot:' on",
        )
    path = (beside or Path.cwd()) / Path(ref).expanduser()
    if path.suffix.lower() == ".png":
        from app.preset_card import read_card

        if not path.is_file():
            raise ConfigError("there is no such file", where=str(path))
        return _Found(read_card(path), path.name)
    if path.suffix.lower() in (".toml", ".txt") or path.is_file():
        return _Found(_read(path), path.name)
    entry = library.find_entry(ref)
    return _Found(entry.preset, entry.shelf)


def _read(path: Path) -> Preset:
    """A file's preset: a string in any text, or TOML, which may speak of strings itself."""
    text = read_text(path)
    holds = is_string(text) and (path.suffix.lower() != ".toml" or starts_as_string(text))
    return from_string(text) if holds else load_preset(path)


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
        more: Where given, gets a file's `[search]`, which is no part of a job; else it is left.

    Raises:
        ConfigError: A layer cannot be read.
    """
    layers: list[Layer] = []
    if job is not None:
        layer = file_layer(job)
        named = layer.values.pop("preset", None)
        if isinstance(layer.values.get("search"), dict):
            kept = {} if more is None else more
            kept["search"] = layer.values.pop("search")
        if named is not None and not isinstance(named, str):
            raise ConfigError(f"preset = {named!r} is no name", where=str(job))
        if named and not preset:
            layers.append(layer_of(named, job.absolute().parent))
        layers.append(layer)
    if preset:
        layers.insert(0, layer_of(preset))
    return [*layers, override_layer(overrides)]
