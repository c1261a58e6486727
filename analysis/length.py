"""Whether training was too short or too long, from epochs at one strength."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from analysis.statistics import contest
from analysis.vetoes import Unknown

if TYPE_CHECKING:
    from analysis.table import Array, Table


class Judged(Protocol):
    """What is known of the settings so far."""

    @property
    def vetoes(self) -> Mapping[int, list[str]]:
        """Reasons against a setting, by its index."""

    @property
    def overtrained_from(self) -> int | None:
        """The first epoch from which on every one is spoilt."""


def near_one(table: Table) -> list[int]:
    """Of each epoch the setting whose strength is nearest to 1, by epoch.

    Only strengths that every epoch has, so that epochs are compared and not strengths.
    """
    best: dict[int, int] = {}
    every: dict[int, set[float]] = {}
    for epoch, strength in table.settings:
        every.setdefault(epoch, set()).add(strength)
    common = set.intersection(*every.values()) if every else set()
    for index, (epoch, strength) in enumerate(table.settings):
        if strength not in common:
            continue
        held = best.get(epoch)
        if held is None or abs(strength - 1) < abs(table.settings[held].strength - 1):
            best[epoch] = index
    return [best[epoch] for epoch in sorted(best)]


def overtrained(table: Table, vetoes: Mapping[int, list[str]]) -> int | None:
    """The first epoch from which on, at full strength, every one is known to be spoilt."""
    first = None
    for index in reversed(near_one(table)):
        reasons = vetoes.get(index, [])
        if not reasons:
            break
        if not all(isinstance(reason, Unknown) for reason in reasons):
            first = table.settings[index].epoch
    return first


def length_of(table: Table, found: Judged, values: Array | None) -> dict[str, object]:
    """How long was trained, and the epoch that is surely better than the last."""
    if found.overtrained_from is not None:
        return {"trained": "too long"}
    near = near_one(table)
    row = [i for i in near if i not in found.vetoes]
    row = [i for i in row if values is not None and np.isfinite(values[i]).all()]
    if values is None or len(row) < 2 or max(values.shape[1:]) < 2:
        return {"trained": "unknown"}
    against = contest(values[row])
    if row[-1] == near[-1] and against.best == len(row) - 1 and not against.tied[-2]:
        return {"trained": "too short"}
    if not against.tied[-1]:
        return {"trained": "too long", "peak": table.settings[row[against.best]].epoch}
    return {"trained": "right"}
