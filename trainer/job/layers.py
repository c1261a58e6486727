"""A job from several layers, and where each of its values came from.

A preset lies under the job file, the job file under the command line. What a layer does not say,
the one below does, and at the bottom lie the defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.core import toml
from trainer.core.errors import ConfigError
from trainer.core.schema import FieldSpec, describe
from trainer.core.trees import Tree, flat, merge, nested
from trainer.job.config import JobConfig
from trainer.job.file import require_no_preset
from trainer.job.preset import Preset, plain
from trainer.job.shareable import active

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Layer:
    """Part of a job, and what it is called.

    Attributes:
        source: "preset sdxl-style-12gb (built in)", "fox.toml", "--set".
        values: Nested plain values.
        family: Of a preset, which no layer above it may change; empty for any.
    """

    source: str
    values: Tree
    family: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """A value and where it came from.

    Attributes:
        path: The setting.
        value: As a file holds it.
        default: What it would be if no layer said anything.
        source: The highest layer that says it, or `DEFAULT`.
    """

    path: str
    value: Any
    default: Any
    source: str


@dataclass(frozen=True, slots=True)
class Layered:
    """A job and what it was made of.

    Attributes:
        job: Validated.
        origins: Every setting that counts in it.
        dropped: What a lower layer says of a kind that a higher one replaced, in sentences.
    """

    job: JobConfig
    origins: tuple[Origin, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(slots=True)
class _Merged:
    values: Tree = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


def preset_layer(preset: Preset, shelf: str = "") -> Layer:
    """A preset as the layer under a job, and the library that it is of, if any."""
    told = f"preset {preset.name}" + (f" ({shelf})" if shelf else "")
    return Layer(told, preset.settings, preset.family)


def job_of(preset: Preset) -> JobConfig:
    """What a preset makes with pictures of its own and nothing else said; for showing only."""
    filler = Layer("", {"dataset": {"folder": ".", "class_word": "thing"}})
    return settle([filler, preset_layer(preset)]).job


def file_layer(path: Path) -> Layer:
    """A job file as a layer.

    Raises:
        ConfigError: It cannot be read.
    """
    return Layer(path.name, toml.layer(JobConfig, path))


def override_layer(overrides: Iterable[str]) -> Layer:
    """What the command line says as a layer.

    Raises:
        ConfigError: An override is malformed.
    """
    return Layer("--set", toml.overrides_of(JobConfig, overrides))


def settle(layers: Sequence[Layer]) -> Layered:
    """The job that the layers make, the later over the earlier.

    Where a layer chooses another kind of adapter or optimizer than the one below, the lower
    one's settings of its own kind are dropped.

    Raises:
        ConfigError: A setting is unknown, missing or impossible, or a preset is for another
            family than is asked for.
    """
    merged = _Merged()
    for layer in layers:
        require_no_preset(layer.values, layer.source)
        _require_family(layer, layers)
        _drop_other_kinds(merged, layer)
        merged.values = merge(merged.values, layer.values)
        merged.sources |= dict.fromkeys(flat(layer.values), layer.source)
    job = toml.parse(JobConfig, merged.values)
    return Layered(job, tuple(_origins(job, merged.sources)), tuple(merged.dropped))


def _require_family(layer: Layer, layers: Sequence[Layer]) -> None:
    asked = layer.values.get("model", {})
    kind = asked.get("kind") if isinstance(asked, dict) else None
    for below in layers[: layers.index(layer)]:
        if below.family and kind is not None and kind != below.family:
            raise ConfigError(
                f"{below.source} is for the family {below.family!r}, and {layer.source} asks "
                f"for {kind!r}",
                where="model.kind",
                hint="`sweetspot preset list` shows the presets of each family",
            )


def _drop_other_kinds(merged: _Merged, layer: Layer) -> None:
    """Take out of what is merged so far what only counts for kinds that the layer replaces."""
    above = flat(layer.values)
    below = flat(merged.values)
    for path, kind in above.items():
        if not path.endswith(".kind") or below.get(path, kind) == kind:
            continue
        section = path.removesuffix("kind")
        known = {s.path for s in describe(JobConfig) if s.only_if in (None, (path, kind))}
        for name in [name for name in below if name.startswith(section) and name not in known]:
            merged.dropped.append(
                f"{name} = {below.pop(name)!r} of {merged.sources.pop(name)} is for "
                f"{path} = {below[path]!r}, and {layer.source} asks for {kind!r}"
            )
    merged.values = nested(below)


def _origins(job: JobConfig, sources: dict[str, str]) -> Iterator[Origin]:
    values = flat(job.model_dump(mode="json"))
    for spec in active(values):
        yield Origin(
            spec.path,
            values.get(spec.path),
            plain(spec.default),
            sources.get(spec.path, DEFAULT),
        )


def differences(one: Tree, other: Tree) -> Iterator[tuple[FieldSpec, Any, Any]]:
    """The settings that two parts of jobs give different values, defaults included.

    A setting that is none of one's, as it belongs to another family, is None there.
    """
    left, right = (_values(tree) for tree in (one, other))
    told = {spec.path: spec for spec in describe(JobConfig)}
    for path, spec in told.items():
        if left.get(path) != right.get(path):
            yield spec, left.get(path), right.get(path)


def _values(tree: Tree) -> dict[str, Any]:
    said = flat(tree)
    kinds = {s.path: s.default for s in describe(JobConfig) if s.path.endswith(".kind")}
    chosen = {path: said.get(path, default) for path, default in kinds.items()}
    return {spec.path: said.get(spec.path, plain(spec.default)) for spec in active(chosen)}
