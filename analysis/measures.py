"""The metrics that a person asks for: names, with settings where they have some.

ssim                                    as it is
clip_i: weights=/models/clip-vit-l14    another network
pyiqa: name=niqe                        its column is called pyiqa_niqe
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.metrics.base import MetricConfig, metrics
from trainer.core import toml
from trainer.core.errors import ConfigError

_WHERE = "analysis.metrics"


def asked_for(entries: Iterable[str], weighed: Iterable[str] = ()) -> dict[str, MetricConfig]:
    """Metrics by the names of their columns.

    Args:
        entries: `NAME`, or `NAME: SETTING=VALUE; SETTING=VALUE`.
        weighed: Columns that the rule weighs; each must be among them.

    Raises:
        ConfigError: There is no such metric or setting, or one stands there twice.
    """
    found: dict[str, MetricConfig] = {}
    for entry in entries:
        metric = _made(entry)
        if metric.column in found:
            raise ConfigError(f"{entry!r} stands there twice", where=_WHERE, hint="keep one")
        found[metric.column] = metric
    for name in weighed:
        if name not in found:
            raise ConfigError(
                f"there is no metric called {name!r} among those that are measured",
                where="analysis.weights",
                hint=f"one of {', '.join(found)}, or add it to analysis.metrics",
            )
    return found


def _made(entry: str) -> MetricConfig:
    name, _, settings = entry.partition(":")
    name = name.strip()
    try:
        kind = metrics[name]
        told = [part.strip() for part in settings.split(";") if part.strip()]
        return toml.override(kind, {}, told)
    except ConfigError as error:
        raise ConfigError(
            f"{entry!r}: {error.problem}",
            where=_WHERE,
            hint=error.hint or f"one of {', '.join(metrics)}",
        ) from None
