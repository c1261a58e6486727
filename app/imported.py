"""What another trainer's settings become here: a job, a preset, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.core.errors import ConfigError
from trainer.core.toml import render
from trainer.job.config import JobConfig
from trainer.job.file import Tree, merge, override_job, parse_job
from trainer.job.importers.account import Imported
from trainer.job.preset import About, Preset, of_job

_FILLER: Tree = {"dataset": {"folder": ".", "class_word": "thing"}}
"""What every job needs and no preset has."""


def as_job(found: Imported, overrides: Iterable[str]) -> JobConfig:
    """The job that a file asks for, with `section.field=value` overrides laid over it.

    Raises:
        ConfigError: It cannot be trained as it is.
    """
    overrides = list(overrides)
    mended = {text.partition("=")[0].strip() for text in overrides}
    for ours, reason in found.problems.items():
        if ours not in mended:
            raise ConfigError(reason, where=ours, hint=f"--set {ours}=... if you know better")
    return override_job(found.job_values, overrides)


def write(job: JobConfig, found: Imported, to: Path) -> None:
    """Write a job, never over a file that is there.

    Raises:
        ConfigError: There is one, or the folder cannot be written.
    """
    title = f"A Sweetspot job, from {found.files[0].name} ({found.trainer})."
    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(render(job, title))
    except FileExistsError:
        raise ConfigError(
            "this file is there already", where=str(to), hint="another name"
        ) from None
    except OSError as error:
        raise ConfigError(f"the job cannot be written: {error}", where=str(to)) from None


def facts(found: Imported, problem: str) -> dict[str, Any]:
    """All there is to say, for scripts."""
    return {
        "trainer": found.trainer,
        "files": [str(path) for path in found.files],
        "keys": len(found.account),
        "counts": found.counts,
        "values": found.values,
        "private": found.private,
        "account": [asdict(line) for line in found.account],
        "assumed": [asdict(line) for line in found.assumed],
        "problem": problem,
    }


def as_preset(found: Imported, name: str) -> Preset:
    """What of the settings may be shared, as a preset.

    Raises:
        ConfigError: They make none.
    """
    about = About(
        name=name,
        sentence=f"As {found.files[0].name} of {found.trainer} asks for it."[:600],
        tested="Translated, and not run here.",
    )
    return of_job(parse_job(merge(_FILLER, found.values)), about)
