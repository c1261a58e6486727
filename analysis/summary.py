"""Means of each setting, and differences to the base model, with intervals for all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.statistics import simultaneous

if TYPE_CHECKING:
    from analysis.table import Table


def summary(table: Table) -> list[dict[str, Any]]:
    """The rows of report.json's `summary`."""
    rows: list[dict[str, Any]] = [
        {"epoch": s.epoch, "strength": s.strength, "metrics": {}, "difference": {}}
        for s in table.settings
    ]
    for name, column in table.columns.items():
        counted = np.isfinite(column.values).any(axis=(0, 2))
        values, control = column.values[:, counted], column.control[counted]
        whole = np.isfinite(values).all(axis=(1, 2)) if counted.any() else np.zeros(len(rows), bool)
        if not whole.any():
            continue
        _note(rows, "metrics", name, whole, values[whole])
        if np.isfinite(control).all():
            _note(rows, "difference", name, whole, values[whole] - control)
    return rows


def _note(rows: list[dict[str, Any]], place: str, name: str, whole: Any, values: Any) -> None:
    spans = simultaneous(values)
    for at, index in enumerate(np.flatnonzero(whole)):
        rows[index][place][name] = {
            "mean": float(spans.mean[at]),
            "low": float(spans.low[at]) if np.isfinite(spans.low[at]) else None,
            "high": float(spans.high[at]) if np.isfinite(spans.high[at]) else None,
        }
