"""Job files: a job as TOML, in and out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trainer.core import toml
from trainer.core.errors import ConfigError
from trainer.core.toml import as_override
from trainer.core.trees import Tree, merge
from trainer.job.config import JobConfig

__all__ = ["Tree", "as_override", "load_job", "merge", "override_job", "parse_job", "render_job"]


def load_job(path: Path | str, overrides: Iterable[str] = ()) -> JobConfig:
    """Read a job, with `section.field=value` overrides laid over it.

    Raises:
        ConfigError: The file is unreadable, or a field is unknown, missing or impossible.
    """
    values = toml.layer(JobConfig, Path(path))
    require_no_preset(values, str(path))
    return toml.override(JobConfig, values, overrides)


def require_no_preset(values: Tree, where: str) -> None:
    """Refuse a job that names its preset where nothing can look it up.

    Raises:
        ConfigError: It does.
    """
    named = values.get("preset")
    if isinstance(named, str):
        raise ConfigError(
            f"the job names its preset ({named[:80]!r}), which the command line looks up, and "
            "Python does not",
            where=f"{where}: preset",
            hint="take `preset` out of it and lay it below: settle([preset_layer(load_preset("
            "path)), file_layer(job)]), see docs/python-api.md",
        )


def override_job(values: Tree, overrides: Iterable[str]) -> JobConfig:
    """Plain values with `section.field=value` overrides laid over them, as a job.

    Raises:
        ConfigError: A field is unknown, missing or impossible.
    """
    return toml.override(JobConfig, values, overrides)


def parse_job(values: Tree) -> JobConfig:
    """Validate plain values, as a file or a form gives them.

    Raises:
        ConfigError: For the first field that is unknown, missing or impossible.
    """
    return toml.parse(JobConfig, values)


def render_job(job: JobConfig) -> str:
    """The job as TOML, every setting above its help."""
    return toml.render(job, "A Sweetspot job. `sweetspot train FILE` runs it.")
