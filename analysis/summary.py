"""Means of each setting, and differences to the base model, with intervals for all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.statistics import simultaneous

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.table import Array, Table


def summary(table: Table) -> list[dict[str, Any]]:
    """The rows of report.json's `summary`."""
    rows: list[dict[str, Any]] = [
        {"epoch": s.epoch, "strength": s.strength, "metrics": {}, "difference": {}}
        for s in table.settings
    ]
    for name, column in table.columns.items():
        counted = np.isfinite(column.values).any(axis=(0, 2))
        _note(rows, "metrics", name, column.values[:, counted])
        differences = column.values - column.base
        compared = np.isfinite(differences).any(axis=(0, 2))
        _note(rows, "difference", name, differences[:, compared])
    return rows


def _note(rows: list[dict[str, Any]], place: str, name: str, values: Array) -> None:
    """Note the means of the settings that have all their numbers, `(S, P, K)`."""
    whole: NDArray[np.bool_] = np.all(np.isfinite(values), axis=(1, 2))
    if not values.shape[1] or not whole.any():
        return
    spans = simultaneous(values[whole], family=len(whole))
    for at, index in enumerate(np.flatnonzero(whole)):
        rows[index][place][name] = {
            "mean": float(spans.mean[at]),
            "low": float(spans.low[at]) if np.isfinite(spans.low[at]) else None,
            "high": float(spans.high[at]) if np.isfinite(spans.high[at]) else None,
        }
