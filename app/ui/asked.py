"""What a run's job asks, for showing: also of one that an older or newer Sweetspot wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ui.forms import plain_value
from trainer.core import toml
from trainer.core.schema import FieldSpec, describe
from trainer.core.trees import flat
from trainer.job.config import JobConfig
from trainer.job.run import Run

_OWN = ("version", "name", "runs", "cache")
"""Settings that say where a run is, and nothing of how it trains."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a job.

    Attributes:
        help: What it does; empty for one that this version does not have.
        changed: Whether it differs from the default.
        known: Whether this version has it.
    """

    path: str
    label: str
    value: str
    default: str
    unit: str
    help: str
    changed: bool
    known: bool


def settings_of(run: Run) -> list[Setting]:
    """Every setting that the job's file gives, in the order of the form; unknown ones last.

    Raises:
        ConfigError: The file cannot be read.
    """
    values = flat(toml.read(run.job_path))
    specs = {spec.path: spec for spec in describe(JobConfig) if _counts(spec, values)}
    known = [_setting(spec, values[path]) for path, spec in specs.items() if path in values]
    odd = sorted(values.keys() - specs.keys())
    return known + [_unknown(path, values[path]) for path in odd]


def in_brief(run: Run) -> dict[str, Any]:
    """What the run trains, on what, in a few values; empty where the job cannot be read.

    Raises:
        ConfigError: The file cannot be read.
    """
    values = flat(toml.read(run.job_path))
    folder = str(values.get("dataset.folder", ""))
    prompts = values.get("samples.prompts")
    return {
        "base": str(values.get("model.base", "")),
        "family": str(values.get("model.kind", "")),
        "resolution": values.get("model.resolution"),
        "adapter": str(values.get("adapter.kind", "")),
        "rank": values.get("adapter.rank"),
        "pictures": folder,
        "dataset": Path(folder).name,
        "epochs": values.get("schedule.epochs"),
        "prompts": len(prompts) if isinstance(prompts, list) else 0,
        "trackers": values.get("track.to") or [],
    }


def _counts(spec: FieldSpec, values: dict[str, Any]) -> bool:
    """Whether the field is one of the kinds of plug-ins that the job chose."""
    return spec.only_if is None or values.get(spec.only_if[0]) == spec.only_if[1]


def in_words(value: Any) -> str:
    """A setting's value as a person reads it."""
    match value:
        case bool():
            return "on" if value else "off"
        case None | "" | [] | {}:
            return "none"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(map(in_words, value))
    return str(value)


def _unknown(path: str, value: Any) -> Setting:
    return Setting(path, path, in_words(value), "", "", "", changed=True, known=False)


def _setting(spec: FieldSpec, value: Any) -> Setting:
    default = plain_value(spec.default)
    same = value == default or (value in ("", []) and default in (None, "", []))
    return Setting(
        path=spec.path,
        label=spec.label,
        value=in_words(value),
        default=in_words(default),
        unit=spec.knob.unit,
        help=spec.help,
        changed=not same and spec.path not in _OWN,
        known=True,
    )
