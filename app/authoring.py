"""Making presets: of a run, of a job, of another preset that is told anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.watch import summary
from trainer.core import toml
from trainer.core.errors import ConfigError
from trainer.core.trees import flat
from trainer.job.config import JobConfig
from trainer.job.preset import About, Preset, of_job
from trainer.job.run import Run
from trainer.job.shareable import ON_REQUEST, active

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def of_run(run: Run, about: Mapping[str, Any], include: Iterable[str] = ()) -> Preset:
    """What of a run can be shared; what was run with it is told unless `about` does.

    Raises:
        ConfigError: The name is none, or one of `include` may not leave this machine.
    """
    return of_settings(run.job, {**about, "tested": about.get("tested") or _what_ran(run)}, include)


def of_settings(job: JobConfig, about: Mapping[str, Any], include: Iterable[str] = ()) -> Preset:
    """What of a job can be shared; its family is its tag unless `about` has some.

    Raises:
        ConfigError: The name is none, or one of `include` may not leave this machine.
    """
    return of_job(job, _about({**about, "tags": about.get("tags") or (job.model.kind,)}), include)


def told_anew(preset: Preset, about: Mapping[str, Any]) -> Preset:
    """The preset with another name, sentence, author, ...

    Raises:
        ConfigError: The name is none, or a text is too long or cannot be seen.
    """
    return Preset(_about({**preset.about.model_dump(), **about}), preset.settings)


def personal_of(job: JobConfig) -> list[dict[str, Any]]:
    """What the job says that is left out of a preset unless it is asked for."""
    values = flat(job.model_dump(mode="json"))
    told = {spec.path: spec for spec in active(values)}
    return [
        {
            "path": path,
            "label": f"{told[path].group.title()}: {told[path].label.lower()}",
            "value": values[path],
        }
        for path in ON_REQUEST
        if path in told and values.get(path)
    ]


def _about(values: Mapping[str, Any]) -> About:
    name = str(values.get("name", ""))
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r} is no name for a preset",
            where="name",
            hint="letters, digits, dots, dashes, underscores",
        )
    return toml.parse(About, dict(values))


def _what_ran(run: Run) -> str:
    facts = summary(run)
    return f"One run of {run.job.model.kind}: {facts['status']} at step {facts['step']}."
